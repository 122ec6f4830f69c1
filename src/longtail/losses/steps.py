"""The steps that make scores harder before the likelihood sees them. A margin of 0 changes nothing.

A score whose margin is given in cosine units is adjusted before `Scale`, one in logit units after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from longtail.losses.part import Part
from longtail.losses.where import Everywhere, Margin, OnRow, OnTarget
from longtail.moment import Moment


@dataclass(frozen=True)
class Slope:
    """The derivative of a step in each score: the product of what is given."""

    rows: Tensor | float = 1.0  # of a whole row, (B, 1), or of all scores
    entries: Tensor | None = None  # (C,) or (B, C)
    on_target: Tensor | None = None  # of the target's score, (B, 1)


class Step(Part, ABC):
    """Scores -> harder scores, in training only: predictions are read off the scores untouched."""

    @abstractmethod
    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        """`scores` (B, C) -> (B, C), each score for itself."""

    @abstractmethod
    def with_slope(self, scores: Tensor, moment: Moment) -> tuple[Tensor, Slope]:
        """The same, with its derivative and without gradient."""


class MarginStep(Step):
    """A step with margins, told apart by whether they stand on the target alone."""

    def __init__(self, *margins: Margin) -> None:
        super().__init__()
        self.margins = nn.ModuleList(margins)

    def everywhere(self, scores: Tensor, moment: Moment) -> Tensor | None:
        """The sum of the margins that broadcast to (B, C), or None."""
        amounts = [margin(scores, moment) for margin in self.margins if not isinstance(margin, OnTarget)]
        return sum(amounts[1:], amounts[0]) if amounts else None

    def on_target(self, scores: Tensor, moment: Moment) -> Tensor | None:
        """The sum of the margins on the target, (B, 1), or None."""
        amounts = [margin(scores, moment) for margin in self.margins if isinstance(margin, OnTarget)]
        return sum(amounts[1:], amounts[0]) if amounts else None


class Subtract(MarginStep):
    """scores - sum of the margins."""

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        margin, on_target = self.everywhere(scores, moment), self.on_target(scores, moment)
        harder = scores if margin is None else scores - margin
        return harder if on_target is None else add_to_target(harder, -on_target, moment)

    def with_slope(self, scores: Tensor, moment: Moment) -> tuple[Tensor, Slope]:
        return self(scores, moment), Slope()


class Stretch(MarginStep):
    """scores * (1 + sum of the margins), of margins on columns and rows."""

    def __init__(self, *margins: Everywhere | OnRow) -> None:
        super().__init__(*margins)

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        margin = self.everywhere(scores, moment)
        return scores if margin is None else scores * (1 + margin)

    def with_slope(self, scores: Tensor, moment: Moment) -> tuple[Tensor, Slope]:
        margin = self.everywhere(scores, moment)
        if margin is None:
            return scores, Slope()
        stretch = 1 + margin
        of_rows = stretch.shape[-1:] in ((), (1,))
        return scores * stretch, Slope(rows=stretch) if of_rows else Slope(entries=stretch)


class Scale(Step):
    """scores * scale, which turns cosines into logits."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        return scores * self.scale

    def with_slope(self, scores: Tensor, moment: Moment) -> tuple[Tensor, Slope]:
        return scores * self.scale, Slope(rows=self.scale)


def add_to_target(scores: Tensor, amount: Tensor, moment: Moment) -> Tensor:
    """`scores` (B, C) with `amount` (B, 1) added to the targets'."""
    return scores.scatter_add(1, moment.labels[:, None], amount)
