"""What a loss may look at besides the scores: targets, features, the epoch, random draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from longtail.draws import Draws


class Mixed(NamedTuple):
    """Targets of mixed samples: `share` of the first class, the rest of the second. Both are hard labels."""

    first: Tensor  # (B,) int64
    second: Tensor  # (B,) int64
    share: Tensor  # 0-d or (B,), in [0, 1]


@dataclass(frozen=True)
class Moment:
    """One batch, seen from the loss. What is missing and asked for is a clear ValueError."""

    targets: Tensor  # (B,) int64
    features: Tensor | None = None  # (B, D), input of the classifier
    epoch: Tensor | None = None  # 0-d, counted from 0
    draws: Draws | None = None

    def need_features(self, what: str) -> Tensor:
        """The features, or a ValueError that says who needs them."""
        if self.features is None:
            raise ValueError(f"{what} looks at the features: call criterion(scores, targets, features=...).")
        return self.features

    def need_epoch(self, what: str) -> Tensor:
        """The epoch, or a ValueError that says who needs it."""
        if self.epoch is None:
            raise ValueError(f"{what} changes over the epochs: call criterion(scores, targets, epoch=...).")
        return self.epoch

    def with_targets(self, targets: Tensor) -> Moment:
        """The same moment with other targets."""
        return replace(self, targets=targets)
