"""How each file of golden values is run against the library: file name without suffix -> function of one case."""

from collections.abc import Callable

from golden_cases import (
    clouds,
    cosines,
    degenerate,
    experts,
    heads,
    logits,
    mixing,
    reweighting,
    second_stage,
    vectors,
)
from golden_cases.case import Case

RUNNERS: dict[str, Callable[[Case], None]] = {
    "ala": cosines.ala,
    "balanced_softmax_logit_adjustment": logits.logit_adjustment,
    "bbn": experts.bbn,
    "class_balanced": reweighting.class_balanced,
    "class_counts": vectors.class_counts,
    "class_weights_and_margins": vectors.class_weights_and_margins,
    "classifier_rebalancing": second_stage.classifier_rebalancing,
    "cosface_arcface": cosines.cosface_arcface,
    "cosine_head": heads.cosine_head,
    "cross_entropy": reweighting.cross_entropy,
    "degenerate_equal_counts": degenerate.equal_counts,
    "end_to_end_heads": heads.end_to_end,
    "equalization": logits.equalization,
    "fbl": logits.fbl,
    "focal": reweighting.focal,
    "gcl": clouds.gcl,
    "gcl_angular": clouds.gcl_angular,
    "generalized_reweight": reweighting.generalised,
    "kps": cosines.kps,
    "label_aware_smoothing": reweighting.label_aware_smoothing,
    "lade": logits.lade,
    "ldam": cosines.ldam,
    "mixup": mixing.mixup,
    "posthoc_logit_adjustment": second_stage.posthoc_logit_adjustment,
    "ride": experts.ride,
    "samplers": vectors.sampling,
    "schedules": vectors.schedules,
    "seesaw": logits.seesaw,
}
