"""Class counts -> how much one image of each class weighs: a class weight in a loss, a draw weight in a sampler.

Every function gives a float64 array (C,) in the order of the classes. A common factor of the weights changes no
sampler and no weighted mean; where a paper fixes one, `summing_to` sets it. n_j: training images of class j.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from longtail.counts import ClassCounts
from longtail.errors import LongtailError

Weights = NDArray[np.float64]


def instance(counts: ClassCounts) -> Weights:
    """1: every image alike.

    >>> instance(ClassCounts((4, 2))).tolist()
    [1.0, 1.0]
    """
    return np.ones(len(counts))


def balanced(counts: ClassCounts) -> Weights:
    """1 / n_j: every class alike.

    >>> balanced(ClassCounts((4, 2))).tolist()
    [0.25, 0.5]
    """
    return 1 / _images(counts)


def square_root(counts: ClassCounts) -> Weights:
    """1 / sqrt(n_j): half way between images alike and classes alike (Kang et al., ICLR 2020).

    >>> square_root(ClassCounts((4, 1))).tolist()
    [0.5, 1.0]
    """
    return _images(counts) ** -0.5


def reversed_(counts: ClassCounts) -> Weights:
    """1 / n_j^2: the rarer a class, the oftener it is met (BBN's reversed sampler; Zhou et al., CVPR 2020).

    >>> reversed_(ClassCounts((4, 2))).tolist()
    [0.0625, 0.25]
    """
    return _images(counts) ** -2


def inverse_frequency(counts: ClassCounts, power: float = 1.0) -> Weights:
    """(n_min / n_j)^power: at most 1, for the smallest class.

    >>> inverse_frequency(ClassCounts((4, 2))).tolist()
    [0.5, 1.0]
    """
    return (counts.smallest / _images(counts)) ** power


def effective_number(counts: ClassCounts, beta: float | Weights = 0.9999) -> Weights:
    """(1 - beta) / (1 - beta^n_j), one over the effective number of images (Cui et al., CVPR 2019).

    beta in [0, 1), one number or one per class: 0 weighs images alike, towards 1 it becomes `balanced`.

    >>> effective_number(ClassCounts((2, 1)), beta=0.5).round(4).tolist()
    [0.6667, 1.0]
    """
    if not np.all((np.asarray(beta) >= 0) & (np.asarray(beta) < 1)):
        raise LongtailError(f"The effective number needs beta from 0 to below 1, not {beta}.")
    return np.asarray((1 - beta) / (1 - beta ** _images(counts)))


def cben(counts: ClassCounts, lowest: float = 0.999, span: float = 0.0009) -> Weights:
    """GCL's class-based effective number: a beta per class (Li et al., CVPR 2022, eqs. 13 and 14).

    The published code takes lowest=0.9999, span=1e-5 and computes beta in float32. Read per image (the code's
    way) the classes come out nearly alike; read as class probabilities (the text's way) the tail is strongly
    favoured.
    """
    return effective_number(counts, cben_beta(counts, lowest, span))


def cben_beta(counts: ClassCounts, lowest: float = 0.999, span: float = 0.0009) -> Weights:
    """beta_j = lowest + span * log(n_max / n_j) / log(n_max / n_min); `lowest` where counts are equal.

    >>> cben_beta(ClassCounts((100, 10, 1))).round(5).tolist()
    [0.999, 0.99945, 0.9999]
    """
    rarity = np.log(counts.largest / _images(counts))
    return lowest + span * rarity / (rarity.max() or 1.0)


def summing_to(total: float, weights: Weights) -> Weights:
    """The weights with the sum `total`.

    >>> summing_to(2, np.array([1.0, 3.0])).tolist()
    [0.5, 1.5]
    """
    return np.asarray(weights * (total / weights.sum()))


def class_probability(counts: ClassCounts, weights: Weights) -> Weights:
    """The chance that one draw is of class j when each of its images weighs w_j: n_j w_j / sum_k n_k w_k.

    >>> class_probability(ClassCounts((3, 1)), np.array([1.0, 1.0])).tolist()
    [0.75, 0.25]
    """
    return summing_to(1.0, _images(counts) * weights)


def _images(counts: ClassCounts) -> Weights:
    return np.array(counts.per_class, dtype=np.float64)
