"""Puts parts together that may lie in different places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from longtail.data.parts import Part
from longtail.data.pixels import Files, InMemory, Pixels


@dataclass(frozen=True, eq=False)
class Joined(Pixels):
    """The images of several `Pixels`, one after the other."""

    pieces: tuple[Pixels, ...]
    piece: NDArray[np.int64]  # (N,) of `pieces`
    indices: NDArray[np.int64]  # (N,) within the piece

    @property
    def size(self) -> tuple[int, int] | None:
        sizes = {self.pieces[piece].size for piece in np.unique(self.piece)}
        return sizes.pop() if len(sizes) == 1 else None

    def __len__(self) -> int:
        return len(self.piece)

    def open(self, index: int) -> Image.Image:
        return self._pixels(index).open(int(self.indices[index]))

    def mark(self, index: int) -> str:
        return self._pixels(index).mark(int(self.indices[index]))

    def content(self, index: int) -> bytes:
        return self._pixels(index).content(int(self.indices[index]))

    def digest(self, index: int) -> bytes:
        return self._pixels(index).digest(int(self.indices[index]))

    def subset(self, indices: NDArray[np.int64]) -> Joined:
        return replace(self, piece=self.piece[indices], indices=self.indices[indices])

    def _pixels(self, index: int) -> Pixels:
        return self.pieces[int(self.piece[index])]


def joined(parts: Sequence[Part]) -> Part:
    """All images of the parts, one part after the other."""
    identities = tuple(identity for part in parts for identity in part.identities)
    return Part(np.concatenate([part.labels for part in parts]), identities, _joined([part.pixels for part in parts]))


def _joined(pieces: Sequence[Pixels]) -> Pixels:
    held = [piece for piece in pieces if isinstance(piece, InMemory)]
    if len(held) == len(pieces) and len({piece.size for piece in held}) == 1:
        return InMemory(torch.cat([piece.images for piece in held]))
    files = [piece for piece in pieces if isinstance(piece, Files)]
    if len(files) == len(pieces) and len({(piece.root, piece.common_size) for piece in files}) == 1:
        names = tuple(name for piece in files for name in piece.names)
        return replace(files[0], names=names, lengths=np.concatenate([piece.lengths for piece in files]))
    lengths = [len(piece) for piece in pieces]
    return Joined(
        tuple(pieces),
        np.repeat(np.arange(len(pieces)), lengths),
        np.concatenate([np.arange(length) for length in lengths]),
    )
