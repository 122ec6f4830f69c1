"""Makes data long-tailed the way the literature does: a profile of counts, then a fixed choice of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from longtail.data.words import shown
from longtail.errors import LongtailError

Profile = Callable[[int, int, float], tuple[int, ...]]
"""(images of the largest class, classes, ratio) -> images per class, in class order."""


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


def long_tailed(
    labels: NDArray[np.int64],
    classes: Sequence[str],
    ratio: float,
    profile: Profile = exponential,
    largest: int | None = None,
) -> NDArray[np.int64]:
    """Indices (M,) of a long-tailed choice from N images with these `labels` (N,), class by class.

    The choice is LDAM-DRW's, so that the subset is the field's own: numpy's seed 0, each class' indices
    shuffled in class order, the first n_i taken. `largest` is n_max, by default the count of the largest class.

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
    # The legacy generator on purpose: its stream is what the published splits are made of.
    generator = np.random.RandomState(0)
    chosen = []
    for label, wants in enumerate(wanted):
        indices = np.flatnonzero(labels == label)
        generator.shuffle(indices)
        chosen.append(indices[:wants])
    return np.concatenate(chosen)


def _check_ratio(ratio: float, largest: int) -> None:
    if not math.isfinite(ratio) or ratio < 1:
        raise LongtailError(f"The imbalance ratio is a number of at least 1 (1 is balanced), not {ratio:g}.")
    if ratio > largest:
        raise LongtailError(
            f"Imbalance ratio {ratio:g} would leave the smallest class empty: the largest class has {largest} "
            f"training images, so {largest} is the most."
        )
