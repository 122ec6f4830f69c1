"""Makes data long-tailed the way the literature does: a profile of counts, then a fixed choice of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from longtail.data.asked import Reading
from longtail.data.words import shown
from longtail.errors import LongtailError, unknown
from longtail.text import counted

Profile = Callable[[int, int, float], tuple[int, ...]]
"""(images of the largest class, classes, ratio) -> images per class, in class order."""

Selection = Callable[[Sequence[NDArray[np.int64]]], Sequence[NDArray[np.int64]]]
"""The images of every class, in class order -> the same, in the order in which they are taken."""


def exponential(largest: int, classes: int, ratio: float) -> tuple[int, ...]:
    """n_i = trunc(n_max / ratio^(i / (C - 1))): Cui et al. (2019), as LDAM-DRW (Cao et al., 2019) draws it.

    Dividing matters: powers of a rounded factor, or exp of a logarithm, are one image short in the last class.

    >>> exponential(5000, 10, 100)
    (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
    """
    return tuple(int(largest / ratio ** (index / max(classes - 1, 1))) for index in range(classes))


def step(largest: int, classes: int, ratio: float) -> tuple[int, ...]:
    """The first half of the classes keeps n_max, the others have trunc(n_max / ratio): Buda et al. (2018).

    >>> step(500, 4, 10)
    (500, 500, 50, 50)
    """
    half = classes // 2
    return (largest,) * half + (int(largest / ratio),) * (classes - half)


def shuffled(seed: int) -> Selection:
    """Each class shuffled in class order, by one generator of numpy with this seed.

    The legacy generator on purpose: its stream is what the published splits are made of.
    """

    def shuffle(members: Sequence[NDArray[np.int64]]) -> Sequence[NDArray[np.int64]]:
        generator = np.random.RandomState(seed)
        orders = [indices.copy() for indices in members]
        for order in orders:
            generator.shuffle(order)
        return orders

    return shuffle


def as_they_stand(members: Sequence[NDArray[np.int64]]) -> Sequence[NDArray[np.int64]]:
    """The first images of every class, in the order of the files."""
    return members


PROFILES: Mapping[str, Profile] = {"exp": exponential, "step": step}
SELECTIONS: Mapping[str, Selection] = {"ldam-drw": shuffled(0), "kps": shuffled(666), "shike": as_they_stand}
"""Whose images are taken, by the published code that takes them.

`ldam-drw`: seed 0, which MiSLAS, GCL, SADE, BalPoE, ProCo and others share; `kps`: seed 666; `shike`: the shuffle is
left out. The codes of LADE and BALMS draw another subset in every run, so there is nothing to name.
"""


@dataclass(frozen=True)
class Cut:
    """How balanced data are cut down to long-tailed ones."""

    ratio: float
    profile: str = "exp"
    selection: str = "ldam-drw"

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise unknown("profile", self.profile, PROFILES)
        if self.selection not in SELECTIONS:
            raise unknown("selection", self.selection, SELECTIONS)

    @classmethod
    def of(cls, reading: Reading, ratio: float) -> Self:
        """What was asked for, with `ratio` where none was."""
        wanted = reading.get("imbalance")
        profile, selection = reading.get("profile") or "exp", reading.get("selection") or "ldam-drw"
        return cls(ratio if wanted is None else wanted, profile, selection)

    @classmethod
    def asked(cls, reading: Reading) -> Self | None:
        """What was asked for; None where the data are taken as they are.

        Raises LongtailError for a profile or selection without a ratio, and for one that does not exist.
        """
        ratio = reading.get("imbalance")
        if ratio is not None:
            return cls.of(reading, ratio)
        for option, value in (("--profile", reading.get("profile")), ("--selection", reading.get("selection"))):
            if value is not None:
                raise LongtailError(f"{option} says how data are cut down; give --imbalance with it.")
        return None

    def indices(
        self, labels: NDArray[np.int64], classes: Sequence[str], largest: int | None = None
    ) -> NDArray[np.int64]:
        """Indices (M,) of the images that are left; see `long_tailed`."""
        return long_tailed(labels, classes, self.ratio, PROFILES[self.profile], SELECTIONS[self.selection], largest)

    def note(self, images: int, suffix: str = "") -> str:
        """One line that says what was done."""
        shape = {"exp": "exponential", "step": "step"}[self.profile]
        chosen = f"the choice of {self.selection}"
        return (
            f"Long-tailed by the {shape} profile at ratio {self.ratio:g}{suffix}: {counted(images, 'image')}, {chosen}"
        )


def long_tailed(
    labels: NDArray[np.int64],
    classes: Sequence[str],
    ratio: float,
    profile: Profile = exponential,
    selection: Selection = SELECTIONS["ldam-drw"],
    largest: int | None = None,
) -> NDArray[np.int64]:
    """Indices (M,) of a long-tailed choice from N images with these `labels` (N,), class by class.

    Of every class the first n_i in the order of `selection` are taken; by default the subset is the field's own.
    `largest` is n_max, by default the count of the largest class.

    Raises LongtailError for a ratio that is below 1, no number, or leaves a class empty, and for a class with
    fewer images than the profile asks of it.
    """
    available = np.bincount(labels, minlength=len(classes))
    largest = int(available.max()) if largest is None else largest
    _check_ratio(ratio, largest)
    wanted = profile(largest, len(classes), ratio)
    for name, has, wants in zip(classes, available.tolist(), wanted, strict=True):
        if wants > has:
            raise LongtailError(
                f"Class {shown(name)} has {has} training images, but imbalance ratio {ratio:g} asks {wants} of it "
                f"(classes shrink in their order, from {largest}); leave --imbalance away to take the data as they are."
            )
    orders = selection([np.flatnonzero(labels == label) for label in range(len(classes))])
    return np.concatenate([order[:wants] for order, wants in zip(orders, wanted, strict=True)])


def _check_ratio(ratio: float, largest: int) -> None:
    if not math.isfinite(ratio) or ratio < 1:
        raise LongtailError(f"The imbalance ratio is a number of at least 1 (1 is balanced), not {ratio:g}.")
    if ratio > largest:
        raise LongtailError(
            f"Imbalance ratio {ratio:g} would leave the smallest class empty: the largest class has {largest} "
            f"training images, so {largest} is the most."
        )
