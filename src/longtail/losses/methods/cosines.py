"""Losses with margins on the target's cosine. They take bare cosines (B, C); the scale is theirs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from longtail.counts import ClassCounts
from longtail.losses.factors import Difficulty, Strength
from longtail.losses.margins import fourth_root_margin, opposite_radius, quantity, radius
from longtail.losses.objective import ClassWeights, Objective
from longtail.losses.per_class import Counts
from longtail.losses.rotation import Beyond, Rotate, less_angle_sine
from longtail.losses.steps import Scale, Stretch, Subtract
from longtail.losses.where import Everywhere, OnRow, OnTarget
from longtail.schedules import FromEpoch


def cosface(counts: Counts | None = None, margin: float = 0.4, scale: float = 64.0) -> Objective:
    """CosFace, additive cosine margin (Wang et al., CVPR 2018; thesis eq. 3.20).

        u_j = s (c_j - m [j = y]);   loss = batch mean of CE(u, y)

    Args:
        counts: not looked at; taken so that all methods are called alike.
        margin: m. 0.4 in InsightFace, 0.35 in pytorch-metric-learning; the thesis does not give its own.
        scale: s.

    >>> import torch
    >>> cosface(margin=0.5, scale=2)(torch.tensor([[0.5, 0.0]]), torch.tensor([0])).exp()
    tensor(2.)
    """
    return Objective(Subtract(OnTarget(margin)), Scale(scale))


def arcface(
    counts: Counts | None = None,
    margin: float = 0.5,
    scale: float = 64.0,
    *,
    beyond: Beyond = less_angle_sine,
) -> Objective:
    """ArcFace, additive angular margin (Deng et al., CVPR 2019; thesis eq. 3.20).

        u_y = s cos(theta_y + m),   u_j = s c_j for j != y;   loss = batch mean of CE(u, y)

    Args:
        counts: not looked at; taken so that all methods are called alike.
        margin: m, radians; 0.5 in the codes, the thesis does not give its own.
        scale: s.
        beyond: what stands where theta_y + m > pi, by default c_y - m sin(m). InsightFace leaves cos(theta + m)
            and passes the gradient of c_y through (`straight_through` of `longtail.losses.rotation`).

    >>> import torch
    >>> arcface(margin=torch.pi / 2, scale=3)(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).exp().round(decimals=4)
    tensor(2.)
    """
    return Objective(Rotate(OnTarget(margin), beyond=beyond), Scale(scale))


def ldam(
    counts: Counts, largest_margin: float = 0.5, scale: float = 30.0, *, class_weights: ClassWeights | None = None
) -> Objective:
    """LDAM, label-distribution-aware margin (Cao et al., NeurIPS 2019; thesis eqs. 3.4 to 3.6).

        u_j = s (c_j - Delta_y [j = y]),   Delta_j = largest (n_min / n_j)^(1/4);   loss = weighted mean of CE(u, y)

    Args:
        counts: training images per class.
        largest_margin: the smallest class's.
        scale: s.
        class_weights: `deferred_reweighting(counts)` makes it LDAM-DRW.

    >>> import torch
    >>> ldam([16, 1], scale=4)(torch.tensor([[0.25, 0.0]]), torch.tensor([0])).exp()
    tensor(2.)
    """
    margin = fourth_root_margin(ClassCounts.of(counts), largest_margin)
    return Objective(Subtract(OnTarget(margin)), Scale(scale), class_weights=class_weights)


def kps(
    counts: Counts,
    largest_margin: float = 0.5,
    scale: float = 15.0,
    *,
    base: float = 50.0,
    adjust_from: float | None = None,
    largest_scale: float | None = None,
    opposite: ArrayLike | None = None,
    class_weights: ClassWeights | None = None,
) -> Objective:
    """Key-point-sensitive loss, with gradient adjustment (Li et al., TPAMI 2022; thesis eqs. 3.16 and 3.26).

        u_j = s_y (r_j c_j - m_y [j = y]);   loss = batch mean of CE(u, y)
        r_j = log(base n_j / n_min) / log(base),   m'_j = r_max + 1 - r_j,   m_j = largest_margin m'_j / max m'
        s_j = s before the gradient adjustment, s m'_j from then on

    Args:
        counts: training images per class.
        largest_margin: 0.5 for CIFAR, 0.35 for ImageNet-LT, 0.3 for iNaturalist; the code's script has 0.2.
        scale: s; the code's class has 30 by default, its script 15.
        base: n_base.
        adjust_from: epoch at which the gradient adjustment starts, None for never. The thesis says "when converged
            to a certain extent", the code 120 of 200. The call then takes `epoch=`.
        largest_scale: upper limit of s_j; 50 in the code, none in the thesis.
        opposite: m' (C,) instead of the above. The code mirrors the list of radii by position, `radius(...)[::-1]`:
            nearly the same where classes are sorted by size, the margins of other classes where they are not.
        class_weights: weight per class.

    >>> import torch
    >>> kps([9, 1], largest_margin=0.0, scale=1)(torch.zeros(1, 2), torch.tensor([0])).exp()
    tensor(2.)
    """
    counts = ClassCounts.of(counts)
    softness = np.asarray(opposite_radius(counts, base) if opposite is None else opposite, dtype=np.float64)
    steps = [
        Stretch(Everywhere(radius(counts, base) - 1)),
        Subtract(OnTarget(largest_margin * softness / softness.max())),
    ]
    if adjust_from is not None:
        limited = softness if largest_scale is None else softness.clip(max=largest_scale / scale)
        steps.append(Stretch(OnRow(limited - 1, Strength(FromEpoch(adjust_from)))))
    return Objective(*steps, Scale(scale), class_weights=class_weights)


def ala(
    counts: Counts,
    scale: float = 30.0,
    *,
    base: float = 2.0,
    difficulty: bool = True,
    margin: ArrayLike | None = None,
    class_weights: ClassWeights | None = None,
) -> Objective:
    """Adaptive logit adjustment: larger margins for hard samples of rare classes (Zhao et al., AAAI 2022).

        u_j = s (c_j - A [j = y]),   A = DF QF_y   (eqs. 4 and 8);   loss = weighted mean of CE(u, y)
        DF = (1 - c_y) / 2 without gradient (eq. 6),   QF_j = 1 / log_base(n_j / n_min + 1) (eq. 7)

    Args:
        counts: training images per class.
        scale: s.
        base: of the logarithm, which the paper does not state: 2, so that the rarest class has 1, as in the one
            public (third-party) code; `math.e` gives it 1.44.
        difficulty: False leaves DF out: quantity alone (table 4).
        margin: (C,) or one number, in the place of QF: 1 is difficulty alone, `fourth_root_margin(counts, 0.5)` is
            difficulty x LDAM margin (table 4).
        class_weights: `deferred_reweighting(counts)` for "the same training strategies as LDAM".

    >>> import torch
    >>> ala([9, 1], scale=1)(torch.tensor([[0.5, -0.5]]), torch.tensor([1])).round(decimals=4)  # 0.75 harder
    tensor(1.9102)
    """
    number = quantity(ClassCounts.of(counts), base) if margin is None else margin
    on_target = OnTarget(number, Difficulty()) if difficulty else OnTarget(number)
    return Objective(Subtract(on_target), Scale(scale), class_weights=class_weights)
