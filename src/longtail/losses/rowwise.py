"""The softmax loss on a processor, a block of rows at a time.

Steps touch each score for itself, so that a block's loss and gradient need nothing of the other rows. What a block
needs stays in the processor's cache, and beside the gradient nothing of shape (B, C) is ever held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail.losses.steps import Slope, Step
from longtail.moment import Moment

BLOCK = 2**20  # scores in a block: 4 MiB of float32
SMALLEST = 2**17  # scores for which it pays


def worthwhile(scores: Tensor) -> bool:
    """Whether `softmax_losses` can and should be used: eager, on a processor, on many scores with a gradient."""
    return (
        scores.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and torch.is_grad_enabled()
        and scores.requires_grad
        and scores.numel() >= SMALLEST
    )


def softmax_losses(scores: Tensor, steps: Sequence[Step], moment: Moment) -> Tensor:
    """The cross-entropy (B,) of the scores (B, C) after the steps; `plain` is the same in plain words."""
    losses: Tensor = _SoftmaxLosses.apply(scores, tuple(steps), moment)
    return losses


def plain(scores: Tensor, steps: Sequence[Step], moment: Moment) -> Tensor:
    """The cross-entropy (B,) of the scores (B, C) after the steps."""
    for step in steps:
        scores = step(scores, moment)
    return F.cross_entropy(scores, moment.labels, reduction="none")


class _SoftmaxLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, steps: tuple[Step, ...], moment: Moment) -> Tensor:
        losses, slopes = scores.new_empty(len(scores)), scores.new_empty(len(scores), 1)
        gradient = torch.empty_like(scores)
        for rows in _blocks(scores):
            losses[rows], slopes[rows] = _block(scores[rows], steps, moment.rows(rows), gradient[rows])
        ctx.save_for_backward(scores, slopes)
        ctx.steps, ctx.moment, ctx.gradient = steps, moment, gradient
        return losses

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        scores, slopes = ctx.saved_tensors
        if ctx.gradient is None or torch.is_grad_enabled():  # a second backward, or a derivative of this one
            create_graph = torch.is_grad_enabled()
            with torch.enable_grad():
                losses = plain(scores, ctx.steps, ctx.moment)
            (again,) = torch.autograd.grad(losses, scores, upstream, create_graph=create_graph)
            return again, None, None
        gradient, ctx.gradient = ctx.gradient, None
        return gradient.mul_(slopes * upstream[:, None]), None, None


def _block(scores: Tensor, steps: tuple[Step, ...], moment: Moment, gradient: Tensor) -> tuple[Tensor, Tensor | float]:
    """The losses of a block and the slope of each row; the rest of its gradient is written into `gradient`."""
    slopes: list[Slope] = []
    of_rows: Tensor | float = 1.0
    for step in steps:
        scores, slope = step.with_slope(scores, moment)
        slopes.append(slope)
        of_rows = of_rows * slope.rows
    log_p, target = F.log_softmax(scores, dim=1), moment.labels[:, None]
    losses = -log_p.gather(1, target).squeeze(1)
    # A probability of 1e-26 moves nothing, and denormal numbers, which follow soon, are ten times slower.
    torch.exp(log_p.clamp_(min=0.7 * math.log(torch.finfo(log_p.dtype).tiny)), out=gradient)
    gradient.scatter_add_(1, target, gradient.new_full((1, 1), -1).expand_as(target))
    for slope in slopes:
        if slope.entries is not None:
            gradient.mul_(slope.entries)
        if slope.on_target is not None:
            gradient.scatter_(1, target, gradient.gather(1, target) * slope.on_target)
    return losses, of_rows


def _blocks(scores: Tensor) -> Iterator[slice]:
    rows, size = scores.shape[0], max(1, BLOCK // scores.shape[1])
    return (slice(start, start + size) for start in range(0, rows, size))
