"""Which images each class has: the one table that sampling by class needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.counts import ClassCounts
from longtail.errors import LongtailError

_BLOCK = 1 << 20  # labels sorted at a time: what building holds beside labels and index


@dataclass(frozen=True, eq=False)
class LabelIndex:
    """The images in the order of their labels: those of class j are `order[starts[j]:starts[j + 1]]`.

    Four bytes an image up to 2^31 images, eight beyond. Both arrays may be memory-mapped.

    >>> index = LabelIndex.of([1, 0, 1, 1])
    >>> index.order.tolist(), index.starts.tolist()
    ([1, 0, 2, 3], [0, 1, 4])
    """

    order: NDArray[np.signedinteger]  # (N,)
    starts: NDArray[np.int64]  # (C + 1,)

    @classmethod
    def of(cls, labels: ArrayLike, classes: int | None = None) -> LabelIndex:
        """Sort the images by label, block by block, so that memory-mapped labels stay on the disk.

        Args:
            labels: class index of each image, (N,), every class present.
            classes: C; one more than the largest label where None.

        Raises:
            LongtailError: labels are no row of class indices, or a class has no image.
        """
        labels = np.asanyarray(labels)
        if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iu":
            raise LongtailError("Labels must be one row of whole numbers, the class index of each image.")
        counts = _count(labels, classes)
        starts = np.concatenate([[0], np.cumsum(counts.per_class)])
        dtype = np.int32 if len(labels) <= 2**31 else np.int64
        order: NDArray[np.signedinteger] = np.empty(len(labels), dtype)
        free = starts[:-1].copy()
        # numpy sorts 16 bits by radix, ten times faster than more.
        sortable = np.uint16 if len(counts) <= 2**16 else np.int64
        for first, block in _blocks(labels):
            by_label = np.argsort(block.astype(sortable), kind="stable")
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
        return ClassCounts(tuple(self.sizes.tolist()))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Images per class, (C,)."""
        return np.diff(self.starts)

    def images(self, classes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The image at each place (B,) among those of each class (B,), as indices into the data (B,)."""
        return np.asarray(self.order[self.starts[classes] + places], np.int64)


def _count(labels: NDArray[np.integer], classes: int | None) -> ClassCounts:
    counts = np.zeros(classes or 1, np.int64)
    for _, block in _blocks(labels):
        for label in (block.min(), block.max()):
            if label < 0 or (classes is not None and label >= classes):
                raise LongtailError(f"Label {label} is no class index; they count from 0 to {classes or 'C'} - 1.")
        seen = np.bincount(block, minlength=len(counts))
        counts = np.pad(counts, (0, len(seen) - len(counts))) + seen
    return ClassCounts(tuple(counts.tolist()))


def _blocks(labels: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for first in range(0, len(labels), _BLOCK):
        yield first, np.asarray(labels[first : first + _BLOCK], np.int64)
