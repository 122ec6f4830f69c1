"""What a stage is made of: what cannot be taken in pieces, and what is written down of it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from longtail import losses
from longtail.counts import ClassCounts
from longtail.errors import LongtailError
from longtail.samplers import instance, reversed_
from longtail.training.planning.settings import CIFAR
from longtail.training.recipes import RECIPES
from longtail.training.stage import Stage
from tiny_training import stage

COUNTS = [50, 5]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objective": losses.lade(COUNTS)}, "'test' looks at a batch as a whole"),
        ({"samplings": (instance(), reversed_())}, "'test' looks at a batch as a whole"),
        ({"batch_size": 7}, "A batch of 7 images cannot be taken in 4 pieces of at least 2"),
    ],
)
def test_what_cannot_be_taken_in_pieces_is_refused(changes: dict[str, object], sentence: str) -> None:
    stage(**changes)  # type: ignore[arg-type]
    with pytest.raises(LongtailError, match=sentence) as caught:
        stage(accumulate=4, **changes)  # type: ignore[arg-type]
    assert "--accumulate" in str(caught.value)


def test_a_stage_may_shrink_with_its_images_but_not_below_its_pieces() -> None:
    pieces = stage(batch_size=64, accumulate=8)
    assert replace(pieces, batch_size=16).accumulate == 8
    with pytest.raises(LongtailError, match="batch of 15 images"):
        replace(pieces, batch_size=15)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (partial(torch.optim.AdamW, weight_decay=0.05), "AdamW(weight_decay 0.05)"),
        (partial(torch.optim.SGD, momentum=0.9, nesterov=True), "SGD(momentum 0.9, nesterov 1)"),
        (torch.optim.RMSprop, "RMSprop"),
    ],
)
def test_the_description_is_json_and_tells_all_numbers(optimizer: object, said: str) -> None:
    told = stage(clip=1.5, accumulate=2, average=0.99, optimizer=optimizer).description()
    assert json.loads(json.dumps(told)) == told
    assert (told["clip"], told["accumulate"], told["average"], told["optimizer"]) == (1.5, 2, 0.99, said)


def test_every_stage_is_changed_and_edits_stay() -> None:
    recipe = RECIPES["pc_softmax"](ClassCounts((50, 5)), CIFAR)
    changed = recipe.with_stages(lambda stage: replace(stage, clip=1.0))
    assert [isinstance(step, Stage) for step in changed.steps] == [True, False]
    assert changed.steps[1] is recipe.steps[1]
    assert [stage.clip for stage in changed.stages] == [1.0]
