"""The softmax loss and its gradient, a block of rows at a time.

Steps touch each score for itself, so that a block's loss and gradient need nothing of the other rows. What a block
needs stays in the processor's cache, and beside the gradient nothing of shape (B, C) is ever held.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from longtail.losses.by_hand import Pull, blocks, exp_of_negative_
from longtail.losses.per_class import at_least_float32, loss_dtype
from longtail.losses.steps import Slope, Step
from longtail.moment import Moment


def softmax_losses(scores: Tensor, steps: Sequence[Step], moment: Moment) -> tuple[Tensor, Pull]:
    """The cross-entropy (B,) of the scores (B, C) after the steps, and how its gradient becomes theirs."""
    gradient = torch.empty_like(scores, dtype=loss_dtype(scores))  # of each row's loss in the row
    losses = gradient.new_empty(len(scores))
    for rows in blocks(scores):
        losses[rows] = _block(scores[rows], steps, moment.rows(rows), gradient[rows])
    return losses, lambda upstream: gradient.mul_(upstream[:, None])


def _block(scores: Tensor, steps: Sequence[Step], moment: Moment, gradient: Tensor) -> Tensor:
    """The losses (b,) of a block; their gradient (b, C) is written."""
    harder, target, slopes = at_least_float32(scores), moment.labels[:, None], []
    for step in steps:
        harder, slope = step.with_slope(harder, moment)
        slopes.append(slope)
    losses = _softmax(harder, target, gradient)
    _through(slopes, target, gradient)
    return losses


def _softmax(scores: Tensor, target: Tensor, gradient: Tensor) -> Tensor:
    """The cross-entropy (b,); its gradient, p_j - [j = y], is written."""
    below = torch.sub(scores, scores.amax(1, keepdim=True), out=gradient)
    of_target = below.gather(1, target)
    mass = exp_of_negative_(below).sum(1, keepdim=True)
    gradient.scatter_add_(1, target, -mass).div_(mass)
    return (mass.log() - of_target).squeeze(1)


def _through(slopes: Sequence[Slope], target: Tensor, gradient: Tensor) -> None:
    """Takes a gradient (b, C) back through the steps, in place."""
    of_rows: Tensor | float = 1.0
    for slope in slopes:
        of_rows = of_rows * slope.rows
        if slope.entries is not None:
            gradient.mul_(slope.entries)
        if slope.on_target is not None:
            gradient.scatter_(1, target, gradient.gather(1, target) * slope.on_target)
    gradient.mul_(of_rows)
