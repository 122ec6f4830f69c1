"""What a margin is multiplied by: a number of this sample, of this entry, or of this epoch.

A factor gives a tensor that broadcasts to the scores (B, C): 0-d, (B, 1), (C,) or (B, C).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.losses.part import Part
from longtail.moment import Moment
from longtail.schedules import Schedule


class Factor(Part, ABC):
    """Scores and moment -> what the margin is multiplied by."""

    draws: ClassVar[bool] = False  # whether it needs random numbers

    @abstractmethod
    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        """The factor for `scores` (B, C)."""


class Running(Factor):
    """A factor with a statistic of the batches seen so far."""

    @abstractmethod
    def observe(self, moment: Moment) -> None:
        """Take a batch in; called once a step, before the loss."""


class Noise(Factor):
    """min(|N(0, deviation^2)|, 1): the distance from the middle of a cloud (GCL eq. 11).

    Drawn for every entry, (B, C), or, `shared`, once a sample, (B, 1). No gradient passes through.
    """

    draws = True

    def __init__(self, deviation: float = 1 / 3, *, shared: bool = False) -> None:
        super().__init__()
        self.deviation, self.shared = deviation, shared

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        like = scores[:, :1] if self.shared else scores
        normal = moment.need_draws("Noise").half_normal(like.detach(), "cloud")
        return (normal * self.deviation).clamp_(max=1)


class Chance(Factor):
    """1 with the given probability, otherwise 0, drawn for every entry, (B, C)."""

    draws = True

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        uniform = moment.need_draws("Chance").uniform(scores.detach(), "chance")
        return (uniform - self.probability).lt_(0)  # a bool tensor in between would cost three times as much


class Strength(Factor):
    """The strength of a schedule at this epoch, 0-d."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        return self.schedule(moment.need_epoch("Strength").to(scores.dtype))


class InverseFeatureNorm(Factor):
    """1 / |f_i|, (B, 1), with gradient (FBL, thesis eq. 4.6).

    The norm is floored at the dtype's epsilon, so that a zero feature gives finite numbers and no gradient.
    """

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        features = moment.need_features("InverseFeatureNorm").to(scores.dtype)
        norm: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
        return norm.clamp(min=torch.finfo(norm.dtype).eps).reciprocal()


class Difficulty(Factor):
    """(1 - c_y) / 2, (B, 1), without gradient: 0 for a target cosine of 1, 1 for -1 (ALA eq. 6)."""

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        return (1 - scores.detach().gather(1, moment.labels[:, None])) / 2


class OftenerSeen(Running):
    """max(0, log N_y - log N_j), (B, C), with N the labels seen so far (seesaw's mitigation)."""

    seen: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("seen", torch.zeros(classes, dtype=torch.int64))

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        log_seen = self.seen.clamp(min=1).to(scores.dtype).log()
        return (log_seen[moment.labels][:, None] - log_seen).clamp_(min=0)

    @torch.no_grad()
    def observe(self, moment: Moment) -> None:
        """Count the labels; of mixed targets the first."""
        self.seen.index_add_(0, moment.labels, torch.ones_like(moment.labels))


class Overconfidence(Factor):
    """-max(0, log p_j - log max(p_y, floor)), (B, C), without gradient (seesaw's compensation).

    Negative: to subtract it raises the scores of classes that are held for likelier than the target.
    """

    def __init__(self, floor: float = 0.01) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        log_p = F.log_softmax(scores.detach(), dim=1)
        target = log_p.gather(1, moment.labels[:, None])
        lowest = torch.full((), self.floor, dtype=scores.dtype, device=scores.device).log()
        return (target.clamp(min=lowest) - log_p).clamp_(max=0)
