"""One number per class, exact in every dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from longtail.counts import ClassCounts

Counts = ClassCounts | Mapping[Any, int] | ArrayLike  # what ClassCounts.of takes


def loss_dtype(scores: Tensor) -> torch.dtype:
    """In which losses are computed: float64 for scores of it, otherwise float32."""
    return torch.promote_types(scores.dtype, torch.float32)


def at_least_float32(scores: Tensor) -> Tensor:
    """The same numbers in the dtype in which losses are computed."""
    return scores.to(loss_dtype(scores))


class PerClass(nn.Module):
    """Numbers computed once in float64, at hand in the dtype and on the device of the module.

    The buffer follows `.to()`, and is cast anew from float64 each time: float32 in between would cost the
    last digits of a float64 loss.
    """

    number: Tensor

    def __init__(self, numbers: ArrayLike) -> None:
        super().__init__()
        self.exact = torch.tensor(numbers, dtype=torch.float64)  # 0-d (all classes alike) or (C,)
        self.register_buffer("number", self.exact.to(torch.get_default_dtype()), persistent=False)

    @property
    def classes(self) -> int | None:
        """C, or None where one number stands for all classes."""
        return len(self.exact) if self.exact.dim() else None

    def like(self, scores: Tensor) -> Tensor:
        """The numbers, 0-d or (C,), in the dtype of `scores`."""
        return self.number if self.number.dtype == scores.dtype else self.exact.to(scores)

    def __repr__(self) -> str:
        """The number, or how many there are and their range."""
        if self.classes is None:
            return f"{self.exact.item():.4g}"
        return f"{self.classes} classes, {self.exact.min().item():.4g} to {self.exact.max().item():.4g}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PerClass:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.number = self.exact.to(self.number)
        return self
