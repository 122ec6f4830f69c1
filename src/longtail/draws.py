"""Random numbers as functions of where they are used, so that there is no generator state to keep.

A `Key` names a place (seed, stage, epoch, purpose); `Draws` are the numbers of one batch, row by row: row i depends on
the key and on the position of its sample in the epoch's order, and on nothing else. Slicing a batch over processes
or workers, resuming in mid-epoch or drawing in another order so gives the same numbers.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

Word = TypeVar("Word", int, Tensor)  # 64 bits, signed


@dataclass(frozen=True)
class Key:
    """A place where random numbers are used.

    >>> Key.of_seed(0).at("epoch", 3) == Key.of_seed(0).at("epoch", 3)
    True
    """

    value: int  # 63 bits, so that it fits a signed tensor

    @classmethod
    def of_seed(cls, seed: int) -> Key:
        """The key of a whole run."""
        return cls(0).at("seed", seed)

    def at(self, *path: str | int) -> Key:
        """The key of a place inside this one; different paths are independent."""
        text = repr((self.value, *path)).encode()
        return Key(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1)

    def generator(self) -> np.random.Generator:
        """A generator for draws that are made once: the order of an epoch, a mixing share."""
        return np.random.Generator(np.random.Philox(self.value))

    def draws(self, positions: Tensor) -> Draws:
        """The draws of the samples at `positions` (B,) int64 of an epoch's order."""
        return HashedDraws(torch.tensor(self.value), positions)


class Draws(ABC):
    """The random numbers of one batch. Equal (purpose, row) gives equal numbers; different purposes are independent."""

    @abstractmethod
    def uniform(self, like: Tensor, purpose: str) -> Tensor:
        """Uniform on [0, 1), one number per entry of `like` (B, ...), in its dtype (at least float32) and device."""

    @abstractmethod
    def normal(self, like: Tensor, purpose: str) -> Tensor:
        """Standard normal, one number per entry of `like` (B, ...)."""

    @abstractmethod
    def half_normal(self, like: Tensor, purpose: str) -> Tensor:
        """The absolute value of a standard normal, one number per entry of `like` (B, ...)."""

    @abstractmethod
    def of(self, purpose: str) -> Draws:
        """An independent set of draws for the same rows."""

    @abstractmethod
    def rows(self, rows: slice) -> Draws:
        """The draws of some rows of the batch: slicing and drawing commute."""

    @abstractmethod
    def then(self, other: Self) -> Self:
        """The draws of these rows and, behind them, of the other rows: joining and drawing commute."""


@dataclass(frozen=True)
class HashedDraws(Draws):
    """Draws by a counter hash: 64 bits mix key, purpose and position into a row, one product spreads them over it.

    The entry in column j is the top of a h_j + b (mod 2^32), with a and b from the row's bits and h_j a hash of the
    column: two entries of a row, and two of a column, are as good as independent. Normals are looked up in a table
    of 4,096 quantiles, which ends at 3.8 deviations. On one thread it takes about half of torch.randn's time, and a
    compiled step draws the same bits.
    """

    key: Tensor  # int64, 0-d or (B,): a Python number would recompile a compiled step every time it changes
    positions: Tensor  # (B,) int64

    def uniform(self, like: Tensor, purpose: str) -> Tensor:
        return self._bits(like, purpose, 24).to(_drawn_dtype(like)) * 2.0**-24

    def normal(self, like: Tensor, purpose: str) -> Tensor:
        bits = self._bits(like, purpose, _TABLE_BITS + 1)
        sign = 1 - 2 * (bits & 1)
        return _half_normal(bits >> 1, like) * sign

    def half_normal(self, like: Tensor, purpose: str) -> Tensor:
        return _half_normal(self._bits(like, purpose, _TABLE_BITS), like)

    def of(self, purpose: str) -> HashedDraws:
        return HashedDraws(_inside(self.key, purpose), self.positions)

    def rows(self, rows: slice) -> HashedDraws:
        return HashedDraws(self.key[rows] if self.key.dim() else self.key, self.positions[rows])

    def then(self, other: Self) -> Self:
        keys = [draws.key.to(draws.positions.device).expand_as(draws.positions) for draws in (self, other)]
        return replace(self, key=torch.cat(keys), positions=torch.cat([self.positions, other.positions]))

    def _bits(self, like: Tensor, purpose: str, bits: int) -> Tensor:
        """Random numbers of so many bits, one per entry of `like`, int32."""
        row = _mix64(_inside(self.key, purpose) + self.positions * _GOLDEN_64)
        factor, offset = row.to(torch.int32) | 1, (row >> 32).to(torch.int32)
        columns = _kept(_columns, math.prod(like.shape[1:]), like.device)
        words = (factor[:, None] * columns).add_(offset[:, None])
        return words.bitwise_right_shift_(32 - bits).bitwise_and_(2**bits - 1).reshape(like.shape)


_TABLE_BITS = 12
_GOLDEN_64 = -7046029254386353131  # 2^64 / golden ratio, as a signed number: the increment of splitmix64
_GOLDEN_32 = -1640531527  # 2^32 / golden ratio


def _drawn_dtype(like: Tensor) -> torch.dtype:
    return torch.promote_types(like.dtype if like.is_floating_point() else torch.float32, torch.float32)


def _half_normal(index: Tensor, like: Tensor) -> Tensor:
    table = _kept(_quantiles, like.device)
    return table.index_select(0, index.reshape(-1)).reshape(index.shape).to(_drawn_dtype(like))


def _quantiles(device: torch.device) -> Tensor:
    return _QUANTILES.to(device)


# The quantiles of |N(0, 1)| at the middles of equal steps. Made at import, since a compiler that saw how they are made
# would make them anew for every entry; and not by torch, whose threads would not outlive a fork of the process.
_QUANTILES = torch.tensor(
    [NormalDist().inv_cdf(0.5 + (step + 0.5) / 2 ** (_TABLE_BITS + 1)) for step in range(2**_TABLE_BITS)],
    dtype=torch.float32,
)


def _columns(number: int, device: torch.device) -> Tensor:
    """h_j, (C,) int32: scattered over all 32 bits."""
    return _mix32(torch.arange(1, number + 1, dtype=torch.int32, device=device) * _GOLDEN_32)


def _kept(make: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """What `make` makes, once in eager mode; a compiled step makes it anew, and so fuses it."""
    if torch.compiler.is_compiling():
        return make(*arguments)
    place = (make, *arguments)
    if place not in _KEPT:
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.clear()
        _KEPT[place] = make(*arguments)
    return _KEPT[place]


_KEPT: dict[tuple[Any, ...], Tensor] = {}
_MOST_KEPT = 32


def _word(purpose: str) -> int:
    """63 bits of a name: FNV-1a, in plain arithmetic that a compiled step can trace."""
    word = 0xCBF29CE484222325
    for letter in purpose.encode():
        word = (word ^ letter) * 0x100000001B3 % 2**64
    return word >> 1


def _inside(key: Tensor, purpose: str) -> Tensor:
    """The keys of a purpose. One number is mixed by Python in a tenth of the time of a dozen steps on a 0-d tensor."""
    word = _word(purpose)
    if key.dim() or key.device.type != "cpu" or torch.compiler.is_compiling():
        return _mix64(key ^ word)
    return torch.tensor(_mix64(int(key) ^ word))


def _mix64(word: Word) -> Word:
    """Finaliser of splitmix64 (Steele, Lea and Flood, 2014); `>>` is arithmetic on signed numbers, hence the masks."""
    word = _signed64((word ^ ((word >> 30) & 0x3FFFFFFFF)) * -4658895280553007687)
    word = _signed64((word ^ ((word >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685)
    return word ^ ((word >> 31) & 0x1FFFFFFFF)


def _signed64(word: Word) -> Word:
    """The last 64 bits, which is all that a tensor has."""
    return word if isinstance(word, Tensor) else (word + 2**63) % 2**64 - 2**63


def _mix32(word: Tensor) -> Tensor:
    """Finaliser of MurmurHash3 (Appleby, 2011), in place."""
    word ^= (word >> 16) & 0xFFFF
    word *= -2048144789
    word ^= (word >> 13) & 0x7FFFF
    word *= -1028477387
    word ^= (word >> 16) & 0xFFFF
    return word
