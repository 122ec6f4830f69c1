"""Where the pixels of a part lie: in memory as one tensor, or in files that are decoded when needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from longtail.data.reading import open_image


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

    def subset(self, indices: NDArray[np.int64]) -> InMemory:
        return InMemory(self.images[indices])


@dataclass(frozen=True, eq=False)
class Files(Pixels):
    """Image files: `names` relative to `root`, their bytes, the (height, width) that all of them have."""

    root: Path
    names: tuple[str, ...]
    bytes: NDArray[np.int64]
    common_size: tuple[int, int] | None

    @property
    def size(self) -> tuple[int, int] | None:
        return self.common_size

    def __len__(self) -> int:
        return len(self.names)

    def open(self, index: int) -> Image.Image:
        return open_image(self.root / self.names[index])

    def mark(self, index: int) -> str:
        return f"{self.bytes[index]} bytes"

    def subset(self, indices: NDArray[np.int64]) -> Files:
        return Files(self.root, tuple(self.names[i] for i in indices), self.bytes[indices], self.common_size)
