"""Steps take a classifier and return it: a stage by gradient, a head edit in closed form. A recipe is a row of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.data.augmenting.augmentation import Augmentation
from longtail.data.mixing import Mixing, Place
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.losses.criterion import Criterion
from longtail.models.branches import Branching
from longtail.models.classifier import Classifier
from longtail.models.heads import Head
from longtail.moment import Mixed
from longtail.samplers import Sampling, instance
from longtail.schedules import Constant, Schedule
from longtail.training.evidence import Edited, Evidence

Targets = Tensor | Mixed
OptimizerFunction = Callable[..., torch.optim.Optimizer]  # (parameter groups, lr) -> optimizer
SGD: OptimizerFunction = partial(torch.optim.SGD, momentum=0.9, weight_decay=2e-4, fused=True)
WHOLE_NETWORK: Mapping[str, float] = {"backbone": 1.0, "head": 1.0}
HEAD_ALONE: Mapping[str, float] = {"head": 1.0}
SMALLEST_PIECE = 2  # images: of one alone, batch norm has no variance


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
    clip: float | None = None
    """The largest norm of the whole gradient; None leaves it as it is."""
    accumulate: int = 1
    """In how many pieces a batch is taken; their gradients add up to that of the whole batch's loss."""
    average: float | None = None
    """Decay a step of a moving average of the weights, which is then the outcome (see averaging); None keeps none."""
    samplings: tuple[Sampling, ...] = field(default_factory=lambda: (instance(),))
    """Which images come when; of several, each gives a batch, and the network sees them as one."""
    mixing: Mixing | None = None
    augmentation: Augmentation | None = None
    learns: Mapping[str, float] = field(default_factory=lambda: WHOLE_NETWORK)
    """Module or parameter of the classifier, by its path -> factor on the learning rate; the rest is frozen."""
    moves_batch_norm: bool = False
    """Whether the statistics of a frozen backbone's batch norm follow the images of this stage."""
    begin: Callable[[Classifier], Classifier] = unchanged
    """What happens to the structure before the first step: a fresh head, learnable scales."""

    def __post_init__(self) -> None:
        if self.accumulate == 1:
            return
        if not self.divisible:
            raise LongtailError(
                f"The stage {self.name!r} looks at a batch as a whole and cannot take it in pieces; leave --accumulate "
                "away."
            )
        if self.accumulate > self.batch_size // SMALLEST_PIECE:
            raise LongtailError(
                f"A batch of {self.batch_size} images cannot be taken in {self.accumulate} pieces of at least "
                f"{SMALLEST_PIECE}; give a smaller --accumulate."
            )

    @property
    def divisible(self) -> bool:
        """Whether the gradients of a batch's pieces add up to its own."""
        return self.objective.row_separable and len(self.samplings) == 1

    def parameter_groups(self, classifier: Classifier) -> list[dict[str, Any]]:
        """The optimizer's groups, one for each path of `learns`; gradients of all other parameters are off.

        Raises:
            LongtailError: there is nothing to learn at a path.
        """
        groups: dict[str, list[nn.Parameter]] = {path: [] for path in self.learns}
        for name, parameter in classifier.named_parameters():
            paths = [path for path in groups if f"{name}.".startswith(f"{path}.")]
            parameter.requires_grad = bool(paths)
            if paths:
                groups[max(paths, key=len)].append(parameter)
        if empty := [path for path, parameters in groups.items() if not parameters]:
            raise LongtailError(
                f"Stage {self.name!r} is to train {empty[0]!r}, where a classifier with a head of kind "
                f"{classifier.head.kind} has no parameters; begin with another head, as crt does."
            )
        return [{"params": groups[path], "factor": factor} for path, factor in self.learns.items()]

    def mixed(
        self,
        here: Place,
        samples: Tensor,
        targets: Targets,
        key: Key,
        epoch: int,
        rows: NDArray[np.int64] | None = None,
    ) -> tuple[Tensor, Targets]:
        """Samples and targets of a batch, mixed if this stage mixes them at this place and nobody has yet.

        Of some `rows` alone the samples are what `mixing.needed` names, and what comes back are these rows.
        """
        if self.mixing is None or isinstance(targets, Mixed) or self.mixing.place(key) != here:
            return samples, targets
        return self.mixing.mix(samples, targets, key, epoch, rows)

    def description(self) -> dict[str, Any]:
        """The stage as JSON, for the run folder and the page."""
        return {
            "name": self.name,
            "loss": repr(self.objective),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "optimizer": _optimizer_name(self.optimizer),
            "clip": self.clip,
            "accumulate": self.accumulate,
            "average": self.average,
            "sampling": " and ".join(map(str, self.samplings)),
            "mixing": str(self.mixing) if self.mixing else None,
            "augmentation": repr(self.augmentation) if self.augmentation else None,
            "learns": dict(self.learns),
            "moves_batch_norm": self.moves_batch_norm,
        }


@dataclass(frozen=True)
class HeadEdit:
    """A change of a trained head in closed form: tau-normalisation, class means, a known prior."""

    name: str
    edit: Callable[[Head, Evidence], Edited]
    """Head and what is known of the images -> the new head, and what was chosen on the way."""


Step = Stage | HeadEdit


@dataclass(frozen=True)
class Recipe:
    """A way to train: the head, the steps one after the other, and what the outcome's probabilities stand for."""

    head: Callable[[int, int], Head]  # features D, classes C -> head
    steps: tuple[Step, ...]
    branching: Branching | None = None
    """How the backbone splits into branches or experts."""
    balanced: bool = True
    """Whether the classifier expects all classes alike; else as often as in training, as cross-entropy leaves it."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The steps that train by gradient."""
        return tuple(step for step in self.steps if isinstance(step, Stage))

    @property
    def epochs_of_backbone(self) -> int:
        """How many epochs the backbone learns for; one of several samplings counts as several."""
        learning = (stage for stage in self.stages if any(path.startswith("backbone") for path in stage.learns))
        return sum(stage.epochs * len(stage.samplings) for stage in learning)

    def sampled_by(self, sampling: Sampling, name: str) -> Recipe:
        """The same with another sampling in the first stage.

        Raises:
            LongtailError: the recipe, of this name, has several samplings there.
        """
        first = self.stages[0]
        if len(first.samplings) > 1:
            raise LongtailError(f"Recipe {name} has {len(first.samplings)} samplings already; leave --sampling away.")
        return self.with_stages(lambda stage: replace(stage, samplings=(sampling,)) if stage is first else stage)

    def on_frozen_features(self, name: str) -> Recipe:
        """The same with the backbone left as it is: only the head learns.

        Raises:
            LongtailError: the recipe divides the backbone into branches.
        """
        if self.branching:
            raise LongtailError(
                f"Recipe {name} trains branches of its own, so --freeze leaves it nothing; leave it away."
            )
        return self.with_stages(_head_alone)

    def with_stages(self, change: Callable[[Stage], Stage]) -> Recipe:
        """The same with every stage changed; edits in closed form stay."""
        return replace(self, steps=tuple(change(step) if isinstance(step, Stage) else step for step in self.steps))


def _head_alone(stage: Stage) -> Stage:
    learns = {path: factor for path, factor in stage.learns.items() if path.startswith("head")}
    return replace(stage, learns=learns, moves_batch_norm=False)


def is_frozen(module: nn.Module) -> bool:
    """Whether no parameter of the module learns."""
    return not any(parameter.requires_grad for parameter in module.parameters())


def _optimizer_name(optimizer: OptimizerFunction) -> str:
    if not isinstance(optimizer, partial):
        return getattr(optimizer, "__name__", repr(optimizer))
    said = {name: value for name, value in optimizer.keywords.items() if name != "fused"}  # a matter of speed
    numbers = ", ".join(f"{name} {value:g}" for name, value in said.items())
    return f"{optimizer.func.__name__}({numbers})"
