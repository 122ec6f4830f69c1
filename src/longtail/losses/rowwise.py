"""The softmax loss and its gradient, a block of rows at a time.

Steps touch each score for itself, so that a block's loss and gradient need nothing of the other rows. What a block
needs stays in the processor's cache, and beside the gradient nothing of shape (B, C) is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from longtail.losses.by_hand import Pull, exp_of_negative_
from longtail.losses.per_class import at_least_float32, loss_dtype
from longtail.losses.steps import Slope, Step
from longtail.moment import Moment

BLOCK = 2**19  # scores in a block: 2 MiB of float32


def softmax_losses(scores: Tensor, steps: Sequence[Step], moment: Moment) -> tuple[Tensor, Pull]:
    """The cross-entropy (B,) of the scores (B, C) after the steps, and how its gradient becomes theirs.

    The gradient is found in the same pass, but for one factor per row, (B, 1).
    """
    gradient = torch.empty_like(scores, dtype=loss_dtype(scores))
    losses, factors = gradient.new_empty(len(scores)), gradient.new_empty(len(scores), 1)
    for rows in _blocks(scores):
        losses[rows], factors[rows] = _block(scores[rows], steps, moment.rows(rows), gradient[rows])
    return losses, lambda upstream: gradient.mul_(factors * upstream[:, None])


def _block(scores: Tensor, steps: Sequence[Step], moment: Moment, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The losses (b,) of a block and the factors (b, 1) of its gradient, which is written."""
    harder, target, slopes = at_least_float32(scores), moment.labels[:, None], []
    for step in steps:
        harder, slope = step.with_slope(harder, moment)
        slopes.append(slope)
    losses, mass = _softmax(harder, target, gradient)
    return losses, _through(slopes, target, gradient) / mass


def _softmax(scores: Tensor, target: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The cross-entropy (b,), and its mass sum_j e^(z_j - max z), (b, 1); mass times the gradient is written."""
    below = torch.sub(scores, scores.amax(1, keepdim=True), out=gradient)
    of_target = below.gather(1, target)
    mass = exp_of_negative_(below).sum(1, keepdim=True)
    gradient.scatter_add_(1, target, -mass)
    return (mass.log() - of_target).squeeze(1), mass


def _through(slopes: Sequence[Slope], target: Tensor, gradient: Tensor) -> Tensor | float:
    """Takes a gradient back through the steps, but for what is alike on a whole row: that is returned."""
    of_rows: Tensor | float = 1.0
    for slope in slopes:
        of_rows = of_rows * slope.rows
        if slope.entries is not None:
            gradient.mul_(slope.entries)
        if slope.on_target is not None:
            gradient.scatter_(1, target, gradient.gather(1, target) * slope.on_target)
    return of_rows


def _blocks(scores: Tensor) -> Iterator[slice]:
    rows, size = scores.shape[0], max(1, BLOCK // scores.shape[1])
    return (slice(start, start + size) for start in range(0, rows, size))
