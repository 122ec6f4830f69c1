"""Small image files that the tests of the data room make."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


def noise(seed: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    """A picture of smooth noise, so that JPEG keeps it about as it is; `size` is (width, height)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes class folders of images: {"cat": 3, "train/dog": ["a.jpg", "b.PNG"]}; numbers become PNG names."""

    def make(
        content: Mapping[str, int | Sequence[str]], root: Path = tmp_path / "photos", size: tuple[int, int] = (20, 16)
    ) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        for folder, names in content.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for name in [f"{i:03}.png" for i in range(names)] if isinstance(names, int) else names:
                noise(zlib.crc32(name.encode()), size).save(root / folder / name)
        return root

    return make
