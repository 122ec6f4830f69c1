"""How many training images each class has: everything the library knows about classes starts here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from longtail.errors import LongtailError

ShotGroup = Literal["many", "medium", "few"]
SHOT_GROUPS: tuple[ShotGroup, ...] = get_args(ShotGroup)


@dataclass(frozen=True)
class ShotBorders:
    """Where the shot groups end: many has more than `many_above` training images, few has fewer than `few_below`."""

    many_above: float = 100
    few_below: float = 20

    def __post_init__(self) -> None:
        if not 0 < self.few_below <= self.many_above:
            raise LongtailError(
                f"Shot borders must satisfy 0 < few <= many, not few {self.few_below:g} and many {self.many_above:g}."
            )

    def group(self, count: int) -> ShotGroup:
        """The group of a class with `count` training images."""
        return "many" if count > self.many_above else "few" if count < self.few_below else "medium"


@dataclass(frozen=True)
class ClassCounts:
    """Training images per class, in the order of the class indices; nothing assumes that they are sorted.

    Raises LongtailError for no class, or for a class without an image.

    >>> ClassCounts((50, 5, 20)).ratio
    10.0
    """

    per_class: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.per_class:
            raise LongtailError("Class counts are empty; give one number of training images per class.")
        for index, count in enumerate(self.per_class):
            if count < 1:
                raise LongtailError(f"Class {index} has {count} training images; every class needs at least 1.")

    @classmethod
    def of(cls, counts: ClassCounts | Mapping[Any, int] | ArrayLike) -> ClassCounts:
        """Counts from what people have: a list, tensor or array of counts, a dict by class name, or the labels.

        A sequence of whole numbers with a zero in it is taken as the labels of the training images (class indices
        0 .. C-1, every class present), since a count is at least 1 and labels without class 0 have a gap.

        >>> ClassCounts.of({"cat": 7, "dog": 2}).per_class
        (7, 2)
        >>> ClassCounts.of([0, 0, 1, 0]).per_class
        (3, 1)
        """
        if isinstance(counts, ClassCounts):
            return counts
        numbers = list(counts.values()) if isinstance(counts, Mapping) else counts
        array = np.asarray(numbers)
        if array.ndim != 1 or array.size == 0 or not np.all(np.equal(np.mod(array, 1), 0)):
            raise LongtailError("Class counts must be one row of whole numbers, one number per class.")
        if array.min() == 0 and not isinstance(counts, Mapping):
            return cls.from_labels(array)
        return cls(tuple(int(count) for count in array))

    @classmethod
    def from_labels(cls, labels: ArrayLike, classes: int | None = None) -> ClassCounts:
        """Counts of the labels (class indices) of all training images; `classes` checks that no class is missing."""
        array = np.asarray(labels, dtype=np.int64)
        return cls(tuple(int(count) for count in np.bincount(array, minlength=classes or 0)))

    def __len__(self) -> int:
        return len(self.per_class)

    @property
    def total(self) -> int:
        """Number of training images."""
        return sum(self.per_class)

    @property
    def largest(self) -> int:
        """Images of the largest class."""
        return max(self.per_class)

    @property
    def smallest(self) -> int:
        """Images of the smallest class."""
        return min(self.per_class)

    @property
    def ratio(self) -> float:
        """Imbalance ratio: images of the largest class over images of the smallest."""
        return self.largest / self.smallest

    def shot_borders(self) -> ShotBorders:
        """The field's borders, 100 and 20, or where no class has 500 images, thirds of the counts on a log scale.

        500 is the largest class of CIFAR-100-LT, the smallest of the sets that the field's borders were made for; its
        own thirds at ratio 100 are 108 and 23. The embedded digits, 139 to 2, get 33.8 and 8.22.
        """
        if self.largest >= 500:
            return ShotBorders()
        third = self.ratio ** (1 / 3)
        return ShotBorders(many_above=self.largest / third, few_below=self.smallest * third)

    def shot_groups(self, borders: ShotBorders | None = None) -> tuple[ShotGroup, ...]:
        """The shot group of every class (classifier-balancing's many, medium, few; methods of Liu et al., 2019)."""
        borders = borders or self.shot_borders()
        return tuple(borders.group(count) for count in self.per_class)
