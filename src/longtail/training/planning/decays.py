"""How the learning rate of a first training rises and falls, as data: shares of the epochs, however many there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from longtail.schedules import Constant, CosineDecay, MultiStep, Schedule, WarmUp


@dataclass(frozen=True)
class Decay(ABC):
    """Epochs -> schedule of the learning rate."""

    warm_up: float = field(default=0.0, kw_only=True)
    """Share of the epochs over which the rate first rises, linearly."""

    def __call__(self, epochs: int) -> Schedule:
        """The schedule of a training of so many epochs."""
        then = self.after_warm_up(epochs)
        return WarmUp(self.warm_up * epochs, then) if self.warm_up else then

    @abstractmethod
    def after_warm_up(self, epochs: int) -> Schedule:
        """The same without the warm-up."""


@dataclass(frozen=True)
class StepsAt(Decay):
    """The learning rate is multiplied by `factor` at these shares of the epochs."""

    shares: tuple[float, ...]
    factor: float
    warm_up: float = field(default=0.025, kw_only=True)  # 5 epochs of 200, as in most published code

    def after_warm_up(self, epochs: int) -> Schedule:
        """Steps at whole epochs."""
        return MultiStep(tuple(round(share * epochs) for share in self.shares), self.factor)


@dataclass(frozen=True)
class HalfCosine(Decay):
    """The learning rate falls to zero over half a cosine."""

    def after_warm_up(self, epochs: int) -> Schedule:
        """Half a cosine."""
        return CosineDecay(epochs)


@dataclass(frozen=True)
class Level(Decay):
    """The learning rate stays."""

    def after_warm_up(self, epochs: int) -> Schedule:
        """One."""
        return Constant()


STEPS = StepsAt((0.8, 0.9), 0.01)
"""GCL's (thesis Table 5.1): a hundredth at epochs 160 and 180 of 200."""
DECAYS: dict[str, Decay] = {"cosine": HalfCosine(), "steps": STEPS, "constant": Level()}
"""By the names that `--schedule` knows."""
