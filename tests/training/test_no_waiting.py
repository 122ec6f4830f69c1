"""No training step waits for the device: nothing is read from it, and nothing has a shape that only it knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from longtail.counts import ClassCounts
from longtail.draws import Key
from longtail.models.backbones import build_backbone, feature_size
from longtail.models.branches import branch
from longtail.models.classifier import Classifier
from longtail.training.planning.settings import DIGITS
from longtail.training.recipes import RECIPES
from longtail.training.stage import Stage

COUNTS = ClassCounts((50, 40, 30, 20, 10, 9, 8, 7, 6, 5))
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal")
"""Operators whose result the processor has to look at: `.item()`, `.tolist()`, `if tensor`, and masks as indices."""


class Waits(TorchDispatchMode):
    """Counts the operators that a GPU would make the processor wait for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = str(func).split(".")[1]
        of_key = name == "_local_scalar_dense" and args[0].dtype == torch.int64  # of draws; it lies on the processor
        if (name in WAITING or name.startswith("_unique")) and not of_key:
            self.operators[name] += 1
        return func(*args, **(kwargs or {}))


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


def test_the_guard_sees_waiting() -> None:
    with Waits() as seen:
        numbers = torch.arange(4.0)
        assert (numbers > 2).nonzero().tolist() == [[3]]
        assert numbers.sum().item() == 6
        assert numbers.max() > 2
    assert seen.operators == {"nonzero": 1, "_local_scalar_dense": 2}


@pytest.mark.parametrize("name", RECIPES)
def test_no_step_waits(name: str) -> None:
    recipe = RECIPES[name](COUNTS, DIGITS)
    backbone = build_backbone("resnet32")
    if recipe.branching:
        backbone = branch(backbone, recipe.branching, trained=False)
    classifier = Classifier(backbone, recipe.head(feature_size(backbone), 10))
    for stage in recipe.stages:
        classifier = stage.begin(classifier)
        optimizer = stage.optimizer(stage.parameter_groups(classifier), lr=0.01)
        step(stage, classifier, optimizer, 0)  # in the first, values are checked
        with Waits() as seen:
            step(stage, classifier, optimizer, 1)
        assert not seen.operators
