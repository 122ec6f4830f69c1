"""What a loss may look at besides the scores: targets, features, the epoch, random draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from longtail.draws import Draws
from longtail.errors import LongtailError


class Mixed(NamedTuple):
    """Targets of mixed samples: `share` of the first class, the rest of the second. Both are hard labels."""

    first: Tensor  # (B,) int64
    second: Tensor  # (B,) int64
    share: Tensor  # 0-d or (B,), in [0, 1]

    def rows(self, rows: slice) -> Mixed:
        """The targets of some rows of the batch."""
        share = self.share[rows] if self.share.dim() else self.share
        return Mixed(self.first[rows], self.second[rows], share)


@dataclass(frozen=True)
class Moment:
    """One batch, seen from the loss. What is missing and asked for is a LongtailError, which is a ValueError."""

    targets: Tensor | Mixed  # (B,) int64
    features: Tensor | None = None  # (B, D), input of the classifier
    epoch: Tensor | None = None  # 0-d, counted from 0
    draws: Draws | None = None

    @property
    def labels(self) -> Tensor:
        """The hard targets (B,); of mixed ones the first."""
        return self.targets.first if isinstance(self.targets, Mixed) else self.targets

    def need_features(self, who: str) -> Tensor:
        """The features, or an error that says who needs them."""
        if self.features is None:
            raise LongtailError(f"{who} looks at the features: call criterion(scores, targets, features=...).")
        return self.features

    def need_epoch(self, who: str) -> Tensor:
        """The epoch, or an error that says who needs it."""
        if self.epoch is None:
            raise LongtailError(f"{who} changes over the epochs: call criterion(scores, targets, epoch=...).")
        return self.epoch

    def need_draws(self, who: str) -> Draws:
        """The random draws, or an error that says who needs them."""
        if self.draws is None:
            raise LongtailError(f"{who} draws random numbers: call criterion(...), or give the Moment draws.")
        return self.draws

    def with_targets(self, targets: Tensor | Mixed, purpose: str) -> Moment:
        """The same moment with other targets and, for them, other draws."""
        draws = None if self.draws is None else self.draws.of(purpose)
        return replace(self, targets=targets, draws=draws)

    def then(self, other: Moment) -> Moment:
        """The moment of these rows and, behind them, of other rows of the epoch; both have hard targets."""
        known = self.features is not None and other.features is not None
        features = torch.cat([self.need_features("then"), other.need_features("then")]) if known else None
        draws = None if self.draws is None or other.draws is None else self.draws.then(other.draws)
        return Moment(torch.cat([self.labels, other.labels]), features, self.epoch, draws)

    def rows(self, rows: slice) -> Moment:
        """The moment of some rows of the batch."""
        targets = self.targets.rows(rows) if isinstance(self.targets, Mixed) else self.targets[rows]
        features = None if self.features is None else self.features[rows]
        draws = None if self.draws is None else self.draws.rows(rows)
        return Moment(targets, features, self.epoch, draws)
