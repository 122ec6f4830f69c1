"""How the rows of a batch are divided: into pieces that go through the network in turn, and among processes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longtail.world import ALONE, World


class Piece(NamedTuple):
    """Some rows of a batch."""

    size: int
    """Rows of each sampling."""
    rows: slice
    """Which rows of the batch they are."""
    held: slice
    """Where those that this process takes through the network lie among all that it does."""


@dataclass(frozen=True)
class Pieces:
    """The division of every batch of a stage: `groups` times `batch_size` rows, one sampling after the other.

    Each process takes its share of every piece. Only a batch of one group is divided into pieces.
    """

    batch_size: int
    groups: int = 1
    number: int = 1
    world: World = ALONE

    @cached_property
    def own(self) -> NDArray[np.int64]:
        """The rows of a batch that this process takes through the network, piece after piece."""
        first = np.concatenate([part[self.world.rows(len(part))] for part in self._parts])
        return np.concatenate([first + group * self.batch_size for group in range(self.groups)])

    @cached_property
    def all(self) -> tuple[Piece, ...]:
        """The pieces of a batch."""
        if self.number == 1:
            return (Piece(self.batch_size, slice(None), slice(None)),)
        pieces, end = [], 0
        for part in self._parts:
            begin, end = end, end + len(part[self.world.rows(len(part))])
            pieces.append(Piece(len(part), slice(part[0], part[-1] + 1), slice(begin, end)))
        return tuple(pieces)

    def together(self, own: Tensor, piece: Piece | None = None) -> Tensor:
        """The features of a piece, or of a whole batch, from those of the rows that this process took care of."""
        return self.world.together(own, piece.size if piece else self.batch_size)

    @property
    def _parts(self) -> list[NDArray[np.int64]]:
        return np.array_split(np.arange(self.batch_size), self.number)
