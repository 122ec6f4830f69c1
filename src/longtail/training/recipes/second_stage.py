"""Recipes in two steps: a network trained by cross-entropy, then a fair head on its frozen features."""

from __future__ import annotations

from longtail import losses
from longtail.counts import ClassCounts
from longtail.data.mixing import mixup
from longtail.samplers import class_aware
from longtail.training.planning.settings import Setting
from longtail.training.recipes.baselines import ce, ce_mixup
from longtail.training.second_stage import rebalance
from longtail.training.stage import Recipe, Step


def ce_mixup_crt(counts: ClassCounts, setting: Setting) -> Recipe:
    """Cross-entropy with mixup, then a new classifier on re-balanced images, without mixup (thesis Table 5.3)."""
    return _then(ce_mixup(counts, setting), rebalance.crt(setting, losses.cross_entropy(), class_aware()))


def decoupling(counts: ClassCounts, setting: Setting) -> Recipe:
    """Decoupling by cRT: cross-entropy, then a new classifier on class-aware images (Kang et al., ICLR 2020)."""
    return _then(ce(counts, setting), rebalance.crt(setting, losses.cross_entropy(), class_aware()))


def decoupling_lws(counts: ClassCounts, setting: Setting) -> Recipe:
    """Decoupling by LWS: cross-entropy, then a factor per class is learnt (Kang et al., ICLR 2020)."""
    return _then(ce(counts, setting), rebalance.lws(setting, losses.cross_entropy(), class_aware()))


def decoupling_tau_norm(counts: ClassCounts, setting: Setting, *, tau: float | None = None) -> Recipe:
    """Decoupling by tau-normalisation of cross-entropy's classifier (Kang et al., ICLR 2020).

    tau is chosen on validation images, and is 1 where there are too few of them.
    """
    return _then(ce(counts, setting), rebalance.tau_norm(tau))


def decoupling_ncm(counts: ClassCounts, setting: Setting) -> Recipe:
    """Decoupling by the nearest class mean of cross-entropy's features, centred and at length 1 (ICLR 2020)."""
    return _then(ce(counts, setting), rebalance.ncm())


def posthoc(counts: ClassCounts, setting: Setting, *, tau: float | None = None) -> Recipe:
    """Cross-entropy, then post-hoc logit adjustment (Menon et al., ICLR 2021).

    tau is chosen on validation images, and is 1 where there are too few of them.
    """
    return _then(ce(counts, setting), rebalance.posthoc(counts, tau))


def disalign(counts: ClassCounts, setting: Setting, *, rho: float = 1.2) -> Recipe:
    """DisAlign: cross-entropy, then the scores moved by a learnt line per class (Zhang et al., CVPR 2021)."""
    return _then(ce(counts, setting), rebalance.disalign(counts, setting, rho=rho))


def mislas(
    counts: ClassCounts,
    setting: Setting,
    *,
    smooth_head: float = 0.3,
    smooth_tail: float = 0.0,
    head_rate: float = 0.5,
    shift_batch_norm: bool = False,
) -> Recipe:
    """MiSLAS: mixup, then label-aware smoothing, learnable scales and shifted batch norm (Zhong et al., CVPR 2021)."""
    second = rebalance.mislas(
        counts,
        setting,
        smooth_head=smooth_head,
        smooth_tail=smooth_tail,
        head_rate=head_rate,
        shift_batch_norm=shift_batch_norm,
    )
    return _then(ce_mixup(counts, setting), second)


def kps_mislas(
    counts: ClassCounts,
    setting: Setting,
    *,
    largest_margin: float = 0.5,
    scale: float = 15.0,
    shift_batch_norm: bool = False,
) -> Recipe:
    """MiSLAS with KPS in its second stage (thesis Table 3.6): mixup first, then a new cosine classifier with KPS.

    The images of the second stage are class-aware as in MiSLAS, its batch norm moves as there; KPS needs a cosine head,
    so the classifier begins anew and its scales are those of the loss.
    """
    second = rebalance.crt(
        setting,
        losses.kps(counts, largest_margin, scale),
        class_aware(),
        moves_batch_norm=shift_batch_norm,
        mixing=mixup(setting.retraining_mixup) if setting.retraining_mixup else None,
    )
    return _then(ce_mixup(counts, setting), second)


def _then(first: Recipe, *steps: Step) -> Recipe:
    return Recipe(first.head, (*first.steps, *steps))


RECIPES = (
    ce_mixup_crt,
    decoupling,
    decoupling_lws,
    decoupling_tau_norm,
    decoupling_ncm,
    posthoc,
    disalign,
    mislas,
    kps_mislas,
)
