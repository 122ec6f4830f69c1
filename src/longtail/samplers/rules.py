"""The sampling rules of the long-tail papers, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from longtail import weighting
from longtail.counts import ClassCounts
from longtail.errors import LongtailError, unknown
from longtail.samplers.sampling import ByClass, ClassAware, EveryImageOnce, Sampling
from longtail.weighting import Weights


def instance() -> Sampling:
    """Every image once an epoch, in random order: classes come as often as they have images."""
    return EveryImageOnce()


def class_balanced() -> Sampling:
    """Every class alike: p_j = 1 / C (Kang et al., ICLR 2020)."""
    return _by_image("class_balanced", weighting.balanced)


def square_root() -> Sampling:
    """Half way between: p_j = sqrt(n_j) / sum_k sqrt(n_k) (Kang et al., ICLR 2020)."""
    return _by_image("square_root", weighting.square_root)


def effective_number(beta: float = 0.9999) -> Sampling:
    """Images weigh one over their class's effective number: p_j ~ n_j (1 - beta) / (1 - beta^n_j) (Cui et al., 2019)."""
    return _by_image(
        f"effective_number(beta={beta:g})", lambda counts: weighting.effective_number(counts, beta)
    )


def reversed_() -> Sampling:
    """The rarer, the oftener: p_j ~ n_max / n_j (BBN; Zhou et al., CVPR 2020)."""
    return _by_image("reversed", weighting.reversed_)


def class_aware(per_class: int = 4) -> Sampling:
    """Classes in turn, `per_class` successive images of each; see `ClassAware`."""
    if per_class < 1:
        raise LongtailError(
            f"Class-aware sampling takes at least 1 image of a class at a time, not {per_class}."
        )
    return ClassAware(per_class)


def progressive(form: Literal["decoupling", "bag_of_tricks"] = "decoupling") -> Sampling:
    """From instance sampling to class-balanced over the epochs: p_j = (1 - s) n_j / N + s / C.

    Args:
        form: s = t / (T - 1) with epochs t from 0 to T - 1 (Kang et al., ICLR 2020), or s = t / T with t from
        1 to T
            (Zhang et al., "Bag of tricks", AAAI 2021).
    """
    forms = get_args(Literal["decoupling", "bag_of_tricks"])
    if form not in forms:
        raise unknown("form of progressive sampling", form, forms)

    def weigh(counts: ClassCounts, epoch: int, epochs: int) -> Weights:
        share = epoch / max(epochs - 1, 1) if form == "decoupling" else (epoch + 1) / epochs
        images = np.array(counts.per_class, np.float64)
        return np.asarray((1 - share) * images / images.sum() + share / len(counts))

    return ByClass(f"progressive({form})", weigh)


def cben(lowest: float = 0.999, span: float = 0.0009, per: Literal["image", "class"] = "image") -> Sampling:
    """Class-based effective number (GCL; Li et al., CVPR 2022, equations 13 and 14).

    With rho_j = (1 - beta_j) / (1 - beta_j^n_j) and beta_j = lowest + span log(n_max / n_j) / log(n_max /
    n_min): p_j ~ n_j rho_j where rho weighs images (published code; nearly balanced), p_j ~ rho_j where it is
    read as the probability of a class (the paper's words; favours the tail strongly).

    Args:
        lowest: beta of the largest class. Published code: 0.9999.
        span: how much larger the beta of the smallest class is. Published code: 1e-5.
        per: what rho weighs, "image" or "class".
    """
    if per not in ("image", "class"):
        raise unknown("reading of CBEN", per, ("image", "class"))
    name = f"cben(lowest={lowest:g}, span={span:g}, per={per})"
    if per == "class":
        return ByClass(name, lambda counts, epoch, epochs: weighting.cben(counts, lowest, span))
    return _by_image(name, lambda counts: weighting.cben(counts, lowest, span))


def _by_image(name: str, weigh: Callable[[ClassCounts], Weights]) -> Sampling:
    """Draws by class where `weigh` gives the weight of one image of each class."""
    return ByClass(name, lambda counts, epoch, epochs: weighting.class_probability(counts, weigh(counts)))
