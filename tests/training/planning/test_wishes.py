"""What cannot be wished for, whatever the data are: a sentence each, with the option's name and the value."""

from __future__ import annotations

import math
from typing import Any

import pytest

from longtail.errors import LongtailError
from longtail.training.planning.wishes import Wishes, check_wishes

POSITIVE = ("lr", "clip", "backbone_lr")
GRANTED: list[Wishes] = [
    {},
    {"optimizer": "adamw", "weight_decay": 0.0, "lr": 1e-3, "schedule": "constant", "warm_up": 0},
    {"clip": 1.0, "accumulate": 1, "ema": 0.999, "backbone_lr": 0.1},
    {"checkpoint_every": 0, "sync_bn": True, "freeze": True},
    {"clip": None, "accumulate": None, "ema": None, "optimizer": None, "schedule": None, "warm_up": None},
]


@pytest.mark.parametrize("wishes", GRANTED)
def test_what_can_be_granted(wishes: Wishes) -> None:
    check_wishes(wishes)


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        *[
            (name, wrong, "positive number")
            for name in ("lr", "clip", "backbone_lr")
            for wrong in (0.0, -1.0, math.inf)
        ],
        *[(name, math.nan, "positive number") for name in ("lr", "clip", "backbone_lr")],
        *[(name, wrong, "at least 0") for name in ("weight_decay", "checkpoint_every") for wrong in (-1e-9, math.inf)],
        *[("ema", wrong, "between 0 and 1") for wrong in (0.0, 1.0, -0.5, 2.0, math.nan)],
        *[("accumulate", wrong, "whole number of at least 1") for wrong in (0, -2, 1.5)],
        *[("warm_up", wrong, "whole number of at least 0") for wrong in (-1, 0.5)],
        ("optimizer", "adam", "Unknown optimiser 'adam'; did you mean adamw"),
        ("schedule", "cosin", "Unknown schedule 'cosin'; did you mean cosine"),
        ("sampling", "cban", "Unknown sampling 'cban'; did you mean cben"),
        ("numbers", "papers", "Unknown source of numbers 'papers'; did you mean paper"),
        ("bad_images", "skip", "Unknown policy for bad images 'skip'"),
    ],
)
def test_what_cannot(name: str, wrong: Any, sentence: str) -> None:
    wishes: Any = {name: wrong}
    with pytest.raises(LongtailError, match=sentence) as caught:
        check_wishes(wishes)
    if not str(caught.value).startswith("Unknown"):
        assert "--" + name.replace("_", "-") in str(caught.value)
    assert str(wrong) in str(caught.value)


def test_a_frozen_backbone_has_no_rate() -> None:
    with pytest.raises(LongtailError, match="leave --backbone-lr away"):
        check_wishes({"freeze": True, "backbone_lr": 0.1})
