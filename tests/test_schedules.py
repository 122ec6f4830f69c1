"""Schedules at their corners; the published curves are golden values."""

from __future__ import annotations

import math

import pytest
import torch

from longtail.schedules import (
    Constant,
    Cosine,
    CosineDecay,
    Deferred,
    Falling,
    FromEpoch,
    Linear,
    MultiStep,
    Parabolic,
    Schedule,
    Sine,
    WarmUp,
)

RISING = [Linear(10, 3), Sine(10, 3), Cosine(10, 3), Parabolic(10, 3)]
EVERY = [*RISING, Constant(2), FromEpoch(4), Falling(10), MultiStep((4, 8)), CosineDecay(10), WarmUp(5, Constant())]


@pytest.mark.parametrize("schedule", RISING, ids=repr)
def test_curricula_rise_from_nothing_to_their_peak(schedule: Schedule) -> None:
    strengths = [schedule.at(epoch) for epoch in range(11)]
    assert strengths[0] == 0
    assert strengths[-1] == pytest.approx(3)
    assert strengths == sorted(strengths)


def test_fractions_of_an_epoch() -> None:
    assert Linear(10).at(2.5) == 0.25
    assert Sine(3).at(1) == pytest.approx(0.5)
    assert Cosine(3).at(2) == pytest.approx(0.5)
    assert FromEpoch(4).at(3.999) == 0
    assert WarmUp(5, Constant()).at(1.5) == pytest.approx(0.5)


def test_deferred_begins_anew() -> None:
    schedule = Deferred(6, Parabolic(2))
    assert [schedule.at(epoch) for epoch in (0, 5, 6, 7, 8)] == [0, 0, 0, 0.25, 1]


def test_learning_rates() -> None:
    steps = [MultiStep((2, 4), 0.5).at(epoch) for epoch in range(6)]
    assert steps == [1, 1, 0.5, 0.5, 0.25, 0.25]
    decay = [CosineDecay(4, floor=0.2).at(epoch) for epoch in (0, 2, 4)]
    assert decay == pytest.approx([1, 0.6, 0.2])
    assert WarmUp(4, CosineDecay(8)).at(1) == pytest.approx(0.5 * (1 + math.cos(math.pi / 8)) / 2)


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_tensors_stay_what_they_are(schedule: Schedule) -> None:
    for dtype in (torch.float32, torch.float64):
        strength = schedule(torch.tensor(3.0, dtype=dtype))
        assert strength.shape == ()
        assert strength.dtype == dtype
        assert float(strength) == pytest.approx(schedule.at(3), rel=1e-6)
