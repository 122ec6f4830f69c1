"""Class counts -> one number per class: how large a margin is, before anything of the sample or the epoch.

Every function gives a float64 array (C,) in the order of the classes, which need not be sorted; equal counts give
finite numbers, and 0 where the number says how rare a class is. n_j: training images of class j.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from longtail.counts import ClassCounts

PerClassNumbers = NDArray[np.float64]
Rule = Callable[[ClassCounts], PerClassNumbers]
Curve = Callable[[PerClassNumbers], PerClassNumbers]  # [0, 1] -> [0, 1]


def images(counts: ClassCounts) -> PerClassNumbers:
    """n_j."""
    return np.array(counts.per_class, dtype=np.float64)


def log_prior(counts: ClassCounts) -> PerClassNumbers:
    """The log prior, log pi_j = log(n_j / N).

    >>> np.exp(log_prior(ClassCounts((3, 1)))).round(6).tolist()
    [0.75, 0.25]
    """
    return np.log(images(counts) / counts.total)


def log_rarity(counts: ClassCounts) -> PerClassNumbers:
    """How rare: log n_max - log n_j, 0 for the largest class (GCL eq. 9; FBL, thesis eq. 4.4).

    >>> log_rarity(ClassCounts((10, 10))).tolist()
    [0.0, 0.0]
    """
    return np.asarray(np.log(counts.largest) - np.log(images(counts)))


def cube_root_rarity(counts: ClassCounts) -> PerClassNumbers:
    """n_max^(1/3) - n_j^(1/3) (GCL table 3)."""
    return np.asarray(np.cbrt(counts.largest) - np.cbrt(images(counts)))


def fourth_root_rarity(counts: ClassCounts) -> PerClassNumbers:
    """n_max^(1/4) - n_j^(1/4) (GCL table 3)."""
    return np.asarray(counts.largest**0.25 - images(counts) ** 0.25)


def cosine_rarity(counts: ClassCounts) -> PerClassNumbers:
    """cos(pi/2 * n_j / n_max) (GCL table 3); 0 for all where counts are equal.

    >>> cosine_rarity(ClassCounts((3, 1))).round(4).tolist()
    [0.0, 0.866]
    """
    return np.sin(np.pi / 2 * (1 - images(counts) / counts.largest))


def relative(rule: Rule, counts: ClassCounts) -> PerClassNumbers:
    """A rarity divided by its maximum, so that it lies in [0, 1].

    >>> relative(log_rarity, ClassCounts((100, 10, 1))).tolist()
    [0.0, 0.5, 1.0]
    """
    rarity = rule(counts)
    return np.asarray(rarity / (rarity.max() or 1.0))


def fourth_root_margin(counts: ClassCounts, largest: float) -> PerClassNumbers:
    """LDAM's margin, largest * (n_min / n_j)^(1/4) (thesis eqs. 3.4 to 3.6).

    >>> fourth_root_margin(ClassCounts((16, 1)), 0.5).tolist()
    [0.25, 0.5]
    """
    return np.asarray(largest * (counts.smallest / images(counts)) ** 0.25)


def radius(counts: ClassCounts, base: float) -> PerClassNumbers:
    """r_j = log(base * n_j / n_min) / log(base), from 1 for the smallest class (KPS, thesis eq. 3.27)."""
    return np.asarray(np.log(base * images(counts) / counts.smallest) / np.log(base))


def opposite_radius(counts: ClassCounts, base: float) -> PerClassNumbers:
    """m'_j = r_max + 1 - r_j, from 1 for the largest class (KPS, thesis eq. 3.28)."""
    radii = radius(counts, base)
    return np.asarray(radii.max() + 1 - radii)


def quantity(counts: ClassCounts, base: float) -> PerClassNumbers:
    """1 / log_base(n_j / n_min + 1), largest for the smallest class (ALA eq. 7).

    >>> quantity(ClassCounts((3, 1)), base=2).tolist()
    [0.5, 1.0]
    """
    return np.asarray(np.log(base) / np.log(images(counts) / counts.smallest + 1))


def rare(counts: ClassCounts, below: float) -> PerClassNumbers:
    """1 for a class with less than the share `below` of all images, otherwise 0 (equalization losses)."""
    return (images(counts) / counts.total < below).astype(np.float64)


def smoothing(counts: ClassCounts, head: float, tail: float, curve: Curve) -> PerClassNumbers:
    """MiSLAS's smoothing, tail + (head - tail) * curve((n_j - n_min) / (n_max - n_min)); `tail` for equal counts.

    >>> smoothing(ClassCounts((3, 2, 1)), head=0.4, tail=0.1, curve=linear).round(3).tolist()
    [0.4, 0.25, 0.1]
    """
    above = images(counts) - counts.smallest
    return np.asarray(tail + (head - tail) * curve(above / (above.max() or 1.0)))


def class_temperature(counts: ClassCounts, span: float) -> PerClassNumbers:
    """C pi_j span + 1 - span, divided by its maximum (RIDE).

    >>> class_temperature(ClassCounts((3, 1)), span=0.5).tolist()
    [1.0, 0.6]
    """
    temperature = len(counts) * images(counts) / counts.total * span + 1 - span
    return np.asarray(temperature / temperature.max())


def concave(share: PerClassNumbers) -> PerClassNumbers:
    """sin(pi/2 * share)."""
    return np.sin(np.pi / 2 * share)


def linear(share: PerClassNumbers) -> PerClassNumbers:
    """The share itself."""
    return share


def convex(share: PerClassNumbers) -> PerClassNumbers:
    """1 - cos(pi/2 * share)."""
    return 1 - np.cos(np.pi / 2 * share)


def power(exponent: float) -> Curve:
    """share^exponent."""
    return lambda share: share**exponent
