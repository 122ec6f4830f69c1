"""How strong something is at an epoch: a margin, a class weight, a learning rate.

A schedule maps the epoch, counted from 0 and possibly a fraction, to a strength. It takes and gives a 0-d
tensor, since a Python number would recompile a compiled step at every epoch; `at` is the same for plain
numbers. t is the epoch and T the `epochs` of a schedule.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Schedule(ABC):
    """Epoch -> strength."""

    @abstractmethod
    def __call__(self, epoch: Tensor) -> Tensor:
        """The strength at `epoch` (0-d, floating point)."""

    def at(self, epoch: float) -> float:
        """The strength at `epoch`, as a number.

        >>> Linear(epochs=10).at(5)
        0.5
        """
        return float(self(torch.tensor(epoch, dtype=torch.float64)))


@dataclass(frozen=True)
class Constant(Schedule):
    """The same at every epoch."""

    strength: float = 1.0

    def __call__(self, epoch: Tensor) -> Tensor:
        return torch.full_like(epoch, self.strength)


@dataclass(frozen=True)
class FromEpoch(Schedule):
    """A step: 0 before epoch `start`, 1 from then on (deferred re-weighting, KPS's gradient adjustment).

    >>> FromEpoch(160).at(159), FromEpoch(160).at(160)
    (0.0, 1.0)
    """

    start: float

    def __call__(self, epoch: Tensor) -> Tensor:
        return (epoch >= self.start).to(epoch.dtype)


@dataclass(frozen=True)
class Deferred(Schedule):
    """0 before epoch `start`, then `schedule` with its own epoch 0 there."""

    start: float
    schedule: Schedule

    def __call__(self, epoch: Tensor) -> Tensor:
        return torch.where(epoch < self.start, 0.0, self.schedule(epoch - self.start))


@dataclass(frozen=True)
class Linear(Schedule):
    """peak * t / T."""

    epochs: float
    peak: float = 1.0

    def __call__(self, epoch: Tensor) -> Tensor:
        return self.peak * (epoch / self.epochs)


@dataclass(frozen=True)
class Falling(Schedule):
    """peak * (1 - t / T)."""

    epochs: float
    peak: float = 1.0

    def __call__(self, epoch: Tensor) -> Tensor:
        return self.peak * (1 - epoch / self.epochs)


@dataclass(frozen=True)
class Sine(Schedule):
    """peak * sin(pi t / 2T): quick at first."""

    epochs: float
    peak: float = 1.0

    def __call__(self, epoch: Tensor) -> Tensor:
        return self.peak * torch.sin(epoch * (math.pi / 2 / self.epochs))


@dataclass(frozen=True)
class Cosine(Schedule):
    """peak * (1 - cos(pi t / 2T)): slow at first."""

    epochs: float
    peak: float = 1.0

    def __call__(self, epoch: Tensor) -> Tensor:
        return self.peak * (1 - torch.cos(epoch * (math.pi / 2 / self.epochs)))


@dataclass(frozen=True)
class Parabolic(Schedule):
    """peak * (t / T)^2: slower still (thesis eq. 4.7). It goes on rising after epoch T.

    >>> Parabolic(epochs=190, peak=60).at(95)
    15.0
    """

    epochs: float
    peak: float = 1.0

    def __call__(self, epoch: Tensor) -> Tensor:
        return self.peak * (epoch / self.epochs) ** 2


@dataclass(frozen=True)
class MultiStep(Schedule):
    """A learning rate that is multiplied by `factor` at each of the `milestones`.

    >>> MultiStep((160, 180), factor=0.5).at(170)
    0.5
    """

    milestones: tuple[float, ...]
    factor: float = 0.1

    def __call__(self, epoch: Tensor) -> Tensor:
        passed = sum(((epoch >= milestone).to(epoch.dtype) for milestone in self.milestones), torch.zeros_like(epoch))
        return torch.pow(self.factor, passed)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """A learning rate that falls to `floor` over half a cosine: floor + (1 - floor) (1 + cos(pi t / T)) / 2.

    >>> CosineDecay(epochs=10).at(0), round(CosineDecay(epochs=10).at(5), 12)
    (1.0, 0.5)
    """

    epochs: float
    floor: float = 0.0

    def __call__(self, epoch: Tensor) -> Tensor:
        return self.floor + (1 - self.floor) * (1 + torch.cos(epoch * (math.pi / self.epochs))) / 2


@dataclass(frozen=True)
class WarmUp(Schedule):
    """`then`, times a linear rise over the first epochs: min(1, (t + 1) / T), so that epoch 0 already learns.

    >>> [round(WarmUp(5, Constant()).at(epoch), 12) for epoch in (0, 1, 4, 5)]
    [0.2, 0.4, 1.0, 1.0]
    """

    epochs: float
    then: Schedule

    def __call__(self, epoch: Tensor) -> Tensor:
        return ((epoch + 1) / self.epochs).clamp(max=1) * self.then(epoch)
