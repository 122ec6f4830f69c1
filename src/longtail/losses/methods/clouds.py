"""Gaussian clouded logits. They take the bare cosines (B, C) of a cosine head; the scale is theirs."""

from __future__ import annotations

import math

from longtail.counts import ClassCounts
from longtail.losses.factors import Noise
from longtail.losses.likelihood import Focus
from longtail.losses.margins import Rule, log_rarity, relative
from longtail.losses.objective import ClassWeights, Mean, Objective
from longtail.losses.per_class import Counts
from longtail.losses.rotation import Beyond, Rotate, less_sine
from longtail.losses.steps import Scale, Subtract
from longtail.losses.where import Everywhere, OnTarget


def gcl(
    counts: Counts,
    scale: float = 30.0,
    *,
    amplitude: float = 1.0,
    target_margin: float = 0.0,
    cloud: Rule = log_rarity,
    shared_noise: bool = False,
    focus: Focus | None = None,
    class_weights: ClassWeights | None = None,
) -> Objective:
    """Gaussian clouded logit adjustment (Li, Cheung and Lu, CVPR 2022, eqs. 8 to 12; thesis eqs. 5.9 to 5.12).

        u_j = s (c_j - amplitude delta_j |e| - m [j = y]),   e ~ N(0, 1/9) limited to [-1, 1];   loss = mean of CE(u, y)
        delta_j = (log n_max - log n_j) / max_k(log n_max - log n_k)

    Rare classes get wide clouds, the largest class none; clouds make training harder, so that rare classes are pushed
    farther apart. Predictions are the cosines themselves.

    Args:
        counts: training images per class. Where they are equal there is no cloud (the published code gives NaN).
        scale: s, not in the paper; 30 in stage one of the code, 20 (CIFAR) and 15 (Places-LT) in stage two.
        amplitude: of the noise, 1 in the paper; the code has 0.5 for CIFAR.
        target_margin: m, 0 in the paper; the code has 0.1 in stage two.
        cloud: cloud size by class, `log_rarity`; also `cube_root_rarity`, `fourth_root_rarity` and
            `cosine_rarity` of `longtail.losses.margins` (table 3). It is divided by its maximum.
        shared_noise: one e per sample, as eqs. 8 to 11 may be read; the code draws one per sample and class.
        focus: a focal factor; `Focus(1, detached=True)` in stage two of the code, with the mean over the batch.
        class_weights: weight per class.

    >>> import torch
    >>> criterion = gcl([500, 50, 5], amplitude=0.5)
    >>> cosines, targets = torch.zeros(1, 3), torch.tensor([0])
    >>> criterion(cosines, targets) < torch.tensor(3.0).log()  # only the rivals are in a cloud
    tensor(True)
    """
    size = amplitude * relative(cloud, ClassCounts.of(counts))
    margins = (Everywhere(size, Noise(shared=shared_noise)), *_on_target(target_margin))
    mean: Mean = "weighted" if focus is None else "batch"
    return Objective(Subtract(*margins), Scale(scale), class_weights=class_weights, focus=focus, mean=mean)


def gcl_angular(
    counts: Counts,
    scale: float = 30.0,
    *,
    amplitude: float = 0.1,
    target_margin: float = 0.5,
    cloud: Rule = log_rarity,
    shared_noise: bool = False,
    beyond: Beyond = less_sine,
    focus: Focus | None = None,
    class_weights: ClassWeights | None = None,
) -> Objective:
    """GCL-A: clouds on the angle instead of the cosine (Li, Cheung and Lu, TAI 2024; class GCLAngLoss of the code).

        u_j = s cos(theta_j + a_j),   a_j = pi/2 amplitude delta_j |e| + m [j = y];   loss = mean of CE(u, y)

    delta and e are those of `gcl`.

    Args:
        counts: training images per class. Where they are equal there is no cloud (the published code gives NaN).
        scale: s.
        amplitude: of the noise, 0.1 by default in the code, 0.5 in its runs.
        target_margin: m, radians; 0.5 by default in the code, 0 in its runs.
        cloud: cloud size by class, divided by its maximum.
        shared_noise: one e per sample; the code draws one per sample and class.
        beyond: what stands where theta_j + a_j > pi: `less_sine`, c_j - sin(a_j), by default; the runs use
            `only_acute` of `longtail.losses.rotation` (the easy margin): c_j wherever theta_j is not acute.
        focus: a focal factor; `Focus(1, detached=True)` in stage two of the code, with the mean over the batch.
        class_weights: weight per class.

    >>> import torch
    >>> criterion = gcl_angular([500, 50, 5], target_margin=0.0, amplitude=0.0)
    >>> criterion(torch.zeros(1, 3), torch.tensor([0])).exp().round(decimals=4)
    tensor(3.)
    """
    size = math.pi / 2 * amplitude * relative(cloud, ClassCounts.of(counts))
    margins = (Everywhere(size, Noise(shared=shared_noise)), *_on_target(target_margin))
    mean: Mean = "weighted" if focus is None else "batch"
    return Objective(Rotate(*margins, beyond=beyond), Scale(scale), class_weights=class_weights, focus=focus, mean=mean)


def _on_target(margin: float) -> tuple[OnTarget, ...]:
    """The margin on the target, or nothing for 0, which would change nothing."""
    return (OnTarget(margin),) if margin else ()
