"""A stage takes a classifier and returns it trained; a recipe is a head and the stages it goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from longtail.data.augment import Augmentation
from longtail.data.mixing import Mixing
from longtail.losses.criterion import Criterion
from longtail.models.classifier import Classifier
from longtail.models.heads import Head
from longtail.samplers import Sampling, instance
from longtail.schedules import Constant, Schedule

OptimizerFunction = Callable[..., torch.optim.Optimizer]  # (parameter groups, lr) -> optimizer
SGD: OptimizerFunction = partial(torch.optim.SGD, momentum=0.9, weight_decay=2e-4)
WHOLE_NETWORK: Mapping[str, float] = {"backbone": 1.0, "head": 1.0}
HEAD_ALONE: Mapping[str, float] = {"head": 1.0}


def unchanged(classifier: Classifier) -> Classifier:
    """The beginning of a stage that goes on with the classifier as it is."""
    return classifier


@dataclass(frozen=True)
class Stage:
    """Training by gradient: which loss, on which images, for how long, and which parts learn."""

    name: str
    objective: Criterion
    epochs: int
    batch_size: int
    lr: float  # of the first epoch after warm-up
    lr_schedule: Schedule = field(default_factory=Constant)  # epoch -> share of `lr`
    optimizer: OptimizerFunction = SGD
    sampling: Sampling = field(default_factory=instance)
    mixing: Mixing | None = None
    augmentation: Augmentation | None = None
    learns: Mapping[str, float] = field(default_factory=lambda: WHOLE_NETWORK)
    """Module or parameter of the classifier, by its path -> factor on the learning rate; the rest is frozen."""
    begin: Callable[[Classifier], Classifier] = unchanged
    """What happens to the structure before the first step: a fresh head, learnable scales."""

    def parameter_groups(self, classifier: Classifier) -> list[dict[str, Any]]:
        """The optimizer's groups, one for each path of `learns`; gradients of all other parameters are off."""
        groups: dict[str, list[nn.Parameter]] = {path: [] for path in self.learns}
        for name, parameter in classifier.named_parameters():
            paths = [path for path in groups if f"{name}.".startswith(f"{path}.")]
            parameter.requires_grad = bool(paths)
            if paths:
                groups[max(paths, key=len)].append(parameter)
        return [{"params": groups[path], "factor": factor} for path, factor in self.learns.items()]

    def description(self) -> dict[str, Any]:
        """The stage as JSON, for the run folder and the page."""
        return {
            "name": self.name,
            "loss": repr(self.objective),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "optimizer": _optimizer_name(self.optimizer),
            "sampling": str(self.sampling),
            "mixing": str(self.mixing) if self.mixing else None,
            "augmentation": repr(self.augmentation) if self.augmentation else None,
            "learns": dict(self.learns),
        }


@dataclass(frozen=True)
class Recipe:
    """A way to train: the head, and the stages one after the other."""

    head: Callable[[int, int], Head]  # features D, classes C -> head
    stages: tuple[Stage, ...]


def is_frozen(module: nn.Module) -> bool:
    """Whether no parameter of the module learns."""
    return not any(parameter.requires_grad for parameter in module.parameters())


def _optimizer_name(optimizer: OptimizerFunction) -> str:
    if not isinstance(optimizer, partial):
        return getattr(optimizer, "__name__", repr(optimizer))
    numbers = ", ".join(f"{name} {value:g}" for name, value in optimizer.keywords.items())
    return f"{optimizer.func.__name__}({numbers})"
