"""The sampling rules of the papers by name. p_j: probability of class j; n_j: its training images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from longtail import weighting
from longtail.counts import ClassCounts
from longtail.errors import LongtailError, unknown
from longtail.samplers.sampling import ByClass, ClassAware, EveryImageOnce, Sampling
from longtail.weighting import Weights

ProgressiveForm = Literal["decoupling", "bag_of_tricks"]
CbenReading = Literal["sample", "class"]


def instance() -> Sampling:
    """Every image once an epoch, in random order."""
    return EveryImageOnce()


def class_balanced() -> Sampling:
    """Every class alike, p_j = 1 / C (Kang et al., ICLR 2020, equation 1 with q = 0)."""
    return _by_image("class_balanced()", weighting.balanced)


def square_root() -> Sampling:
    """Half way, p_j = sqrt(n_j) / sum_k sqrt(n_k) (Kang et al., ICLR 2020, equation 1 with q = 1/2)."""
    return _by_image("square_root()", weighting.square_root)


def effective_number(beta: float = 0.9999) -> Sampling:
    """Images weigh one over their class's effective number, p_j ~ n_j (1 - beta) / (1 - beta^n_j).

    Cui et al., CVPR 2019, whose weights of the loss are drawn by here.
    """
    return _by_image(f"effective_number(beta={beta:g})", lambda counts: weighting.effective_number(counts, beta))


def reversed_() -> Sampling:
    """The rarer the oftener, p_j ~ n_max / n_j (BBN; Zhou et al., CVPR 2020)."""
    return _by_image("reversed_()", weighting.reversed_)


def class_aware(per_class: int = 4) -> Sampling:
    """Classes in turn, `per_class` successive images of each (Shen, Lin and Huang, ECCV 2016).

    Published second stages take 4 (Kang et al., ICLR 2020; MiSLAS).

    Raises:
        LongtailError: `per_class` is below 1.
    """
    if per_class < 1:
        raise LongtailError(f"Class-aware sampling takes at least 1 image of a class in turn, not {per_class}.")
    return ClassAware(per_class)


def progressive(form: ProgressiveForm = "decoupling") -> Sampling:
    """From instance sampling to class-balanced over the epochs, p_j = (1 - s) n_j / N + s / C.

    Args:
        form: "decoupling", s = t / (T - 1) in the epochs t = 0 .. T - 1 (Kang et al., ICLR 2020, equation 2), or
            "bag_of_tricks", s = t / T in the epochs t = 1 .. T (Zhang et al., AAAI 2021).

    Raises:
        LongtailError: there is no such form.
    """
    if form not in get_args(ProgressiveForm):
        raise unknown("form of progressive sampling", form, get_args(ProgressiveForm))

    def weigh(counts: ClassCounts, epoch: int, epochs: int) -> Weights:
        share = epoch / max(epochs - 1, 1) if form == "decoupling" else (epoch + 1) / epochs
        by_image = weighting.class_probability(counts, weighting.instance(counts))
        return np.asarray((1 - share) * by_image + share / len(counts))

    return ByClass(f"progressive({form!r})", weigh)


def cben(lowest: float = 0.999, span: float = 0.0009, per: CbenReading = "sample") -> Sampling:
    """Class-based effective number, rho_j of `weighting.cben` (GCL; Li et al., CVPR 2022, equations 13, 14).

    Args:
        lowest: beta of the largest class. Published code: 0.9999.
        span: how much larger beta of the smallest class is. Published code: 1e-5.
        per: "sample", rho weighs each image, p_j ~ n_j rho_j, nearly balanced (published code), or "class",
            p_j ~ rho_j, in strong favour of the tail (the paper's words).

    Raises:
        LongtailError: there is no such reading.
    """
    if per not in get_args(CbenReading):
        raise unknown("reading of CBEN", per, get_args(CbenReading))
    name = f"cben(lowest={lowest:g}, span={span:g}, per={per!r})"
    if per == "class":
        return ByClass(name, lambda counts, epoch, epochs: weighting.cben(counts, lowest, span))
    return _by_image(name, lambda counts: weighting.cben(counts, lowest, span))


BY_NAME: dict[str, Callable[[], Sampling]] = {
    "instance": instance,
    "class-balanced": class_balanced,
    "square-root": square_root,
    "progressive": progressive,
    "effective-number": effective_number,
    "cben": cben,
    "class-aware": class_aware,
    "reversed": reversed_,
}
"""The rules with their default numbers, as a command line or a file of settings calls them."""


def _by_image(name: str, weigh: Callable[[ClassCounts], Weights]) -> Sampling:
    """Draws by class, where `weigh` gives what one image of each class weighs."""
    return ByClass(name, lambda counts, epoch, epochs: weighting.class_probability(counts, weigh(counts)))
