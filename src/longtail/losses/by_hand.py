"""A value with a gradient written by hand, in place of what autograd finds, where that pays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

SMALLEST = 2**17  # scores for which it pays
BLOCK = 2**19  # scores in a block, for each thread: 2 MiB of float32

Plain = Callable[[Tensor], Tensor]  # scores -> value
Pull = Callable[[Tensor], Tensor]  # gradient of the value -> gradient of the scores; called once
Quick = Callable[[Tensor], tuple[Tensor, Pull]]  # the same value, without autograd


def by_hand(scores: Tensor, quick: Quick, plain: Plain) -> Tensor:
    """`plain(scores)`, by `quick` where that can and should be used.

    It can where nothing looks into the computation: eager, outside of functional transforms. It should on a processor,
    for many scores with a gradient. A second backward pass, and a derivative of the gradient, go by `plain`.
    """
    if not _worthwhile(scores):
        return plain(scores)
    value: Tensor = _ByHand.apply(scores, quick, plain)
    return value


def few(scores: int) -> bool:
    """Whether so many scores cost less than the steps that are taken on them."""
    return scores < SMALLEST


def exp_of_negative_(numbers: Tensor) -> Tensor:
    """e^numbers of numbers up to 0, in place.

    Held above about 1e-26 (of float32): that adds nothing to a sum above 1, and denormal numbers, which follow soon,
    are ten times slower.
    """
    return numbers.clamp_(min=0.7 * math.log(torch.finfo(numbers.dtype).tiny)).exp_()


def blocks(scores: Tensor) -> Iterator[slice]:
    """Rows of the scores (B, C), as many at a time as stay in a processor's cache."""
    rows, size = scores.shape[0], max(1, BLOCK * torch.get_num_threads() // scores.shape[1])
    return (slice(start, start + size) for start in range(0, rows, size))


def _worthwhile(scores: Tensor) -> bool:
    return (
        not few(scores.numel())
        and scores.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and torch.is_grad_enabled()
        and scores.requires_grad
    )


class _ByHand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, quick: Quick, plain: Plain) -> Tensor:
        value, ctx.pull = quick(scores)
        ctx.save_for_backward(scores)
        ctx.plain = plain
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (scores,) = ctx.saved_tensors
        create_graph = torch.is_grad_enabled()
        if ctx.pull is None or create_graph:
            with torch.enable_grad():
                value = ctx.plain(scores)
            (gradient,) = torch.autograd.grad(value, scores, upstream, create_graph=create_graph)
            return gradient, None, None
        pull, ctx.pull = ctx.pull, None
        return pull(upstream).to(scores.dtype), None, None
