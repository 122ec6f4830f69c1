"""A sampling rule as a plain PyTorch sampler."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from torch.utils.data import Sampler

from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.samplers.index import LabelIndex
from longtail.samplers.sampling import Sampling

# Positions drawn at a time. Fewer wait for memory at every draw, more fall out of the cache.
_BLOCK = 1 << 16


class LongTailSampler(Sampler[int]):
    """Indices for any DataLoader: `DataLoader(data, sampler=LongTailSampler(labels, cben(), seed=0, epochs=30))`.

    Call `set_epoch` before each epoch. All epochs are one stream of epochs x length draws, and rank r of W
    yields positions r, r + W, r + 2 W, ... of an epoch, so that the ranks together draw what one process
    draws; with a length that W does not divide, the first ranks draw one more. The whole state is one
    integer, `start`.

    Args:
        labels: class of each image (N,), or their `LabelIndex`. sampling: the rule. seed: of the draws.
        epochs: epochs in all, which progressive rules look at. rank: of this process, from 0. world_size:
        number of processes, W. start: draws of all ranks before an interruption: epochs done x length + steps
        done x batch size x W. Whatever
            lies before is left out.
        length: draws an epoch, of all ranks; one for every image where None.

    Raises LongtailError for a rank outside the world, or fewer than one epoch or draw.

    >>> from longtail.samplers import class_balanced
    >>> whole = LongTailSampler([0, 0, 0, 1], class_balanced(), seed=0, epochs=2)
    >>> later = LongTailSampler([0, 0, 0, 1], class_balanced(), seed=0, epochs=2, start=3)
    >>> list(whole)[3:] == list(later)
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
            raise LongtailError(f"Rank {rank} is outside a world of {world_size}; ranks count from 0.")
        if epochs < 1 or self.length < 1 or start < 0:
            raise LongtailError(
                f"Sampling needs at least one epoch and one draw, from a start of 0 or more; "
                f"not epochs {epochs}, length {self.length}, start {start}."
            )
        self.sampling = sampling
        self.key = Key.of_seed(seed)
        self.epochs, self.rank, self.world_size, self.start = epochs, rank, world_size, start
        self.epoch = start // self.length

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration draws, counted from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        positions = self._positions()
        for first in range(0, len(positions), _BLOCK):
            block = positions[first : first + _BLOCK]
            places = np.arange(block.start, block.stop, block.step)
            yield from self.sampling.indices(self.index, self.key, self.epoch, self.epochs, places).tolist()

    def __len__(self) -> int:
        """Draws of this rank that are left in this epoch."""
        return len(self._positions())

    def _positions(self) -> range:
        done = min(max(self.start - self.epoch * self.length, 0), self.length)
        return range(self.length)[done:][self.rank :: self.world_size]
