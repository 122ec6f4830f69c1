"""Two samples to one: mixup's average, CutMix's pasted box."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from longtail.errors import LongtailError

Blend = Callable[[Tensor, Tensor, float, np.random.Generator], tuple[Tensor, float]]
"""First samples (B, ...), second samples (B, ...), share, generator -> mixed samples, the share that came about."""


def average(
    first: Tensor, second: Tensor, share: float, generator: np.random.Generator | None = None
) -> tuple[Tensor, float]:
    """Mixup's blend of samples (B, ...): share x first + (1 - share) x second. It draws nothing."""
    return share * first + (1 - share) * second, share


def paste(first: Tensor, second: Tensor, share: float, generator: np.random.Generator) -> tuple[Tensor, float]:
    """CutMix's blend of images (B, ..., H, W): a box of the second, at the same place in the whole batch."""
    if first.dim() < 3:
        raise LongtailError("CutMix pastes boxes of images; features have none, so give --views 0, or mixup instead.")
    height, width = first.shape[-2:]
    rows, columns = _side(height, share, generator), _side(width, share, generator)
    mixed = first.clone()
    mixed[..., rows, columns] = second[..., rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (height * width)


def _side(length: int, share: float, generator: np.random.Generator) -> slice:
    """One side of the box: sqrt(1 - share) of the length, cut off at the border."""
    half = int(length * (1 - share) ** 0.5) // 2
    centre = int(generator.integers(length))
    return slice(max(centre - half, 0), min(centre + half, length))
