"""Schedules of the learning rate against torch's own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR

from longtail.training.planning.decays import DECAYS, Decay, HalfCosine, Level, StepsAt

EPOCHS = 40


def rates_of(decay: Decay) -> list[float]:
    return [decay(EPOCHS).at(epoch) for epoch in range(EPOCHS)]


def rates_by_torch(schedule: partial[LRScheduler]) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler, rates = schedule(optimizer), []
    for _ in range(EPOCHS):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("decay", "by_torch"),
    [
        (HalfCosine(), partial(CosineAnnealingLR, T_max=EPOCHS)),
        (StepsAt((0.5, 0.75), 0.1, warm_up=0.0), partial(MultiStepLR, milestones=[20, 30], gamma=0.1)),
        (Level(), partial(LambdaLR, lr_lambda=lambda epoch: 1.0)),
        (Level(warm_up=0.25), partial(LambdaLR, lr_lambda=lambda epoch: min(1, (epoch + 1) / 10))),
    ],
    ids=repr,
)
def test_rates_are_those_of_torch(decay: Decay, by_torch: partial[LRScheduler]) -> None:
    assert rates_of(decay) == pytest.approx(rates_by_torch(by_torch))


@pytest.mark.parametrize("name", DECAYS)
def test_after_the_warm_up_a_rate_is_what_it_was_without(name: str) -> None:
    cold, warm = replace(DECAYS[name], warm_up=0.0), replace(DECAYS[name], warm_up=0.1)
    shares = [one / other for one, other in zip(rates_of(warm), rates_of(cold), strict=True)]
    assert shares == pytest.approx([0.25, 0.5, 0.75] + [1.0] * (EPOCHS - 3))
