"""One number per class, exact in every dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from longtail.counts import ClassCounts

Counts = ClassCounts | Mapping[Any, int] | ArrayLike  # what ClassCounts.of takes


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

    def extra_repr(self) -> str:
        """The numbers, or their number and range where there are many."""
        if self.classes is None:
            return f"{self.exact.item():.6g}"
        if self.classes <= 4:
            return ", ".join(f"{number:.4g}" for number in self.exact.tolist())
        return f"{self.classes} classes, {self.exact.min().item():.4g} to {self.exact.max().item():.4g}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PerClass:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.number = self.exact.to(self.number)
        return self
