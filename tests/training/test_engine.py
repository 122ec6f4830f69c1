"""The engine of a run: the same again from what was written down, and nothing that a device has not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from longtail.counts import ClassCounts
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.models.backbones import build_backbone, feature_size
from longtail.models.branches import branch
from longtail.models.classifier import Classifier
from longtail.training.engine import Engine, choose_engine
from longtail.training.planning.settings import DIGITS
from longtail.training.recipes import RECIPES
from longtail.training.stage import Stage
from tiny_training import FLOAT32


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_engine_comes_back_from_json(precision: torch.dtype, threads: int) -> None:
    engine = Engine(torch.device("cpu"), precision, "for a test", threads)
    again = Engine.of(json.loads(json.dumps(engine.description())))
    assert again == engine
    assert again.describe() == engine.describe()


def test_the_number_of_threads_is_written_down_where_nobody_chose_it() -> None:
    assert FLOAT32.threads is None
    with replace(FLOAT32, threads=3).running():
        description = FLOAT32.description()
        assert description["threads"] == 3
    with Engine.of(description).running():
        assert torch.get_num_threads() == 3


def test_small_batches_take_one_thread_and_say_why() -> None:
    engine = choose_engine("cpu")
    small, large = engine.for_batches_of(32 * 8 * 8), engine.for_batches_of(128 * 32 * 32)
    assert (small.threads, large.threads) == (1, engine.threads)
    assert "one thread, the batches are small" in small.describe()
    assert Engine.of(small.description()) == small


def test_what_ran_elsewhere_does_not_go_on_here() -> None:
    with pytest.raises(LongtailError, match="runs on the device 'cuda:63', which is not here"):
        Engine.of({**FLOAT32.description(), "device": "cuda:63"})


class Float64Seen(TorchDispatchMode):
    """Counts the operators on float64 numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        if any(isinstance(leaf, Tensor) and leaf.dtype == torch.float64 for leaf in leaves):
            self.operators[str(func)] += 1
        return result


def take_step(stage: Stage, classifier: Classifier) -> None:
    """A step by gradient, without the loop around it."""
    optimizer = stage.optimizer(stage.parameter_groups(classifier), lr=0.01)
    place, rows = Key.of_seed(0), 8 * len(stage.samplings)
    images, targets = stage.mixed("images", torch.rand(rows, 3, 8, 8), torch.arange(rows) % 10, place, epoch=1)
    features, targets = stage.mixed("features", classifier.backbone(images), targets, place, epoch=1)
    scores = classifier.head(features)
    classifier.head.observe(features.detach())
    draws = place.draws(torch.arange(len(scores)))
    stage.objective(scores, targets, features=features, epoch=1, draws=draws).backward()
    torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
    optimizer.step()


def test_the_guard_sees_float64() -> None:
    with Float64Seen() as seen:
        torch.ones(2).double().sum()
    assert seen.operators


@pytest.mark.parametrize("name", RECIPES)
def test_no_step_needs_float64(name: str) -> None:
    """MPS has none."""
    recipe = RECIPES[name](ClassCounts((50, 40, 30, 20, 10, 9, 8, 7, 6, 5)), DIGITS)
    backbone = build_backbone("resnet32", None)
    if recipe.branching:
        backbone = branch(backbone, recipe.branching, trained=False)
    classifier = Classifier(backbone, recipe.head(feature_size(backbone), 10))
    for stage in recipe.stages:
        classifier = stage.begin(classifier)
        with Float64Seen() as seen:
            take_step(stage, classifier)
        assert not seen.operators


def test_a_precision_that_was_asked_for_holds() -> None:
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        engine = choose_engine("cpu", name)  # type: ignore[arg-type]
        assert engine.precision is dtype
        assert engine.reason == "as asked"
        with engine.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is dtype
