"""Losses of several experts."""

from __future__ import annotations

from golden_cases.case import Case
from longtail import losses


def ride(case: Case) -> None:
    params = case.params
    expert_logits = case.input("expert_logits")  # (M, B, C)
    criterion = losses.ride(
        case.counts,
        params["additional_diversity_factor"],
        largest_margin=params["max_m"],
        scale=params["s"],
        temperature_span=params["reweight_factor"],
        start=params["reweight_epoch"],  # the published epoch counts from 1 and has to exceed it
    )
    loss = criterion(expert_logits.transpose(0, 1), case.labels, epoch=params["epoch"] - 1)
    case.agree_loss(loss, {"expert_logits": expert_logits})
