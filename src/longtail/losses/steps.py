"""The steps that make scores harder before the likelihood sees them. A margin of 0 changes nothing.

A score whose margin is given in cosine units is adjusted before `Scale`, one in logit units after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from longtail.losses.where import Everywhere, Margin, OnRow, OnTarget
from longtail.moment import Moment

Beyond = Callable[["Rotation"], Tensor]  # what stands where a rotation goes too far


@dataclass(frozen=True)
class Slope:
    """The derivative of a step in each score: the product of what is given."""

    rows: Tensor | float = 1.0  # of a whole row, (B, 1), or of all scores
    entries: Tensor | None = None  # (C,) or (B, C)
    on_target: Tensor | None = None  # of the target's score, (B, 1)


class Step(nn.Module, ABC):
    """Scores -> harder scores, in training only: predictions are read off the scores untouched."""

    @abstractmethod
    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        """`scores` (B, C) -> (B, C), each score for itself."""

    @abstractmethod
    def with_slope(self, scores: Tensor, moment: Moment) -> tuple[Tensor, Slope]:
        """The same, with its derivative and without gradient."""


class _WithMargins(Step):
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


class Subtract(_WithMargins):
    """scores - sum of the margins."""

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        margin, on_target = self.everywhere(scores, moment), self.on_target(scores, moment)
        harder = scores if margin is None else scores - margin
        return harder if on_target is None else _add_to_target(harder, -on_target, moment)

    def with_slope(self, scores: Tensor, moment: Moment) -> tuple[Tensor, Slope]:
        return self(scores, moment), Slope()


class Stretch(_WithMargins):
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

    def extra_repr(self) -> str:
        return f"{self.scale:g}"


class Rotation(NamedTuple):
    """What a rotated entry is made of."""

    cosine: Tensor  # cos(theta)
    angle: Tensor  # by which it is turned
    cos: Tensor  # of the angle
    sin: Tensor  # of the angle
    rotated: Tensor  # cos(theta + angle)


class Rotate(_WithMargins):
    """cos(theta + sum of the margins): the scores are cosines, the margins angles in radians.

    Margins on one entry are summed before one rotation. `beyond` says what stands where the sum would turn
    the entry past pi, or otherwise out of the range in which a larger angle is harder.
    """

    def __init__(self, *margins: Margin, beyond: Beyond) -> None:
        super().__init__(*margins)
        self.beyond = beyond

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        angle, on_target = self.everywhere(scores, moment), self.on_target(scores, moment)
        if angle is not None:
            summed = angle if on_target is None else _add_to_target(angle.expand_as(scores), on_target, moment)
            return self.rotated(scores, summed)
        if on_target is None:
            return scores
        cosine = scores.gather(1, moment.labels[:, None])  # one column instead of (B, C) sines
        return _add_to_target(scores, self.rotated(cosine, on_target) - cosine, moment)

    def with_slope(self, scores: Tensor, moment: Moment) -> tuple[Tensor, Slope]:
        if self.everywhere(scores[:1], moment.rows(slice(1))) is not None:
            harder, slope = _derived(lambda cosine: self(cosine, moment), scores)
            return harder, Slope(entries=slope)
        angle = self.on_target(scores, moment)
        if angle is None:
            return scores, Slope()
        cosine = scores.gather(1, moment.labels[:, None])
        rotated, slope = _derived(lambda leaf: self.rotated(leaf, angle), cosine)
        return scores.scatter(1, moment.labels[:, None], rotated), Slope(on_target=slope)

    def rotated(self, cosine: Tensor, angle: Tensor) -> Tensor:
        """cos(theta + angle), or what `beyond` puts in its place."""
        tiny = torch.finfo(cosine.dtype).tiny  # the root has no gradient at 0
        sine = (1 - cosine.square()).clamp(tiny, 1).sqrt()
        cos, sin = angle.cos(), angle.sin()
        return self.beyond(Rotation(cosine, angle, cos, sin, cosine * cos - sine * sin))

    def extra_repr(self) -> str:
        return f"beyond={self.beyond.__name__}"


def less_sine(turn: Rotation) -> Tensor:
    """cos(theta) - sin(angle) where theta + angle > pi (published GCL-A without easy margin)."""
    return torch.where(turn.cosine > -turn.cos, turn.rotated, turn.cosine - turn.sin)


def less_angle_sine(turn: Rotation) -> Tensor:
    """cos(theta) - angle * sin(angle) where theta + angle > pi (ArcFace)."""
    return torch.where(turn.cosine > -turn.cos, turn.rotated, turn.cosine - turn.angle * turn.sin)


def only_acute(turn: Rotation) -> Tensor:
    """cos(theta), without the margin, where theta is not acute (the "easy margin")."""
    return torch.where(turn.cosine > 0, turn.rotated, turn.cosine)


def straight_through(turn: Rotation) -> Tensor:
    """cos(theta + angle) everywhere, with the gradient of cos(theta) (InsightFace)."""
    return turn.cosine + (turn.rotated - turn.cosine).detach()


def _derived(function: Callable[[Tensor], Tensor], scores: Tensor) -> tuple[Tensor, Tensor]:
    """A function of each score for itself, and its derivative."""
    with torch.enable_grad():
        leaf = scores.detach().requires_grad_()
        values = function(leaf)
        (slope,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), slope


def _add_to_target(scores: Tensor, amount: Tensor, moment: Moment) -> Tensor:
    return scores.scatter_add(1, moment.labels[:, None], amount)
