"""Margins on the angle instead of the cosine."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from longtail.losses.steps import MarginStep, Slope, add_to_target
from longtail.losses.where import Margin
from longtail.moment import Moment


class Rotation(NamedTuple):
    """Cosines turned by angles."""

    cosine: Tensor  # cos(theta)
    sine: Tensor  # sin(theta), above 0
    angle: Tensor  # by which it is turned
    cos: Tensor  # of the angle
    sin: Tensor  # of the angle
    turned: Tensor  # cos(theta + angle)

    @classmethod
    def of(cls, cosine: Tensor, angle: Tensor) -> Rotation:
        """`cosine` turned by `angle`, which broadcasts to it."""
        tiny = torch.finfo(cosine.dtype).tiny  # the root has no gradient at 0
        sine = (1 - cosine.square()).clamp(tiny, 1).sqrt()
        cos, sin = angle.cos(), angle.sin()
        return cls(cosine, sine, angle, cos, sin, cosine * cos - sine * sin)

    def slope(self) -> Tensor:
        """The derivative of `turned` in `cosine`, with none of sin(theta) where that is 0."""
        least = torch.finfo(self.sine.dtype).eps / 2  # sines that are not 0 have larger squares
        cotangent = self.cosine * self.sine / self.sine.square().clamp(min=least)
        return self.cos + cotangent * self.sin


# Which entries are turned, and what stands for the others: something that changes as cos(theta) does, with slope 1.
Beyond = Callable[[Rotation], tuple[Tensor, Tensor]]


class Rotate(MarginStep):
    """cos(theta + sum of the margins): the scores are cosines, the margins angles in radians.

    Margins on one entry are summed before one rotation. `beyond` says what stands where the sum would turn
    the entry past pi, or otherwise out of the range in which a larger angle is harder.
    """

    def __init__(self, *margins: Margin, beyond: Beyond) -> None:
        super().__init__(*margins)
        self.beyond = beyond

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        return self._turned(scores, self._rotation(scores, moment), moment)[0]

    def with_slope(self, scores: Tensor, moment: Moment) -> tuple[Tensor, Slope]:
        rotation = self._rotation(scores, moment)
        harder, within = self._turned(scores, rotation, moment)
        slope = torch.where(within, rotation.slope(), 1)
        return harder, Slope(entries=slope) if slope.shape == scores.shape else Slope(on_target=slope)

    def _turned(self, scores: Tensor, rotation: Rotation, moment: Moment) -> tuple[Tensor, Tensor]:
        """All scores, (B, C), and which entries of the rotation are turned."""
        within, elsewhere = self.beyond(rotation)
        harder = torch.where(within, rotation.turned, elsewhere)
        if harder.shape != scores.shape:  # the targets' alone
            harder = add_to_target(scores, harder - rotation.cosine, moment)
        return harder, within

    def _rotation(self, scores: Tensor, moment: Moment) -> Rotation:
        """Of all scores, or, where no other is turned, of the targets' alone, (B, 1)."""
        angle, on_target = self.everywhere(scores, moment), self.on_target(scores, moment)
        if on_target is None:
            return Rotation.of(scores, scores.new_zeros(()) if angle is None else angle)
        if angle is None:
            return Rotation.of(scores.gather(1, moment.labels[:, None]), on_target)
        return Rotation.of(scores, add_to_target(angle.expand_as(scores), on_target, moment))


def less_sine(rotation: Rotation) -> tuple[Tensor, Tensor]:
    """cos(theta) - sin(angle) where theta + angle > pi (published GCL-A without easy margin)."""
    return rotation.cosine > -rotation.cos, rotation.cosine - rotation.sin


def less_angle_sine(rotation: Rotation) -> tuple[Tensor, Tensor]:
    """cos(theta) - angle * sin(angle) where theta + angle > pi (ArcFace)."""
    return rotation.cosine > -rotation.cos, rotation.cosine - rotation.angle * rotation.sin


def only_acute(rotation: Rotation) -> tuple[Tensor, Tensor]:
    """cos(theta), without the margin, where theta is not acute (the "easy margin")."""
    return rotation.cosine > 0, rotation.cosine


def straight_through(rotation: Rotation) -> tuple[Tensor, Tensor]:
    """cos(theta + angle) everywhere, with the gradient of cos(theta) (InsightFace)."""
    nowhere = torch.zeros_like(rotation.cosine, dtype=torch.bool)
    return nowhere, rotation.cosine + (rotation.turned - rotation.cosine).detach()
