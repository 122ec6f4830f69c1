"""Recipes that change the network or what it sees: two branches, experts, a head that takes away what all share."""

from __future__ import annotations

from functools import partial

from longtail import losses
from longtail.counts import ClassCounts
from longtail.data.mixing import cumulative
from longtail.models.branches import BILATERAL, EXPERTS
from longtail.models.heads import CausalNorm, Cosine, Experts, Head, Linear
from longtail.samplers import instance, reversed_
from longtail.training.planning.settings import Setting
from longtail.training.recipes.parts import DEFERRED, first_stage, mixed_first_stage
from longtail.training.stage import Recipe


def bbn(counts: ClassCounts, setting: Setting) -> Recipe:
    """BBN: two branches on a shared trunk, two samplings, mixed from one to the other (Zhou et al., CVPR 2020).

    A batch has images as they come and as many by reversed frequency. The trunk sees them as one, each half has its
    branch, and features and loss move from the first half to the second over the epochs (cumulative learning).
    """
    stage = first_stage(
        setting,
        losses.cross_entropy(),
        samplings=(instance(), reversed_()),
        mixing=cumulative(setting.epochs),
    )
    return Recipe(Linear, (stage,), branching=BILATERAL)


def tde(
    counts: ClassCounts, setting: Setting, *, alpha: float = 1.5, momentum: float = 0.9, tau: float = 16.0
) -> Recipe:
    """Causal norm with TDE: cross-entropy, and what all images share is taken away at inference (NeurIPS 2020).

    Tang, Huang and Zhang; alpha is 1 on CIFAR-10, 1.5 on CIFAR-100, 3 on larger sets.
    """
    head = partial(CausalNorm, alpha=alpha, momentum=momentum, tau=tau)
    return Recipe(head, (first_stage(setting, losses.cross_entropy()),))


def ride(counts: ClassCounts, setting: Setting, *, diversity: float = -0.2, temperature_span: float = 0.05) -> Recipe:
    """RIDE: three experts with LDAM-DRW each, driven apart on rare classes (Wang et al., ICLR 2021).

    The experts share the early layers; those of ResNet-32 have three quarters of its later width. The routing and
    distillation stages of the paper are left out.
    """
    start = DEFERRED * setting.epochs
    objective = losses.ride(counts, diversity, temperature_span=temperature_span, start=start)
    return Recipe(_three_cosines, (first_stage(setting, objective),), branching=EXPERTS)


def gcl_ride(
    counts: ClassCounts,
    setting: Setting,
    *,
    amplitude: float = 1.0,
    diversity: float = -0.2,
    temperature_span: float = 0.05,
) -> Recipe:
    """RIDE's three experts with the GCL loss each, with mixup, as the extended GCL paper (TAI 2024) combines them."""
    objective = losses.ride(
        counts,
        diversity,
        expert=losses.gcl(counts, amplitude=amplitude),
        temperature_span=temperature_span,
        start=DEFERRED * setting.epochs,
    )
    return Recipe(_three_cosines, (mixed_first_stage(setting, objective),), branching=EXPERTS)


def _three_cosines(features: int, classes: int) -> Head:
    return Experts([Cosine(features, classes) for _ in range(EXPERTS.branches)])


RECIPES = (bbn, tde, ride, gcl_ride)
