"""Which images each class has: the one table that class-based sampling needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.counts import ClassCounts
from longtail.errors import LongtailError

# Labels sorted at a time while the index is built: what is held beside labels and index.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class LabelIndex:
    """The images sorted by label: those of class j are `order[starts[j]:starts[j + 1]]`, in the order of the data.

    Four bytes an image up to 2^31 images, eight beyond.

    >>> index = LabelIndex.of([1, 0, 1, 1], classes=2)
    >>> index.order.tolist(), index.starts.tolist()
    ([1, 0, 2, 3], [0, 1, 4])
    """

    order: NDArray[np.int32] | NDArray[np.int64]  # (N,)
    starts: NDArray[np.int64]  # (C + 1,)

    @classmethod
    def of(cls, labels: ArrayLike, classes: int | None = None) -> LabelIndex:
        """Sort the images by label, in blocks, so that a memory-mapped array of labels stays on disk.

        Args:
            labels: (N,) class of each image, 0 .. C-1, every class present.
            classes: C; the largest label plus 1 where None.

        Raises LongtailError for labels that are no row of whole numbers in range, or a class without an
        image.
        """
        labels = np.asanyarray(labels)
        counts = _counts(labels, classes)
        starts = np.concatenate([[0], np.cumsum(counts.per_class)]).astype(np.int64)
        order = np.empty(len(labels), np.int32 if len(labels) < 2**31 else np.int64)
        free = starts[:-1].copy()
        narrow = (
            np.uint16 if len(counts) <= 2**16 else np.int64
        )  # numpy sorts 16 bits by radix, ten times faster
        for first in range(0, len(labels), _BLOCK):
            block = np.asarray(labels[first : first + _BLOCK]).astype(narrow)
            by_label = np.argsort(block, kind="stable")
            sizes = np.bincount(block, minlength=len(counts))
            slots = np.repeat(free - (np.cumsum(sizes) - sizes), sizes) + np.arange(len(block))
            order[slots] = by_label + first
            free += sizes
        return cls(order, starts)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.order)

    @cached_property
    def counts(self) -> ClassCounts:
        """Images per class."""
        return ClassCounts(tuple(np.diff(self.starts).tolist()))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Images per class, (C,)."""
        return np.diff(self.starts)

    def images(self, classes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The image at each place of each class's list, as indices into the data."""
        return self.order[self.starts[classes] + places].astype(np.int64)


def _counts(labels: NDArray[np.generic], classes: int | None) -> ClassCounts:
    if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iu":
        raise LongtailError("Labels must be one row of whole numbers, the class index of each image.")
    counts = np.zeros(classes or 0, np.int64)
    for first in range(0, len(labels), _BLOCK):
        block = np.asarray(labels[first : first + _BLOCK]).astype(np.int64)
        if block.min() < 0 or (classes is not None and block.max() >= classes):
            wrong = block.min() if block.min() < 0 else block.max()
            raise LongtailError(
                f"Label {wrong} is no class index; classes are 0 to {(classes or 0) - 1 or 'C-1'}."
            )
        seen = np.bincount(block, minlength=len(counts))
        counts = np.pad(counts, (0, len(seen) - len(counts))) + seen
    return ClassCounts(tuple(counts.tolist()))
