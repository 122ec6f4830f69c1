"""Losses with margins in logit units."""

from __future__ import annotations

import torch

from golden_cases.case import Case, Given
from golden_cases.reweighting import check
from longtail import losses
from longtail.losses.factors import OftenerSeen
from longtail.schedules import Constant


def logit_adjustment(case: Case) -> None:
    logits = case.input("logits")
    if case.variant == "balanced_softmax":
        criterion = losses.balanced_softmax(case.counts)
    else:
        criterion = losses.logit_adjustment(case.counts, case.params.get("tau", 1.0))
    # The codes add 1e-12 or 1e-9 inside the logarithm.
    relative = 1e-4 if case.variant == "lade_prior_ce" and len(case.counts) == 1000 else 1e-6
    case.agree_loss(criterion(logits, case.labels), {"logits": logits}, relative)


def equalization(case: Case) -> None:
    rare_below = case.params["lambda"]
    if case.variant.startswith("sigmoid"):
        return check(case, losses.equalization_sigmoid(case.counts, rare_below))
    logits = case.input("logits")
    criterion = losses.equalization(case.counts, case.params["gamma"], rare_below)
    loss = criterion(logits, case.labels, draws=Given(case.drawn("u")))
    return case.agree_loss(loss, {"logits": logits})


def seesaw(case: Case) -> None:
    params = case.params
    criterion = losses.seesaw(case.counts, params["p"], params["q"], params["eps"])
    before = {"class_counts": case.counts.per_class, "zeros": (0,) * len(case.counts)}
    (seen,) = (part.seen for part in criterion.modules() if isinstance(part, OftenerSeen))
    seen.copy_(torch.tensor(before[params["cum_samples_before"]]))
    check(case, criterion)


def lade(case: Case) -> None:
    logits, params = case.input("logits"), case.params
    criterion = losses.lade(case.counts, params["alpha"], params["remine_lambda"])
    loss = criterion(logits, case.labels)
    if not params["include_prior_ce"]:
        loss = loss - losses.logit_adjustment(case.counts)(logits, case.labels)
    case.agree_loss(loss, {"logits": logits}, relative=1e-4)  # the code adds 1e-9 inside the logarithms


def fbl(case: Case) -> None:
    logits, feature, params = case.input("logits"), case.input("feature"), case.params
    normalised = "lambda_" in params
    strength = params["lambda_"] * params["curr"] if normalised else params["alpha"]
    criterion = losses.fbl(case.counts, Constant(strength), relative_rarity=normalised)
    loss = criterion(logits, case.labels, features=feature, epoch=0)
    case.agree_loss(loss, {"logits": logits, "feature": feature})
