"""What is in a data set, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from longtail.counts import SHOT_GROUPS, ClassCounts, ShotBorders, ShotGroup
from longtail.data.loading import Loader
from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.data.pixels import InMemory
from longtail.data.preprocessing import Preprocessing
from longtail.data.reading import UnreadableImages
from longtail.watching import Watcher

Looked = Literal["headers", "pixels"]

DECODED_SIZE = (32, 32)
"""Height and width that images are decoded to where only their soundness matters."""


@dataclass(frozen=True)
class Description:
    """Counts, ratio and shot groups of an image set, and which of its files cannot be read."""

    name: str
    kind: str
    classes: tuple[str, ...]
    counts: ClassCounts
    """Training images per class: what losses and samplers see."""
    parts: Mapping[str, tuple[int, ...]]
    """Images per class of every part there is: train, validation, test."""
    borders: ShotBorders
    unreadable: Mapping[str, str]
    """Identity to reason."""
    looked: Looked
    """Whether images were judged by their headers or decoded."""
    notes: tuple[str, ...]

    @property
    def groups(self) -> tuple[ShotGroup, ...]:
        """Shot group of every class."""
        return self.counts.shot_groups(self.borders)

    def as_dict(self) -> dict[str, Any]:
        """The description in JSON's types."""
        groups = self.groups
        return {
            "name": self.name,
            "kind": self.kind,
            "images": {part: sum(counts) for part, counts in self.parts.items()},
            "classes": [
                {"class": name, "group": group, **{part: counts[index] for part, counts in self.parts.items()}}
                for index, (name, group) in enumerate(zip(self.classes, groups, strict=True))
            ],
            "imbalance_ratio": self.counts.ratio,
            "shot_borders": {"many_above": self.borders.many_above, "few_below": self.borders.few_below},
            "groups": {group: groups.count(group) for group in SHOT_GROUPS},
            "looked_at": self.looked,
            "unreadable": dict(self.unreadable),
            "notes": list(self.notes),
        }


def describe(
    data: str | Path | None = None,
    *,
    imbalance: float | None = None,
    val: float | str | Path | None = None,
    data_root: str | Path = "data",
    shot_borders: ShotBorders | tuple[float, float] | None = None,
    full: bool = False,
    workers: int = 0,
    watcher: Watcher | None = None,
) -> Description:
    """Look at a data set as training would find it; nothing is written.

    Args:
        data: a folder of class folders, one with train/ and test/ beneath, `cifar10` or `cifar100`; None takes
            scikit-learn's digits.
        imbalance: ratio of largest to smallest class that balanced data are cut down to.
        val: fraction of the training images kept for validation, a folder of them, or 0.
        data_root: folder of the named data sets.
        shot_borders: many has more training images than the first, few has fewer than the second.
        full: decode every image instead of reading its header.
        workers: processes that decode, if `full`.
        watcher: who is told of progress.

    Raises:
        LongtailError: there is nothing to describe, or a number is out of range.
    """
    watcher = watcher or Watcher()
    images = open_images(data, data_root=Path(data_root), imbalance=imbalance, validation=val, watcher=watcher)
    borders = ShotBorders(*shot_borders) if isinstance(shot_borders, tuple) else shot_borders
    return Description(
        name=images.name,
        kind=images.kind,
        classes=images.classes,
        counts=images.counts,
        parts={name: _per_class(part.labels, len(images.classes)) for name, part in images.parts.items()},
        borders=borders or images.counts.shot_borders(),
        unreadable=_decode_all(images, workers, watcher) if full else images.unreadable,
        looked="pixels" if full or _in_memory(images) else "headers",
        notes=images.notes,
    )


def _per_class(labels: NDArray[np.int64], classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=classes).tolist())


def _in_memory(images: ImageSet) -> bool:
    return all(isinstance(part.pixels, InMemory) for part in images.parts.values())


def _decode_all(images: ImageSet, workers: int, watcher: Watcher) -> dict[str, str]:
    """Identity to reason of every image that cannot be decoded."""
    unreadable = dict(images.unreadable)
    for part in images.parts.values():
        loader = Loader(part, Preprocessing(DECODED_SIZE), batch_size=64, workers=workers, watcher=watcher)
        try:
            loader.decode_all()
        except UnreadableImages as found:
            unreadable |= found.reasons
        finally:
            loader.close()
    return unreadable
