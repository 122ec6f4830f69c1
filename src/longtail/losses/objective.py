"""The one loss of this library: scores made harder, a likelihood, class weights, a focal factor, a mean."""

from __future__ import annotations

from typing import Literal, cast

from numpy.typing import ArrayLike
from torch import Tensor, nn

from longtail.losses.criterion import Criterion, Total
from longtail.losses.likelihood import Focus, Likelihood, Softmax
from longtail.losses.per_class import PerClass
from longtail.losses.rowwise import softmax_losses, worthwhile
from longtail.losses.steps import Step
from longtail.moment import Mixed, Moment
from longtail.schedules import Schedule

Mean = Literal["weighted", "batch"]


class ClassWeights(nn.Module):
    """A weight per sample by its class; with a schedule, from 1 at strength 0 to the weight at strength 1."""

    def __init__(self, weights: ArrayLike, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.weights, self.schedule = PerClass(weights), schedule

    def forward(self, scores: Tensor, moment: Moment) -> Tensor:
        """The weights (B,) of the labels."""
        return self.of_classes(scores, moment)[moment.labels]

    def of_classes(self, scores: Tensor, moment: Moment) -> Tensor:
        """The weights (C,) at this epoch."""
        weights = self.weights.like(scores)
        if self.schedule is None:
            return weights
        strength = self.schedule(moment.need_epoch("ClassWeights").to(scores.dtype))
        return 1 + strength * (weights - 1)

    def extra_repr(self) -> str:
        return "" if self.schedule is None else repr(self.schedule)


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
        if not isinstance(moment.targets, Mixed):
            return self._hard_total(scores, moment)
        first, second, share = moment.targets
        return Total.side_by_side(
            self._hard_total(scores, moment.with_targets(first, "first targets"), share),
            self._hard_total(scores, moment.with_targets(second, "second targets"), 1 - share),
        )

    def _hard_total(self, scores: Tensor, moment: Moment, share: Tensor | None = None) -> Total:
        losses = self._losses(scores, moment)
        weight = losses.new_full((), len(losses))
        if self.class_weights is not None:
            weights = self.class_weights(scores, moment)
            losses = weights * losses
            weight = weights.sum() if self.mean == "weighted" else weight
        if self.focus is not None:
            losses = self.focus(losses) * losses
        if share is not None:
            losses = share * losses
        return Total(losses.sum(), weight)

    def _losses(self, scores: Tensor, moment: Moment) -> Tensor:
        """The loss of each sample, (B,), before it is weighed."""
        steps = cast("list[Step]", self.steps)
        if isinstance(self.likelihood, Softmax) and not self._features_learn and worthwhile(scores):
            return softmax_losses(scores, steps, moment)
        for step in steps:
            scores = step(scores, moment)
        losses: Tensor = self.likelihood(scores, moment.labels)
        return losses

    def extra_repr(self) -> str:
        return f"mean={self.mean}"
