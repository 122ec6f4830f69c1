"""Heads that a second stage learns, and what is done to a trained classifier."""

from __future__ import annotations

import torch
from torch import Tensor

from golden_cases.case import Case
from golden_cases.heads import linear
from longtail.models.heads import CausalNorm, DisAlign, LearnableWeightScaling, NearestMean, TauNormalised
from longtail.priors import logit_shift


def classifier_rebalancing(case: Case) -> None:
    kinds = {
        "lws": lws,
        "tau_norm": tau_norm,
        "ncm": nearest_mean,
        "disalign": disalign,
        "causal_norm": causal_norm,
        "causal_embed": common_direction,
    }
    (check,) = (check for kind, check in kinds.items() if case.id.startswith(kind))
    check(case)


def posthoc_logit_adjustment(case: Case) -> None:
    """The code adds 1e-12 inside the logarithm."""
    target, classes = case.params.get("target_prior"), len(case.counts)
    shift = torch.tensor(logit_shift(case.counts, case.params.get("tau", 1.0), target))
    logits = case.input("logits").detach()
    case.agree(logits + shift, case.expected["adjusted_logits"], relative=1e-6)
    assert (logits + shift).argmax(1).tolist() == case.expected["prediction"]
    if "adjustment" in case.expected:
        case.agree(-shift, case.expected["adjustment"], relative=1e-6)
        assert shift.shape == (classes,)


def lws(case: Case) -> None:
    head = LearnableWeightScaling(linear(case))
    check_head(case, head, {"scales": head.scales})


def tau_norm(case: Case) -> None:
    base = linear(case)
    with torch.no_grad():
        base.bias.fill_(1.0)  # which the published script drops
    head = TauNormalised(base, case.params["tau"])
    case.agree(head.anchors(), case.expected["weight"])
    case.agree(head.logits(case.input("feature")), case.expected["logits"])


def nearest_mean(case: Case) -> None:
    params, inputs = case.params, case.raw["inputs"]
    features, labels = case.input("train_feature").detach(), torch.tensor(inputs["train_label"])
    head = NearestMean.of(features, labels, int(labels.max()) + 1, params["feat_type"], params["dist_type"])
    case.agree(head.means, case.expected["centroids"])
    if params["feat_type"] == "cl2n":
        case.agree(head.centre, case.expected["feature_mean"])
    query = case.input("query").detach()
    logits = head.logits(query)
    assert logits.argmax(1).tolist() == case.expected["prediction"]
    if params["dist_type"] == "l2":  # the code has the whole of -|q - m|^2, the head leaves out |q|^2
        logits = logits - head.queries(query).square().sum(1, keepdim=True)
    case.agree(logits, case.expected["logits"])


def disalign(case: Case) -> None:
    head = DisAlign(linear(case), form="code" if "cvpods" in case.id else "paper")
    names = ("logit_scale", "logit_bias", "confidence_weight", "confidence_bias")
    check_head(case, head, {name: getattr(head, name) for name in names})


def check_head(case: Case, head: LearnableWeightScaling | DisAlign, parameters: dict[str, Tensor]) -> None:
    """Logits with the given parameters, and the parameters' gradients for the given upstream gradient."""
    head.to(case.dtype)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(case.input(name))
    logits = head(case.input("feature"))
    case.agree(logits, case.expected["logits"])
    (logits * case.input("upstream").detach()).sum().backward()
    for name, expected in case.expected["grad"].items():
        gradient = parameters[name].grad
        assert gradient is not None
        case.agree(gradient, expected)


def causal_norm(case: Case) -> None:
    weight, params = case.input("weight_CxD").detach(), case.params
    classes, features = weight.shape
    numbers = {name: params[name] for name in ("tau", "gamma", "alpha")}
    head = CausalNorm(features, classes, parts=params["num_head"], **numbers).to(case.dtype)
    head.start_from(weight)
    head.direction.copy_(case.input("embed_mean").detach().reshape(-1))
    case.agree(head(case.input("feature")), case.expected["logits_train"])
    case.agree(head.logits(case.input("feature")), case.expected["logits_eval_tde"])


def common_direction(case: Case) -> None:
    batches = case.input("batches").detach()
    head = CausalNorm(batches.shape[-1], 2, momentum=case.params["mu"]).to(case.dtype)
    for batch, expected in zip(batches, case.expected["embed_after_each_batch"], strict=True):
        head.observe(batch)
        case.agree(head.direction, expected)
