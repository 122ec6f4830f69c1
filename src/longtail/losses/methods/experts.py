"""Losses of several experts on the same images. They take scores (B, M, C), M experts."""

from __future__ import annotations

from longtail.counts import ClassCounts
from longtail.losses.criterion import Criterion
from longtail.losses.experts import Diversity, PerExpert
from longtail.losses.margins import class_temperature
from longtail.losses.methods.cosines import ldam
from longtail.losses.methods.reweighting import deferred_reweighting
from longtail.losses.per_class import Counts
from longtail.losses.plus import Plus
from longtail.schedules import FromEpoch


def ride(
    counts: Counts,
    diversity: float = -0.2,
    *,
    expert: Criterion | None = None,
    temperature_span: float = 0.05,
    start: float = 160,
) -> Plus:
    """RIDE: experts with a loss each, driven apart on rare classes (Wang et al., ICLR 2021).

        loss = sum over experts e of L(c_e, y) + k mean(T)^2 KL(softmax(mean_e z_e / T) || softmax(z_e / T))
        z_e = s c_e,   T_j = (C pi_j rho + 1 - rho) / max_k(C pi_k rho + 1 - rho)

    Args:
        counts: training images per class.
        diversity: k, negative to drive apart; -0.45 for CIFAR-100. No gradient passes through the mean.
        expert: L, the loss of each expert: any loss here whose scores are (B, C). The published LDAM-DRW (margin 0.5,
            scale 30) where None. The scores of the experts are what it takes, and s is its scale: cosines of a cosine
            head, or logits, of which s is 1.
        temperature_span: rho; 0.02 for ImageNet-LT, 0.015 for iNaturalist.
        start: epoch from which on temperatures differ by class, and weights in LDAM-DRW, counted from 0; 160 of 200
            for CIFAR, 80 of 100 for larger sets.

    The call takes `epoch=`. To predict: the mean of the experts' logits.

    >>> import torch
    >>> from longtail.losses import cross_entropy
    >>> criterion = ride([9, 1], diversity=0.0, expert=cross_entropy())
    >>> criterion(torch.zeros(1, 3, 2), torch.tensor([0]), epoch=0).exp().round(decimals=4)
    tensor(8.)
    """
    counts = ClassCounts.of(counts)
    expert = expert or ldam(counts, class_weights=deferred_reweighting(counts, start))
    temperature = class_temperature(counts, temperature_span)
    return Plus(PerExpert(expert), Diversity(diversity, temperature, FromEpoch(start), scale=expert.score_scale))
