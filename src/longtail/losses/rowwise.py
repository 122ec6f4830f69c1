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
    losses = scores.new_empty(len(scores), dtype=loss_dtype(scores))
    slope = torch.empty_like(scores)
    for rows in blocks(scores):
        losses[rows] = _block(scores[rows], steps, moment.rows(rows), slope[rows])
    return losses, lambda upstream: slope.mul_(upstream[:, None])


def _block(scores: Tensor, steps: Sequence[Step], moment: Moment, slope: Tensor) -> Tensor:
    """The losses (b,) of a block; the derivative of each in its row of scores is written into `slope` (b, C)."""
    harder, target, slopes = at_least_float32(scores), moment.labels[:, None], []
    for step in steps:
        harder, of_step = step.with_slope(harder, moment)
        slopes.append(of_step)
    exact = at_least_float32(slope)  # `slope` itself, unless that is of half precision
    losses = _softmax(harder, target, exact)
    _through(slopes, target, exact)
    if exact is not slope:
        slope.copy_(exact)
    return losses


def _softmax(scores: Tensor, target: Tensor, slope: Tensor) -> Tensor:
    """The cross-entropy (b,); its derivative, p_j - [j = y], is written."""
    below = torch.sub(scores, scores.amax(1, keepdim=True), out=slope)
    of_target = below.gather(1, target)
    mass = exp_of_negative_(below).sum(1, keepdim=True)
    slope.scatter_add_(1, target, -mass).div_(mass)
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
