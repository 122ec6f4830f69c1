"""What no training step does: wait for the device (nothing is read from it, nothing has a shape that only it knows),
and compute in float64, which MPS lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from longtail.counts import ClassCounts
from longtail.draws import Key
from longtail.models.backbones import build_backbone, feature_size
from longtail.models.branches import branch
from longtail.models.classifier import Classifier
from longtail.training.planning.settings import DIGITS
from longtail.training.recipes import RECIPES
from longtail.training.stage import Stage
from tiny_training import Counting

COUNTS = ClassCounts((50, 40, 30, 20, 10, 9, 8, 7, 6, 5))
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal")
"""Operators whose result the processor has to look at: `.item()`, `.tolist()`, `if tensor`, and masks as indices."""


class Seen(TorchDispatchMode):
    """Counts the operators that a GPU would make the processor wait for, and those on float64 numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waiting: Counter[str] = Counter()
        self.float64: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, result = str(func).split(".")[1], func(*args, **(kwargs or {}))
        of_key = name == "_local_scalar_dense" and args[0].dtype == torch.int64  # of draws; it lies on the processor
        if (name in WAITING or name.startswith("_unique")) and not of_key:
            self.waiting[name] += 1
        leaves = tree_leaves((args, kwargs, result))
        if any(isinstance(leaf, Tensor) and leaf.dtype == torch.float64 for leaf in leaves):
            self.float64[name] += 1
        return result


def step(stage: Stage, classifier: Classifier, optimizer: torch.optim.Optimizer, number: int) -> None:
    """A step by gradient, without the loop around it."""
    place, rows = Key.of_seed(0).at("step", number), 8 * len(stage.samplings)
    images, targets = stage.mixed("images", torch.rand(rows, 3, 8, 8), torch.arange(rows) % 10, place, epoch=1)
    features, targets = stage.mixed("features", classifier.backbone(images), targets, place, epoch=1)
    scores = classifier.head(features)
    classifier.head.observe(features.detach())
    moment = stage.objective.moment(
        scores, targets, features=features, epoch=1, draws=place.draws(torch.arange(len(scores)))
    )
    stage.objective.observe(moment)
    stage.objective.total(scores, moment).mean().backward()
    torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
    optimizer.step()


def test_the_guard_sees_what_it_is_for() -> None:
    with Seen() as seen:
        numbers = torch.arange(4.0)
        assert (numbers > 2).nonzero().tolist() == [[3]]
        assert numbers.sum().item() == 6
        assert numbers.max() > 2
        numbers.double().sum()
    assert seen.waiting == {"nonzero": 1, "_local_scalar_dense": 2}
    assert seen.float64 == {"_to_copy": 1, "sum": 1}


@pytest.mark.parametrize("name", RECIPES)
def test_no_step_waits_or_needs_float64(name: str) -> None:
    recipe = RECIPES[name](COUNTS, DIGITS)
    backbone: nn.Module = Counting()
    if recipe.branching:
        backbone = branch(build_backbone("resnet32"), recipe.branching, trained=False)
    classifier = Classifier(backbone, recipe.head(feature_size(backbone), 10))
    for stage in recipe.stages:
        classifier = stage.begin(classifier)
        with Seen() as first:
            optimizer = stage.optimizer(stage.parameter_groups(classifier), lr=0.01)
            step(stage, classifier, optimizer, 0)  # which checks values, and may wait for them
        with Seen() as second:
            step(stage, classifier, optimizer, 1)
        assert not second.waiting
        assert not first.float64 + second.float64
