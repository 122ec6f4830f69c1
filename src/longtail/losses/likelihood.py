"""Scores and targets -> one loss per sample, (B,)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from longtail.losses.part import Part
from longtail.losses.per_class import PerClass


class Focus(Part):
    """The focal factor (1 - p)^gamma, which fades samples that are right already (Lin et al., ICCV 2017).

    `detached`: no gradient through the factor, as in many published copies.
    """

    def __init__(self, gamma: float = 2.0, *, detached: bool = False) -> None:
        super().__init__()
        self.gamma, self.detached = gamma, detached

    def forward(self, loss: Tensor) -> Tensor:
        """The factor of samples with the given loss, taken as -log p."""
        wrong = -torch.expm1(-(loss.detach() if self.detached else loss))
        # The power has no gradient at 0, where gamma is below 1.
        return wrong.clamp(min=torch.finfo(loss.dtype).tiny) ** self.gamma


class Likelihood(Part, ABC):
    """Scores and labels -> -log p per sample."""

    @abstractmethod
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """`scores` (B, C), `labels` (B,) -> (B,)."""


class Softmax(Likelihood):
    """One class out of all: logsumexp_j z_j - z_y."""

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels, reduction="none")


class SmoothedSoftmax(Likelihood):
    """Softmax against a target that gives a share of itself, by class, to other classes (label-aware smoothing).

    spread="others": the share is split over the C - 1 other classes; "all": over all C, the target among them.
    """

    def __init__(self, smoothing: ArrayLike, spread: Literal["others", "all"] = "others") -> None:
        super().__init__()
        self.smoothing, self.spread = PerClass(smoothing), spread

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        surprise = -F.log_softmax(scores, dim=1)
        target = surprise.gather(1, labels[:, None]).squeeze(1)
        others = surprise.sum(1) - target if self.spread == "others" else surprise.sum(1)
        classes = scores.shape[1] - 1 if self.spread == "others" else scores.shape[1]
        share = self.smoothing.like(scores)[labels]
        return (1 - share) * target + share * others / classes


class Sigmoid(Likelihood):
    """Each class for itself: the sum over classes of binary cross-entropies, each with its focal factor."""

    def __init__(self, focus: Focus | None = None) -> None:
        super().__init__()
        self.focus = focus

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        towards_wrong = scores.scatter(1, labels[:, None], -scores.gather(1, labels[:, None]))
        losses = F.softplus(towards_wrong)
        return (losses if self.focus is None else self.focus(losses) * losses).sum(1)
