"""Where the pixels of a part lie: in memory as one tensor, or in files that are decoded when needed."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from longtail.data.images.reading import open_image, read_bytes

DIGEST_BYTES = 16


class Pixels(ABC):
    """The images of a part by index 0 .. N-1. Other forms of data are further subclasses."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int] | None:
        """(height, width) where all images have one size, else None."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def open(self, index: int) -> Image.Image:
        """Image `index`, header read, nothing decoded, as a context manager. Raises UnreadableImage."""

    @abstractmethod
    def mark(self, index: int) -> str:
        """What the fingerprint says of image `index` beside its identity."""

    @abstractmethod
    def content(self, index: int) -> bytes:
        """The bytes of image `index` as they are kept, none decoded. Raises UnreadableImage."""

    @abstractmethod
    def digest(self, index: int) -> bytes:
        """`DIGEST_BYTES` bytes that name image `index` here; another image, or a file that changed, has others."""

    @abstractmethod
    def subset(self, indices: NDArray[np.int64]) -> Pixels:
        """The images at `indices`, in that order."""


@dataclass(frozen=True, eq=False)
class InMemory(Pixels):
    """Images as one uint8 tensor (N, 3, H, W)."""

    images: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.images.shape[2], self.images.shape[3]

    def __len__(self) -> int:
        return len(self.images)

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index].permute(1, 2, 0).contiguous().numpy())

    def mark(self, index: int) -> str:
        return ""

    def content(self, index: int) -> bytes:
        return self.images[index].contiguous().numpy().tobytes()

    def digest(self, index: int) -> bytes:
        pixels = self.images[index].contiguous().numpy()
        return short_hash(f"{pixels.shape}".encode(), pixels.tobytes())

    def subset(self, indices: NDArray[np.int64]) -> InMemory:
        return InMemory(self.images[indices])


@dataclass(frozen=True, eq=False)
class Files(Pixels):
    """Image files: `names` relative to `root`, their lengths in bytes, the (height, width) that all of them have."""

    root: Path
    names: tuple[str, ...]
    lengths: NDArray[np.int64]
    common_size: tuple[int, int] | None

    @property
    def size(self) -> tuple[int, int] | None:
        return self.common_size

    def __len__(self) -> int:
        return len(self.names)

    def open(self, index: int) -> Image.Image:
        return open_image(self.root / self.names[index])

    def mark(self, index: int) -> str:
        return f"{self.lengths[index]} bytes"

    def content(self, index: int) -> bytes:
        return read_bytes(self.root / self.names[index])

    def digest(self, index: int) -> bytes:
        path = (self.root / self.names[index]).resolve()
        status = path.stat() if path.exists() else None  # a file that is gone is told of by whoever opens it
        state = (status.st_size, status.st_mtime_ns) if status else None
        return short_hash(os.fsencode(path), repr(state).encode())

    def subset(self, indices: NDArray[np.int64]) -> Files:
        return Files(self.root, tuple(self.names[i] for i in indices), self.lengths[indices], self.common_size)


def short_hash(*parts: bytes) -> bytes:
    """`DIGEST_BYTES` bytes that are different for different parts."""
    return hashlib.blake2b(b"\0".join(parts), digest_size=DIGEST_BYTES).digest()
