"""What every loss is: scores, targets and what else is known of the batch -> a number to minimise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from longtail.draws import Draws, HashedDraws
from longtail.errors import LongtailError
from longtail.losses.factors import Factor, InverseFeatureNorm, OftenerSeen, Running
from longtail.losses.part import Part
from longtail.losses.per_class import PerClass
from longtail.losses.rotation import Rotate
from longtail.losses.steps import Scale
from longtail.moment import Mixed, Moment


@dataclass(frozen=True)
class Total:
    """A loss that adds over chunks, micro-batches and processes: mean() of the sum is the loss of the whole.

    Both are 0-d, or (K,) for a loss of K terms that are averaged apart. A mean of means would be another loss
    wherever the parts weigh differently.
    """

    sum: Tensor
    weight: Tensor

    def __add__(self, other: Total) -> Total:
        return Total(self.sum + other.sum, self.weight + other.weight)

    def mean(self) -> Tensor:
        """The loss, 0-d."""
        return (self.sum / self.weight).sum()

    @staticmethod
    def side_by_side(*totals: Total) -> Total:
        """Terms that are averaged apart and added."""
        return Total(
            torch.cat([total.sum.reshape(-1) for total in totals]),
            torch.cat([total.weight.reshape(-1) for total in totals]),
        )


class Criterion(Part, ABC):
    """A loss for any training loop: `loss = criterion(scores, targets)`.

    `observe` and `total` are the same in two parts, for loops that cut a batch into pieces: running statistics
    change only in `observe`, once for the whole batch, and the totals of the pieces add.
    """

    row_separable: bool = True  # whether the totals of pieces of a batch add up to the total of the batch
    score_dims: int = 2  # (B, C)

    def __init__(self, *parts: nn.Module | None) -> None:
        """`parts` is what the loss is made of: looked through once, since a compiled step cannot do it."""
        super().__init__()
        inside = [module for part in parts if part is not None for module in part.modules()]
        self._running = tuple(part for part in inside if isinstance(part, Running))
        self._draws_noise = any(isinstance(part, Factor) and part.draws for part in inside)
        self._features_learn = any(isinstance(part, InverseFeatureNorm) for part in inside)
        self.takes_cosines = any(isinstance(part, Scale | Rotate) for part in inside)
        """Whether the scores must be cosines, since the loss has a scale of its own."""
        self.score_scale = next((part.scale for part in inside if isinstance(part, Scale)), 1.0)
        """What makes logits of the scores: the loss's own scale, 1 of a loss that takes logits."""
        classes = (part.classes for part in inside if isinstance(part, PerClass | OftenerSeen))
        self._classes = next((number for number in classes if number is not None), None)
        self._values_checked = False

    def forward(
        self,
        scores: Tensor,
        targets: Tensor | Mixed,
        *,
        features: Tensor | None = None,
        epoch: float | Tensor | None = None,
        generator: torch.Generator | None = None,
        draws: Draws | None = None,
    ) -> Tensor:
        """The loss of a batch, 0-d.

        Args:
            scores: what the head gives in training, (B, C): logits, or cosines where the loss has a scale.
            targets: class indices, (B,) int64, or `Mixed` pairs of them.
            features: input of the head, (B, D), for losses that look at it.
            epoch: counted from 0, for losses that change over time. A number, or a 0-d tensor in a compiled step.
            generator: where noise comes from; torch's global generator otherwise.
            draws: the noise as a function of a key and of positions, instead of `generator`.

        Raises:
            LongtailError: a ValueError, for wrong shapes and for what is missing; for targets out of range and
                cosines beyond 1.01 on the first call only, since looking at values makes a GPU wait.
        """
        moment = self.moment(scores, targets, features=features, epoch=epoch, generator=generator, draws=draws)
        if self.training:
            self.observe(moment)
        return self.total(scores, moment).mean()

    def moment(
        self,
        like: Tensor,
        targets: Tensor | Mixed,
        *,
        features: Tensor | None = None,
        epoch: float | Tensor | None = None,
        generator: torch.Generator | None = None,
        draws: Draws | None = None,
    ) -> Moment:
        """What `observe` and `total` take: the arguments of a call, with `like` for the samples, dtype and device."""
        if draws is None and self._draws_noise:
            draws = _draws_of(generator, like)
        return Moment(targets, features, _as_tensor(epoch, like), draws)

    def observe(self, moment: Moment) -> None:
        """Let the running statistics see a batch. Call it once a step, before `total`."""
        for part in self._running:
            part.observe(moment)

    def total(self, scores: Tensor, moment: Moment) -> Total:
        """The loss of a batch or of a piece of one, as sum and weight; changes nothing."""
        self._check_shapes(scores, moment)
        if not (self._values_checked or torch.compiler.is_compiling()):
            self._check_values(scores, moment)
            self._values_checked = True
        return self._total(scores, moment)

    @abstractmethod
    def _total(self, scores: Tensor, moment: Moment) -> Total:
        """`total` of scores that are checked; they may be of half precision, in which no loss should be computed."""

    def _check_shapes(self, scores: Tensor, moment: Moment) -> None:
        shape, classes = tuple(scores.shape), self._classes
        if len(shape) != self.score_dims or (classes is not None and shape[-1] != classes):
            columns = "C" if classes is None else str(classes)
            wanted = f"(B, {columns})" if self.score_dims == 2 else f"(B, experts, {columns})"
            raise LongtailError(f"Scores must be {wanted}, a row per sample and a column per class, not {shape}.")
        for labels in moment.targets[:2] if isinstance(moment.targets, Mixed) else (moment.targets,):
            if labels.shape != shape[:1] or labels.dtype != torch.int64:
                raise LongtailError(
                    f"Targets must be int64 class indices of shape ({shape[0]},), as many as there are rows of "
                    f"scores, not {labels.dtype} of shape {tuple(labels.shape)}."
                )
        if moment.features is not None and len(moment.features) != shape[0]:
            raise LongtailError(f"There are {len(moment.features)} rows of features for {shape[0]} of scores.")

    def _check_values(self, scores: Tensor, moment: Moment) -> None:
        classes = scores.shape[-1]
        for labels in moment.targets[:2] if isinstance(moment.targets, Mixed) else (moment.targets,):
            lowest, highest = int(labels.min()), int(labels.max())
            if lowest < 0 or highest >= classes:
                wrong = lowest if lowest < 0 else highest
                raise LongtailError(f"Target {wrong} is no class: there are {classes}, from 0 to {classes - 1}.")
        if self.takes_cosines and (largest := float(scores.detach().abs().max())) > 1.01:
            raise LongtailError(
                f"This loss has a scale of its own and takes cosines, from -1 to 1, but a score is {largest:.4g}: "
                "use a cosine head, and leave the head's scale to inference."
            )


def _as_tensor(epoch: float | Tensor | None, scores: Tensor) -> Tensor | None:
    if epoch is None or isinstance(epoch, Tensor):
        return epoch
    dtype = torch.promote_types(scores.dtype, torch.float32)
    return torch.full((), epoch, dtype=dtype, device=scores.device)  # filled there: a copy would make a GPU wait


def _draws_of(generator: torch.Generator | None, scores: Tensor) -> Draws:
    """Draws from one number of the generator, so that all noise comes from the same hash."""
    device = scores.device if generator is None else generator.device
    key = torch.randint(2**63 - 1, (), generator=generator, device=device)
    return HashedDraws(key.to(scores.device), torch.arange(len(scores), device=scores.device))
