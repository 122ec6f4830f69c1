"""What a change in closed form may look at: features of training and validation images, computed when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor

from longtail.counts import ClassCounts, ShotBorders
from longtail.models.heads import Head


class Features(NamedTuple):
    """Features of N images under the trained backbone, without augmentation."""

    values: Tensor  # (N, D) float32
    labels: Tensor  # (N,) int64


@dataclass(frozen=True)
class Evidence:
    """Features by need, and the counts of the classes."""

    counts: ClassCounts
    borders: ShotBorders
    see_train: Callable[[], Features]
    see_validation: Callable[[], Features | None]

    @cached_property
    def train(self) -> Features:
        """Features of the training images."""
        return self.see_train()

    @cached_property
    def validation(self) -> Features | None:
        """Features of the validation images; None where there are none."""
        return self.see_validation()


@dataclass(frozen=True)
class Edited:
    """The head after a change, and how its numbers were chosen."""

    head: Head
    says: str = ""
    """One line for people; empty where there was nothing to choose."""
    record: dict[str, Any] = field(default_factory=dict)
    """The same for the run folder, as JSON."""
