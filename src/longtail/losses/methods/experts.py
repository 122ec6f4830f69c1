"""Losses of several experts on the same images. They take scores (B, M, C), M experts."""

from __future__ import annotations

from longtail.counts import ClassCounts
from longtail.losses.experts import Diversity, PerExpert
from longtail.losses.margins import class_temperature, fourth_root_margin
from longtail.losses.methods.reweighting import deferred_reweighting
from longtail.losses.objective import Objective
from longtail.losses.per_class import Counts
from longtail.losses.plus import Plus
from longtail.losses.steps import Subtract
from longtail.losses.where import OnTarget
from longtail.schedules import FromEpoch


def ride(
    counts: Counts,
    diversity: float = -0.2,
    *,
    largest_margin: float = 0.5,
    scale: float = 30.0,
    temperature_span: float = 0.05,
    start: float = 160,
) -> Plus:
    """RIDE: experts with an LDAM-DRW loss each, driven apart on rare classes (Wang et al., ICLR 2021).

        loss = sum over experts e of LDAM-DRW(z_e, y) + k mean(T)^2 KL(softmax(mean_e z_e / T) || softmax(z_e / T))
        T_j = (C pi_j rho + 1 - rho) / max_k(C pi_k rho + 1 - rho)

    Args:
        counts: training images per class.
        diversity: k, negative to drive apart; -0.45 for CIFAR-100. No gradient passes through the mean.
        largest_margin: of LDAM, for the smallest class, in cosine units.
        scale: by which the head has scaled its cosines already.
        temperature_span: rho; 0.02 for ImageNet-LT, 0.015 for iNaturalist.
        start: epoch from which on weights and temperatures differ by class, counted from 0; 160 of 200 for
            CIFAR, 80 of 100 for larger sets.

    The call takes `epoch=`. To predict: the mean of the experts' logits.

    >>> import torch
    >>> criterion = ride([9, 1], diversity=0.0, largest_margin=0.0)
    >>> criterion(torch.zeros(1, 3, 2), torch.tensor([0]), epoch=0).exp().round(decimals=4)
    tensor(8.)
    """
    counts = ClassCounts.of(counts)
    margin = scale * fourth_root_margin(counts, largest_margin)
    expert = Objective(Subtract(OnTarget(margin)), class_weights=deferred_reweighting(counts, start))
    return Plus(PerExpert(expert), Diversity(diversity, class_temperature(counts, temperature_span), FromEpoch(start)))
