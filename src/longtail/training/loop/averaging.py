"""The moving average of a stage's weights, as `--ema` asks for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

TensorList = tuple[Tensor, ...] | list[Tensor]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """A model whose weights follow those of another: after its step n, counted from 1, w <- d w + (1 - d) w'.

    d = min(decay, n / (9 + n)), so that the beginning is forgotten however short the training is. Running statistics
    are averaged alike, whole numbers taken over.
    """

    def follow(averages: TensorList, current: TensorList, before: Tensor | int) -> None:
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, current)
            return
        share = 1 - torch.as_tensor((1 + before) / (10 + before)).clamp(max=decay)  # a tensor: no GPU has to wait
        moves = torch._foreach_sub(current, averages)
        torch._foreach_mul_(moves, share)
        torch._foreach_add_(averages, moves)

    return AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
