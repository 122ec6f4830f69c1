"""Batch norm over the global batch: several processes norm by the statistics of all rows, as one process would."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longtail.world import World

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronised(network: nn.Module, world: World) -> nn.Module:
    """The network with every batch norm over the rows of all processes; parameters, buffers and their names stay.

    The network is changed, and returned: where it is itself a batch norm, another takes its place. One process alone
    gets the same norms, so that its numbers are those of several: the features to the bit, but for what the
    convolutions make of fewer rows.

    >>> type(synchronised(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)), World(0, 2))[1]).__name__
    'SyncBatchNorm'
    """
    if isinstance(network, _NORMS):
        return SyncBatchNorm(network, world)
    for name, child in network.named_children():
        setattr(network, name, synchronised(child, world))
    return network


class SyncBatchNorm(nn.BatchNorm2d):
    """A batch norm that in training is of the n values a channel has on all processes.

        y = gamma (x - mean) / s + beta,    s = sqrt(var + eps),    mean = sum x / n,    var = sum x^2 / n - mean^2

    The processes may have different numbers of rows. One sum over them goes forward, of float64 numbers, and one
    backward. In evaluation it is an ordinary batch norm. torch's own of the same name runs on GPUs alone.

    Args:
        norm: any batch norm; its parameters and buffers become this one's. Those of timm, which drop and activate as
            well, still do.
        world: the processes.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, world: World) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.world = world
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        for name, step in norm.named_children():
            self.add_module(name, step)
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (as torch has it)
        """Maps (B, C, ...) of the same shape."""
        normed = self._normed(input) if self.training else super().forward(input)
        for step in self.children():
            normed = step(normed)
        return normed

    def _normed(self, values: Tensor) -> Tensor:
        with torch.no_grad():
            mean, var, number = _statistics(values, self.world)
            if self.running_mean is not None and self.running_var is not None:
                share = self._share_of_the_new()
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(var * number / (number - 1).clamp_min(1), share)
        result: Tensor = _Normed.apply(values, self.weight, self.bias, mean, var, number, self.eps, self.world)
        return result

    def _share_of_the_new(self) -> float:
        """How far the running statistics follow; without a momentum they are means over all batches."""
        count = cast("Tensor", self.num_batches_tracked).add_(1)
        return 1 / int(count) if self.momentum is None else self.momentum

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        """Rows of features and volumes as well as images."""


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        number: Tensor,
        eps: float,
        world: World,
    ) -> Tensor:
        ctx.save_for_backward(values, weight, mean, var, number)
        ctx.eps, ctx.world = eps, world
        return F.batch_norm(values, mean, var, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Mean and variance depend on the values of all processes; those of weight and bias are of the own rows."""
        values, weight, mean, var, number = ctx.saved_tensors
        rate = (var + ctx.eps).rsqrt()
        wide = upstream.to(var.dtype)
        own = torch.stack([_sum(wide * values) - mean * _sum(wide), _sum(wide)])  # float64, as forward
        along, mean_gradient = (ctx.world.summed(own) / number).to(var.dtype)
        of_weight, of_bias = (own[0] * rate).to(var.dtype), own[1].to(var.dtype)
        scale = rate if weight is None else rate * weight
        slope = -scale * rate.square() * along
        offset = -scale * mean_gradient - slope * mean
        gradient = torch.addcmul(
            torch.addcmul(_per_channel(offset, values), values, _per_channel(slope, values)),
            upstream,
            _per_channel(scale, values),
        )
        gradients = gradient.to(values.dtype), of_weight, of_bias, None, None, None, None, None
        return tuple(one if wanted else None for one, wanted in zip(gradients, ctx.needs_input_grad, strict=True))


def _statistics(values: Tensor, world: World) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,) and biased variance (C,) over all processes, and the number of values of each channel, 0-d.

    The sums are of float64, so that they are the same however the rows are shared, and numbers far from zero keep their
    variance.
    """
    sums = _sum(values)
    norms = torch.linalg.vector_norm(values, dim=_but_channels(values), dtype=torch.float64)
    own = torch.cat([sums, norms.square(), sums.new_full((1,), values.numel() // values.shape[1])])
    sums, squares, number = world.summed(own).split([len(sums), len(sums), 1])
    mean = sums / number
    var = (squares / number - mean.square()).clamp_min(0)
    dtype = torch.promote_types(values.dtype, torch.float32)
    return mean.to(dtype), var.to(dtype), number[0].to(dtype)


def _sum(values: Tensor) -> Tensor:
    """Of each channel, float64 (C,)."""
    return values.sum(_but_channels(values), dtype=torch.float64)


def _but_channels(values: Tensor) -> list[int]:
    return [dim for dim in range(values.dim()) if dim != 1]


def _per_channel(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (C,) as they meet maps (B, C, ...)."""
    return numbers.reshape(-1, *[1] * (like.dim() - 2))
