"""What a stage changes, step by step: the classifier, the optimiser, the loss's own statistics, the average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from longtail.losses.criterion import Criterion
from longtail.models.classifier import Classifier
from longtail.training.engine import Engine
from longtail.training.loop.averaging import moving_average
from longtail.training.stage import Stage


@dataclass(frozen=True)
class Learning:
    """All that has to be kept of a stage to go on with it."""

    classifier: Classifier
    optimizer: torch.optim.Optimizer
    objective: Criterion
    average: AveragedModel | None

    @classmethod
    def of(cls, stage: Stage, classifier: Classifier, engine: Engine) -> Learning:
        """A stage before its first step.

        Raises:
            LongtailError: the classifier lacks what is to learn.
        """
        classifier = engine.place(classifier)
        optimizer = stage.optimizer(stage.parameter_groups(classifier), lr=stage.lr)
        average = None
        if stage.average is not None:
            average = moving_average(classifier, stage.average)
        return cls(classifier, optimizer, stage.objective.to(engine.device), average)

    @property
    def outcome(self) -> Classifier:
        """What predicts."""
        return self.classifier if self.average is None else cast("Classifier", self.average.module)

    def set_rate(self, rate: float) -> None:
        """The learning rate of every group, by its factor."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]

    def step(self, clip: float | None) -> None:
        """Follow the gradient, whose norm is first brought down to `clip`."""
        if clip is not None:
            nn.utils.clip_grad_norm_(self.classifier.parameters(), clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.classifier)

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name."""
        modules = {"classifier": self.classifier, "objective": self.objective, "average": self.average}
        return {
            f"{room}.{name}": tensor
            for room, module in modules.items()
            if module is not None
            for name, tensor in module.state_dict().items()
        } | {f"optimizer.{name}": tensor for name, tensor in self._momenta()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put everything back as it was."""
        self.classifier.load_state_dict(room(tensors, "classifier"))
        self.objective.load_state_dict(room(tensors, "objective"))
        if self.average is not None:
            self.average.load_state_dict(room(tensors, "average"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in room(tensors, "optimizer").items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        for parameter, kept in self.optimizer.state.items():
            for key, tensor in kept.items():
                if tensor.shape == parameter.shape:  # in the layout of the parameter, which a file does not know
                    kept[key] = torch.empty_like(parameter).copy_(tensor)

    def _momenta(self) -> Iterator[tuple[str, Tensor]]:
        for number, kept in self.optimizer.state_dict()["state"].items():
            for key, tensor in kept.items():
                if isinstance(tensor, Tensor):
                    yield f"{number}.{key}", tensor


def room(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part, by their names in it."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
