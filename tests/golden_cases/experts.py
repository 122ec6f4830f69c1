"""Losses and mixing of several experts or branches."""

from __future__ import annotations

import torch

from golden_cases.case import Case
from golden_cases.heads import linear
from longtail import losses
from longtail.data.mixing import cumulative
from longtail.draws import Key


def ride(case: Case) -> None:
    params = case.params
    expert_logits = case.input("expert_logits")  # (M, B, C), of heads that scale their cosines themselves
    start = params["reweight_epoch"]  # the published epoch counts from 1 and has to exceed it
    expert = losses.ldam(
        case.counts,
        params["max_m"],
        params["s"],
        class_weights=losses.deferred_reweighting(case.counts, start),
    )
    criterion = losses.ride(
        case.counts,
        params["additional_diversity_factor"],
        expert=expert,
        temperature_span=params["reweight_factor"],
        start=start,
    )
    cosines = expert_logits.transpose(0, 1) / params["s"]
    loss = criterion(cosines, case.labels, epoch=params["epoch"] - 1)
    case.agree_loss(loss, {"expert_logits": expert_logits})


def bbn(case: Case) -> None:
    branches = [case.input(f"feature_{name}") for name in ("conventional", "rebalancing")]
    targets = [torch.tensor(case.raw["targets"][name]) for name in ("conventional", "rebalancing")]
    epoch = case.params["epoch_1_based"] - 1
    features, mixed = cumulative(case.params["max_epoch"]).mix(
        torch.cat(branches, dim=1), torch.cat(targets), Key.of_seed(0), epoch
    )
    case.agree(mixed.share, case.params["l"])
    head = linear(case, "weight_Cx2D")
    case.agree_loss(
        losses.cross_entropy()(head(features), mixed),
        {"feature_conventional": branches[0], "feature_rebalancing": branches[1], "weight_Cx2D": head.weight},
    )
