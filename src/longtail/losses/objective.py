"""The one loss of this library: scores made harder, a likelihood, class weights, a focal factor, a mean."""

from __future__ import annotations

from functools import partial
from typing import Literal, cast

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from longtail.losses.by_hand import by_hand, few
from longtail.losses.criterion import Criterion, Total
from longtail.losses.likelihood import Focus, Likelihood, Softmax
from longtail.losses.part import Part
from longtail.losses.per_class import PerClass, at_least_float32
from longtail.losses.rowwise import softmax_losses
from longtail.losses.steps import Step
from longtail.moment import Mixed, Moment
from longtail.schedules import Schedule

Mean = Literal["weighted", "batch"]


class ClassWeights(Part):
    """A weight per sample by its class; with a schedule, from 1 at strength 0 to the weight at strength 1."""

    def __init__(self, weights: ArrayLike, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.weights, self.schedule = PerClass(weights), schedule

    def forward(self, like: Tensor, moment: Moment) -> Tensor:
        """The weights (B,) of the labels, in the dtype of `like`."""
        return self.of_classes(like, moment)[moment.labels]

    def of_classes(self, like: Tensor, moment: Moment) -> Tensor:
        """The weights (C,) at this epoch, in the dtype of `like`."""
        weights = self.weights.like(like)
        if self.schedule is None:
            return weights
        strength = self.schedule(moment.need_epoch("ClassWeights").to(like.dtype))
        return 1 + strength * (weights - 1)


class Objective(Criterion):
    """Steps on the scores, then a loss per sample, then its class weight, then the focal factor, then the mean.

    mean="weighted" divides by the sum of the class weights, "batch" by the number of samples. The focal factor
    sees the weighted loss, as published. Mixed targets are two losses with noise of their own, added by their
    shares; each keeps its own mean.
    """

    def __init__(
        self,
        *steps: Step,
        likelihood: Likelihood | None = None,
        class_weights: ClassWeights | None = None,
        focus: Focus | None = None,
        mean: Mean = "weighted",
    ) -> None:
        likelihood = likelihood or Softmax()
        super().__init__(*steps, likelihood, class_weights, focus)
        self.steps, self.likelihood = nn.ModuleList(steps), likelihood
        self.class_weights, self.focus, self.mean = class_weights, focus, mean

    def _total(self, scores: Tensor, moment: Moment) -> Total:
        if isinstance(moment.targets, Mixed):
            return self._mixed_total(scores, moment, moment.targets)
        losses, weights = self._weighed(scores, moment)
        return Total(losses.sum(), weights.sum())

    def _mixed_total(self, scores: Tensor, moment: Moment, targets: Mixed) -> Total:
        first = moment.with_targets(targets.first, "first targets")
        second = moment.with_targets(targets.second, "second targets")
        shares = torch.stack([targets.share, 1 - targets.share])  # (2,) or (2, B)
        if few(2 * scores.numel()):  # both in one pass: it holds the scores twice, and takes half the steps
            losses, weights = self._weighed(torch.cat([scores, scores]), first.then(second))
            return Total((shares.view(2, -1) * losses.view(2, -1)).sum(1), weights.view(2, -1).sum(1))
        terms = []
        for share, hard in zip(shares, (first, second), strict=True):
            losses, weights = self._weighed(scores, hard)
            terms.append(Total((share * losses).sum(), weights.sum()))
        return Total.side_by_side(*terms)

    def _weighed(self, scores: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """The loss of each sample of hard targets, (B,), and what it counts in the mean, (B,)."""
        losses = self._losses(scores, moment)
        counts = torch.ones_like(losses)
        if self.class_weights is not None:
            weights = self.class_weights(losses, moment)
            losses = weights * losses
            counts = weights if self.mean == "weighted" else counts
        if self.focus is not None:
            losses = self.focus(losses) * losses
        return losses, counts

    def _losses(self, scores: Tensor, moment: Moment) -> Tensor:
        """The loss of each sample, (B,), before it is weighed."""
        if self._features_learn or not isinstance(self.likelihood, Softmax):
            return self._plain_losses(scores, moment)
        steps = cast("list[Step]", self.steps)
        quick = partial(softmax_losses, steps=steps, moment=moment)
        return by_hand(scores, quick, partial(self._plain_losses, moment=moment))

    def _plain_losses(self, scores: Tensor, moment: Moment) -> Tensor:
        scores = at_least_float32(scores)
        for step in self.steps:
            scores = step(scores, moment)
        losses: Tensor = self.likelihood(scores, moment.labels)
        return losses
