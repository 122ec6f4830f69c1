"""Recipes on a cosine head: margins, clouds and key points, with GCL's second stage where the paper has one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from longtail import losses
from longtail.counts import ClassCounts
from longtail.data.mixing import mixup
from longtail.losses import Criterion
from longtail.losses.rotation import only_acute
from longtail.samplers import Sampling, cben
from longtail.training.planning.settings import Setting
from longtail.training.recipes.parts import DEFERRED, cosine, first_stage, mixed_first_stage
from longtail.training.second_stage.rebalance import crt
from longtail.training.stage import Recipe, Stage


def cosface(counts: ClassCounts, setting: Setting, *, margin: float = 0.35, scale: float = 64.0) -> Recipe:
    """CosFace, additive cosine margin (Wang et al., CVPR 2018). The thesis does not give the numbers it used."""
    return cosine(scale, first_stage(setting, losses.cosface(counts, margin, scale)), balanced=False)


def arcface(counts: ClassCounts, setting: Setting, *, margin: float = 0.5, scale: float = 64.0) -> Recipe:
    """ArcFace, additive angular margin (Deng et al., CVPR 2019). The thesis does not give the numbers it used."""
    return cosine(scale, first_stage(setting, losses.arcface(counts, margin, scale)), balanced=False)


def ldam_drw(counts: ClassCounts, setting: Setting, *, largest_margin: float = 0.5, scale: float = 30.0) -> Recipe:
    """LDAM with deferred re-weighting from 0.8 of the epochs on (Cao et al., NeurIPS 2019)."""
    weights = losses.deferred_reweighting(counts, DEFERRED * setting.epochs)
    return cosine(scale, first_stage(setting, losses.ldam(counts, largest_margin, scale, class_weights=weights)))


def gcl(
    counts: ClassCounts,
    setting: Setting,
    *,
    amplitude: float = 1.0,
    retraining_scale: float = 20.0,
    retraining_amplitude: float = 0.5,
    retraining_sampling: Sampling | None = None,
) -> Recipe:
    """Gaussian clouded logits, then classifier re-training with CBEN sampling.

    Li, Cheung and Lu, "Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment", CVPR 2022, Algorithm 1.

    Stage one trains the whole network with the GCL loss (scale 30) on a cosine head, with mixup, every image once an
    epoch. Stage two keeps the backbone and goes on with the classifier, on images sampled by class-based effective
    numbers (CBEN, equations 13 and 14). How long it is, and whether it mixes, follows from the images.

    Where the paper is silent on stage two, its published code speaks: the classifier starts from stage one, learning
    rate 0.002 by half a cosine, scale 20, amplitude 0.5, target margin 0.1, focal factor 1, mixup. `--numbers code`
    takes the code's stage one too: amplitude 0.5, batches of 64, class-balanced sampling in stage two. Its length on
    CIFAR, 30 epochs after 200, is the code's as well; thesis Table 5.1 says 10.
    """
    second = gcl_loss_of_stage_two(counts, retraining_scale, retraining_amplitude)
    return cosine(
        30.0,
        mixed_first_stage(setting, losses.gcl(counts, amplitude=amplitude)),
        gcl_second_stage(setting, second, retraining_sampling),
    )


def gcl_angular(
    counts: ClassCounts,
    setting: Setting,
    *,
    amplitude: float = 0.5,
    target_margin: float = 0.0,
    retraining_scale: float = 30.0,
    retraining_sampling: Sampling | None = None,
) -> Recipe:
    """GCL-A: Gaussian clouds on the angle, then classifier re-training with CBEN (Li, Cheung and Lu, TAI 2024).

    Numbers are those of the only published script, for Places-LT: amplitude 0.5, no target margin, and no cloud where
    the cosine is not positive (the easy margin).
    """
    loss = partial(losses.gcl_angular, counts, amplitude=amplitude, target_margin=target_margin, beyond=only_acute)
    second = loss(retraining_scale, focus=losses.Focus(1.0, detached=True))
    return cosine(30.0, mixed_first_stage(setting, loss()), gcl_second_stage(setting, second, retraining_sampling))


def gcl_loss_of_stage_two(counts: ClassCounts, scale: float = 20.0, amplitude: float = 0.5) -> Criterion:
    """GCL's loss for the classifier alone, as its published code has it."""
    focus = losses.Focus(1.0, detached=True)
    return losses.gcl(counts, scale=scale, amplitude=amplitude, target_margin=0.1, focus=focus)


def gcl_second_stage(setting: Setting, objective: Criterion, sampling: Sampling | None) -> Stage:
    """The classifier goes on, on images sampled by CBEN; mixed as the setting says."""
    mixing = mixup(setting.retraining_mixup) if setting.retraining_mixup else None
    return crt(setting, objective, sampling or cben(), warm=True, mixing=mixing)


def kps(counts: ClassCounts, setting: Setting, *, largest_margin: float = 0.5, scale: float = 15.0) -> Recipe:
    """Key-point-sensitive loss without gradient adjustment (Li et al., TPAMI 2022; thesis equation 3.16)."""
    return cosine(scale, first_stage(setting, losses.kps(counts, largest_margin, scale)))


def kps_drw(counts: ClassCounts, setting: Setting, *, largest_margin: float = 0.5, scale: float = 15.0) -> Recipe:
    """KPS with deferred re-weighting in the place of gradient adjustment (thesis Table 3.4)."""
    weights = losses.deferred_reweighting(counts, DEFERRED * setting.epochs)
    return cosine(scale, first_stage(setting, losses.kps(counts, largest_margin, scale, class_weights=weights)))


def kps_ga(
    counts: ClassCounts,
    setting: Setting,
    *,
    largest_margin: float = 0.5,
    scale: float = 15.0,
    adjust_from: float = 0.6,
    largest_scale: float | None = None,
) -> Recipe:
    """KPS with gradient adjustment (Li et al., TPAMI 2022; thesis equation 3.26).

    The adjustment begins at `adjust_from` of the epochs, 120 of 200 in the published code; the thesis says "when
    converged to a certain extent".
    """
    start = adjust_from * setting.epochs
    objective = losses.kps(counts, largest_margin, scale, adjust_from=start, largest_scale=largest_scale)
    return cosine(scale, first_stage(setting, objective))


def kps_mixup(
    counts: ClassCounts,
    setting: Setting,
    *,
    largest_margin: float = 0.5,
    scale: float = 15.0,
    adjust_from: float = 0.6,
    largest_scale: float | None = None,
) -> Recipe:
    """KPS with gradient adjustment and mixup (thesis Table 3.5)."""
    recipe = kps_ga(
        counts,
        setting,
        largest_margin=largest_margin,
        scale=scale,
        adjust_from=adjust_from,
        largest_scale=largest_scale,
    )
    return replace(recipe, steps=tuple(replace(stage, mixing=mixup(setting.mixup)) for stage in recipe.stages))


def ala(counts: ClassCounts, setting: Setting, *, scale: float = 30.0, base: float = 2.0) -> Recipe:
    """Adaptive logit adjustment with deferred re-weighting (Zhao et al., AAAI 2022).

    "The same training strategies as LDAM", says the paper, and leaves the base of its logarithm open: 2 here, as in
    the only public code.
    """
    weights = losses.deferred_reweighting(counts, DEFERRED * setting.epochs)
    return cosine(scale, first_stage(setting, losses.ala(counts, scale, base=base, class_weights=weights)))


RECIPES = (cosface, arcface, ldam_drw, gcl, gcl_angular, kps, kps_drw, kps_ga, kps_mixup, ala)
