"""Decodes an opened image to an array, a JPEG no larger than it is needed, by the fastest decoder there is."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from longtail.data.images.reading import rgb, upright_by

Array = NDArray[np.uint8]

_LARGEST = 64_000_000  # bytes of a file that is read whole


def _fastest() -> Callable[..., Array] | None:
    try:
        from simplejpeg import decode_jpeg
    except (ImportError, OSError, RuntimeError):
        return None
    return cast("Callable[..., Array]", decode_jpeg)


_decode_jpeg = _fastest()


def decode(image: Image.Image) -> Array:
    """An opened image as upright 8-bit RGB, (H, W, 3).

    Where simplejpeg loads, plain JPEGs are decoded by it: the same bits in two thirds of the time. What it frowns at
    is Pillow's to judge, so that the same files are refused with and without it.

    Raises UnreadableImage where decoding fails or the file ends too soon.
    """
    fast = _fast(image)
    return np.asarray(rgb(image)) if fast is None else fast


def jpeg_shrink(have: tuple[float, float], need: tuple[int, int]) -> int:
    """The largest of JPEG's decoding scales at which (width, height) pixels are still no fewer than needed.

    >>> jpeg_shrink((2048, 1536), (224, 224)), jpeg_shrink((300, 400), (224, 224))
    (4, 1)
    """
    spare = min(have[0] / need[0], have[1] / need[1])
    return max(scale for scale in (1, 2, 4, 8) if scale <= max(spare, 1))


def shrink_jpeg(image: Image.Image, shrink: int) -> int:
    """Has an opened JPEG decoded at 1 / `shrink` of its size; returns the fraction taken, 1 for what is no JPEG."""
    if shrink == 1 or image.draft(None, (image.width // shrink, image.height // shrink)) is None:
        return 1
    return shrink


def _fast(image: Image.Image) -> Array | None:
    if _decode_jpeg is None or image.format not in ("JPEG", "MPO") or image.mode != "RGB":
        return None
    content = _content(getattr(image, "fp", None))
    room = np.empty((image.height, image.width, 3), dtype=np.uint8)  # what the header said; more is not written
    try:
        array = _decode_jpeg(content, min_height=image.height, min_width=image.width, buffer=room)
    except (ValueError, TypeError):
        return None
    return upright_by(image, array) if array.shape == room.shape else None


def _content(file: Any) -> bytes:
    """All bytes of a file, none of one that is too large; it stands where it stood before."""
    if file is None:
        return b""
    place = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    content: bytes = file.read() if size <= _LARGEST else b""
    file.seek(place)
    return content
