"""Second stages: a trained classifier, its head made fair on frozen features, by gradient or in closed form.

Each function gives one step, for a recipe or for `longtail rebalance`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from torch import Tensor

from longtail import losses
from longtail.counts import ClassCounts
from longtail.errors import LongtailError
from longtail.losses import Criterion
from longtail.models.classifier import Classifier
from longtail.models.heads import (
    Cosine,
    DisAlign,
    Experts,
    Head,
    LearnableWeightScaling,
    Linear,
    NearestMean,
    Shifted,
    TauNormalised,
    around,
)
from longtail.priors import logit_shift
from longtail.samplers import Sampling, class_aware, instance
from longtail.schedules import CosineDecay
from longtail.training.evidence import Edited, Evidence
from longtail.training.planning.settings import Setting
from longtail.training.second_stage.choosing import choose
from longtail.training.stage import HEAD_ALONE, HeadEdit, Stage

TAUS = tuple(np.round(np.arange(0, 2.01, 0.1), 1).tolist())
"""What tau-normalisation and post-hoc adjustment choose from (Kang et al., ICLR 2020)."""
WARM_RATE = 0.002
"""Learning rate of a classifier that goes on (GCL's published code), unless it learnt at a smaller one."""


def crt(setting: Setting, objective: Criterion, sampling: Sampling, *, warm: bool = False, **changes: Any) -> Stage:
    """Classifier re-training: a head is trained anew on re-balanced images (cRT; Kang et al., ICLR 2020, section 4).

    Args:
        setting: how long, in what batches.
        objective: the loss; one that takes cosines gets a cosine head.
        sampling: of the images.
        warm: go on with the head as it is, at a small rate, as GCL's published code does.
        **changes: fields of `Stage`.
    """
    stage = _second_stage(setting, "classifier re-training", objective, sampling, HEAD_ALONE, **changes)
    if warm:
        return replace(stage, lr=min(WARM_RATE, setting.lr), begin=_with_its_head)
    scale = objective.score_scale if objective.takes_cosines else None
    return replace(stage, begin=partial(_with_fresh_head, scale=scale))


def lws(setting: Setting, objective: Criterion, sampling: Sampling, **changes: Any) -> Stage:
    """Learnable weight scaling: one factor per class is learnt, the head stays (LWS; Kang et al., ICLR 2020)."""
    return _second_stage(
        setting,
        "learnable weight scaling",
        objective,
        sampling,
        {"head.scales": 1.0},
        begin=partial(_with_head_around, kind=LearnableWeightScaling),
        **changes,
    )


def disalign(counts: ClassCounts, setting: Setting, *, rho: float = 1.2, **changes: Any) -> Stage:
    """DisAlign: a line per class, as far as a learnt confidence says, by generalised re-weighting (CVPR 2021).

    Args:
        counts: training images per class.
        setting: how long, in what batches.
        rho: exponent of the re-weighting; 1.2 for ImageNet-LT.
        **changes: fields of `Stage`.
    """
    learns = dict.fromkeys(
        ("head.logit_scale", "head.logit_bias", "head.confidence_weight", "head.confidence_bias"), 1.0
    )
    return _second_stage(
        setting,
        "distribution alignment",
        losses.generalised_reweighting(counts, rho),
        instance(),
        learns,
        begin=partial(_with_head_around, kind=DisAlign),
        **changes,
    )


def mislas(
    counts: ClassCounts,
    setting: Setting,
    *,
    objective: Criterion | None = None,
    smooth_head: float = 0.3,
    smooth_tail: float = 0.0,
    head_rate: float = 0.5,
    shift_batch_norm: bool = False,
    **changes: Any,
) -> Stage:
    """MiSLAS's second stage: label-aware smoothing, scales and classifier learn, batch norm may follow (CVPR 2021).

    Args:
        counts: training images per class.
        setting: how long, in what batches.
        objective: another loss in the place of label-aware smoothing.
        smooth_head: smoothing of the largest class.
        smooth_tail: smoothing of the smallest class.
        head_rate: the classifier's learning rate as a share of the scales'.
        shift_batch_norm: whether the frozen backbone's statistics move to the re-sampled images.
        **changes: fields of `Stage`.
    """
    return _second_stage(
        setting,
        "label-aware smoothing" if objective is None else "classifier and scales",
        objective or losses.label_aware_smoothing(counts, smooth_head, smooth_tail),
        class_aware(),
        {"head.base": head_rate, "head.scales": 1.0},
        begin=partial(_with_head_around, kind=LearnableWeightScaling),
        moves_batch_norm=shift_batch_norm,
        **changes,
    )


def tau_norm(tau: float | None = None) -> HeadEdit:
    """tau-normalisation: every class's weights divided by their length to the tau (Kang et al., ICLR 2020).

    Args:
        tau: 0 changes nothing but the bias, 1 makes all lengths equal; None chooses it on validation images.
    """

    def edit(head: Head, evidence: Evidence) -> Edited:
        return _edited_by_tau(tau, lambda tau: around(head, partial(TauNormalised, tau=tau)), evidence)

    return HeadEdit("tau-normalisation", edit)


def ncm(transform: Literal["cl2n", "l2n", "un"] = "cl2n") -> HeadEdit:
    """Nearest class mean: the class whose training features are nearest on average (NCM; Kang et al., ICLR 2020).

    Args:
        transform: of the features: "cl2n" centred and at length 1, "l2n" at length 1, "un" as they are.
    """

    def edit(head: Head, evidence: Evidence) -> Edited:
        classes = _of_one(head).classes
        return Edited(NearestMean.of(evidence.train.values, evidence.train.labels, classes, transform))

    return HeadEdit("nearest class mean", edit)


def posthoc(counts: ClassCounts, tau: float | None = None, *, by_theory: float = 1.0) -> HeadEdit:
    """Post-hoc logit adjustment, logits - tau log prior (Menon et al., ICLR 2021). With tau 1 it is PC softmax.

    Args:
        counts: training images per class, whose shares are the prior.
        tau: None chooses it on validation images.
        by_theory: tau where these are too few: 1, but 0 for a classifier that expects all classes alike already.
    """

    def edit(head: Head, evidence: Evidence) -> Edited:
        def adjusted(tau: float) -> Head:
            return Shifted(head, logit_shift(counts, tau))

        return _edited_by_tau(tau, adjusted, evidence, by_theory)

    return HeadEdit("post-hoc logit adjustment", edit)


def _edited_by_tau(
    tau: float | None, change: Callable[[float], Head], evidence: Evidence, by_theory: float = 1.0
) -> Edited:
    if tau is not None:
        return Edited(change(tau))
    choice = choose("tau", TAUS, by_theory, lambda tau, features: _logits(change(tau), features), evidence)
    return Edited(change(choice.value), str(choice), choice.record())


def _logits(head: Head, features: Tensor) -> Tensor:
    return head.to(features.device).logits(features)


def _second_stage(
    setting: Setting,
    name: str,
    objective: Criterion,
    sampling: Sampling,
    learns: Mapping[str, float],
    **changes: Any,
) -> Stage:
    stage = Stage(
        name=name,
        objective=objective,
        epochs=setting.retraining_epochs,
        batch_size=setting.batch_size,
        lr=setting.lr,
        lr_schedule=CosineDecay(setting.retraining_epochs),
        optimizer=setting.optimizer,
        samplings=(sampling,),
        augmentation=setting.augmentation,
        learns=learns,
    )
    return replace(stage, **changes)


def _with_its_head(classifier: Classifier) -> Classifier:
    _of_one(classifier.head)
    return classifier


def _with_fresh_head(classifier: Classifier, scale: float | None) -> Classifier:
    """A linear head, or a cosine head that predicts with the scale it is going to be trained with."""
    old = _of_one(classifier.head)
    head = Linear(old.features, old.classes) if scale is None else Cosine(old.features, old.classes, scale)
    return Classifier(classifier.backbone, head)


def _with_head_around(classifier: Classifier, kind: type[LearnableWeightScaling | DisAlign]) -> Classifier:
    return Classifier(classifier.backbone, kind(_of_one(classifier.head)))


def _of_one(head: Head) -> Head:
    if isinstance(head, Experts):
        raise LongtailError("Experts are re-balanced by tau-norm or posthoc; a second stage learns for one head only.")
    return head
