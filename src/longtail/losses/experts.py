"""Losses of several experts that look at the same images: scores are (B, M, C), M experts."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from longtail.losses.criterion import Criterion, Total
from longtail.losses.objective import ClassWeights
from longtail.losses.per_class import at_least_float32
from longtail.moment import Moment
from longtail.schedules import Schedule


class PerExpert(Criterion):
    """The sum over the experts of the same loss, each with noise of its own.

    Features are (B, M, D), each expert's own, or (B, D), the same for all.
    """

    score_dims = 3

    def __init__(self, loss: Criterion) -> None:
        super().__init__(loss)
        self.loss = loss
        self.row_separable = loss.row_separable

    def _total(self, scores: Tensor, moment: Moment) -> Total:
        return Total.side_by_side(
            *(self.loss.total(scores[:, expert], _of_expert(moment, expert)) for expert in range(scores.shape[1]))
        )


class Diversity(Criterion):
    """factor * mean(T)^2 * sum over experts of KL(softmax(mean z / T) || softmax(z / T)), z = scale * scores (RIDE).

    A negative factor drives the experts apart. T is a temperature per class, 1 while the schedule's strength is
    0; no gradient passes through the mean of the experts.
    """

    score_dims = 3

    def __init__(
        self, factor: float, temperature: ArrayLike, schedule: Schedule | None = None, *, scale: float = 1.0
    ) -> None:
        by_class = ClassWeights(temperature, schedule)
        super().__init__(by_class)
        self.factor, self.temperature, self.scale = factor, by_class, scale

    def _total(self, scores: Tensor, moment: Moment) -> Total:
        scores = self.scale * at_least_float32(scores)
        temperature = self.temperature.of_classes(scores, moment)
        together = F.softmax(scores.detach().mean(1, keepdim=True) / temperature, dim=2)
        alone = F.log_softmax(scores / temperature, dim=2)
        divergence = F.kl_div(alone, together.expand_as(alone), reduction="sum")
        strength = self.factor * temperature.mean() ** 2
        return Total(strength * divergence, scores.new_full((), len(scores)))


def _of_expert(moment: Moment, expert: int) -> Moment:
    """The moment with the expert's own noise and, where each has its own, its features."""
    moment = moment.with_targets(moment.targets, f"expert {expert}")
    if moment.features is None or moment.features.dim() == 2:
        return moment
    return replace(moment, features=moment.features[:, expert])
