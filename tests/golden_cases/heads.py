"""Heads, and losses behind them."""

from __future__ import annotations

import torch
from torch import Tensor

from golden_cases.case import Case
from golden_cases.clouds import noise
from golden_cases.cosines import published_kps
from longtail import losses
from longtail.losses import Criterion
from longtail.models.heads import Cosine, Linear
from longtail.schedules import Constant


def cosine_head(case: Case) -> None:
    feature, head = case.input("feature"), cosine(case.input("weight_DxC"))
    scores = head(feature)
    case.agree(scores, case.expected["cosine"])
    (scores * torch.tensor(case.raw["inputs"]["upstream"], dtype=case.dtype)).sum().backward()
    gradients = {"feature": feature.grad, "weight_DxC": head.weight.grad}
    for name, expected in case.expected["grad"].items():
        if isinstance(expected, str):  # says nothing: 1e12 at a zero feature in the code
            continue
        gradient = gradients[name]
        assert gradient is not None
        case.agree(gradient.T if name == "weight_DxC" else gradient, expected)


def end_to_end(case: Case) -> None:
    feature = case.input("feature")
    head = cosine(case.input("weight_DxC")) if "weight_DxC" in case.raw["inputs"] else linear(case)
    draws = noise(case, "noise") if "random" in case.raw else None
    loss = criterion(case)(head(feature), case.labels, features=feature, epoch=0, draws=draws)
    case.agree(loss, case.expected["loss"])
    loss.backward()
    found = {"feature": feature.grad, **{name: parameter.grad for name, parameter in head.named_parameters()}}
    for name, expected in case.expected["grad"].items():
        gradient = found[name.split("_")[0]]
        assert gradient is not None
        case.agree(gradient.T if name == "weight_DxC" else gradient, expected)


def criterion(case: Case) -> Criterion:
    counts, params = case.counts, case.params
    if case.variant == "ldam":
        return losses.ldam(counts, params["max_m"], params["s"])
    if case.variant == "gcl":
        return losses.gcl(counts, params["s"], amplitude=params["noise_mul"], target_margin=params["m"])
    if case.variant == "ala_log2":
        return losses.ala(counts, params["s"])
    if case.variant == "fbl":
        return losses.fbl(counts, Constant(params["lambda_"] * params["curr"]))
    return published_kps(case)


def cosine(weight: Tensor) -> Cosine:
    """A cosine head with the given weight (D, C)."""
    features, classes = weight.shape
    head = Cosine(features, classes).to(weight.dtype)
    head.start_from(weight.detach().T)
    return head


def linear(case: Case, name: str = "weight_CxD") -> Linear:
    """A linear head with the case's weight (C, D) and, if it has one, its bias."""
    weight = case.input(name).detach()
    classes, features = weight.shape
    head = Linear(features, classes).to(weight.dtype)
    head.start_from(weight)
    if "bias" in case.raw["inputs"]:
        with torch.no_grad():
            head.bias.copy_(case.input("bias"))
    return head
