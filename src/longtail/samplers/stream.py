"""A sampling rule as a plain PyTorch sampler."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike
from torch.utils.data import Sampler

from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.samplers.index import LabelIndex
from longtail.samplers.sampling import Sampling

_BLOCK = 1 << 16  # positions drawn at a time: fewer wait for memory, more fall out of the cache


class LongTailSampler(Sampler[int]):
    """Indices for any DataLoader: `DataLoader(data, sampler=LongTailSampler(labels, cben(), epochs=30))`.

    Call `set_epoch` before each epoch. Rank r of W yields positions r, r + W, r + 2W, ... of the epoch: the
    ranks together draw exactly what one process draws. (Where W does not divide the length, the first ranks
    draw one more; give a length that it divides if they must keep step.) The whole state is one integer,
    `start`.

    Args:
        labels: class index of each image, (N,), or their `LabelIndex`.
        sampling: the rule.
        epochs: how many there are, for rules that change over them.
        seed: of the draws.
        rank: of this process, counted from 0.
        world_size: number of processes, W.
        start: draws to leave out, of all ranks and epochs: epochs done x length + steps done x batch size
            x W.
        length: draws an epoch, of all ranks; as many as there are images where None.

    Raises:
        LongtailError: a rank outside the world, no epoch, no draw, or a start below 0.

    >>> from longtail.samplers import class_balanced
    >>> whole = LongTailSampler([0, 0, 0, 1], class_balanced(), epochs=2)
    >>> resumed = LongTailSampler([0, 0, 0, 1], class_balanced(), epochs=2, start=3)
    >>> list(whole)[3:] == list(resumed)
    True
    """

    def __init__(
        self,
        labels: ArrayLike | LabelIndex,
        sampling: Sampling,
        *,
        epochs: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        length: int | None = None,
    ) -> None:
        self.index = labels if isinstance(labels, LabelIndex) else LabelIndex.of(labels)
        self.length = len(self.index) if length is None else length
        if not 0 <= rank < world_size:
            raise LongtailError(f"Rank {rank} is outside a world of {world_size} processes; ranks count from 0.")
        if epochs < 1 or self.length < 1 or start < 0:
            raise LongtailError(
                "Sampling needs at least 1 epoch of at least 1 draw, and a start of at least 0; "
                f"not {epochs} epochs of {self.length} draws from {start}."
            )
        self.sampling = sampling
        self.key = Key.of_seed(seed).at("sampler")
        self.epochs, self.rank, self.world_size, self.start = epochs, rank, world_size, start
        self.epoch = start // self.length

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration draws, counted from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        # A loop of our own around the blocks would double the time.
        return chain.from_iterable(self._blocks(self.epoch, self._positions()))

    def __len__(self) -> int:
        """Draws of this rank that this epoch still has."""
        return len(self._positions())

    def _blocks(self, epoch: int, positions: range) -> Iterator[list[int]]:
        for first in range(0, len(positions), _BLOCK):
            block = positions[first : first + _BLOCK]
            places = np.arange(block.start, block.stop, block.step)
            yield self.sampling.indices(self.index, self.key, epoch, self.epochs, places).tolist()

    def _positions(self) -> range:
        """The positions of this rank in this epoch."""
        done = min(max(self.start - self.epoch * self.length, 0), self.length)
        return range(done + self.rank, self.length, self.world_size)
