"""Where a margin stands. Every margin is `where x number of the class x factors`; margin 0 changes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from longtail.losses.factors import Factor
from longtail.losses.part import Part
from longtail.losses.per_class import PerClass
from longtail.moment import Moment


class Margin(Part, ABC):
    """A number per class (or one for all), times factors, on some of the scores."""

    def __init__(self, number: ArrayLike, *factors: Factor) -> None:
        super().__init__()
        self.number = PerClass(number)
        self.factors = nn.ModuleList(factors)

    @abstractmethod
    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        """The margin, broadcasting to `scores` (B, C); of `OnTarget` the targets' alone, (B, 1)."""


class Everywhere(Margin):
    """number_j on every score."""

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        return _product(self.number.like(scores), *(factor(scores, moment) for factor in self.factors))


class OffTarget(Margin):
    """number_j on every score but the target's."""

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        margin = _product(self.number.like(scores), *(factor(scores, moment) for factor in self.factors))
        return margin.expand_as(scores).scatter(1, moment.labels[:, None], 0)


class OnTarget(Margin):
    """number_y on the target's score alone. A (B, C) mask would cost twice the time of a (B, 1) column."""

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        factors = (_at_target(factor(scores, moment), moment.labels) for factor in self.factors)
        return _product(_at_target(self.number.like(scores), moment.labels), *factors).expand(len(scores), 1)


class OnRow(Margin):
    """number_y, the target's, on every score of its row."""

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        number = _at_target(self.number.like(scores), moment.labels)
        return _product(number, *(factor(scores, moment) for factor in self.factors))


def _product(*parts: Tensor) -> Tensor:
    """The product with the small parts first, so that (B, C) numbers are touched as seldom as possible."""
    return reduce(torch.mul, sorted(parts, key=torch.numel))


def _at_target(part: Tensor, labels: Tensor) -> Tensor:
    """The target's entry, (B, 1), of (C,) or (B, C); what does not depend on the class as it is."""
    if part.dim() == 0 or part.shape[-1] == 1:
        return part
    return part[labels][:, None] if part.dim() == 1 else part.gather(1, labels[:, None])
