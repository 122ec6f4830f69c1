"""What an image file may claim before anything of it is decoded: a few bytes can unfold to gigabytes or hours."""

from __future__ import annotations

import os
from functools import cache
from typing import BinaryIO

from PIL import Image

from longtail.errors import LongtailError

MEGAPIXELS = 64
MOST_MEGAPIXELS = 178  # where Pillow itself gives up
MEGAPIXELS_VARIABLE = "LONGTAIL_MEGAPIXELS"
SCANS = 100  # of a progressive JPEG, which has about ten; each goes over the whole picture


@cache
def pixel_limit() -> int:
    """The most pixels that an image may have: 64 million, or what the environment says.

    Raises LongtailError where that is no number of megapixels from 1 to `MOST_MEGAPIXELS`.
    """
    words = os.environ.get(MEGAPIXELS_VARIABLE, str(MEGAPIXELS))
    if not words.isdecimal() or not 1 <= int(words) <= MOST_MEGAPIXELS:
        raise LongtailError(f"{MEGAPIXELS_VARIABLE} must be a whole number from 1 to {MOST_MEGAPIXELS}, not {words!r}.")
    return 1_000_000 * int(words)


def limit_in_words() -> str:
    """The limit, and how to set another."""
    return f"the limit is {pixel_limit() // 1_000_000} megapixels, {MEGAPIXELS_VARIABLE} sets another"


def objection(image: Image.Image) -> str | None:
    """Why an opened image is not to be decoded; None where it may be."""
    width, height = image.size
    if width * height > pixel_limit():
        return f"too large ({width} x {height} pixels; {limit_in_words()})"
    if "progressive" in image.info and _scans(image) > SCANS:
        return f"too many scans (a progressive JPEG may have {SCANS})"
    return None


def _scans(image: Image.Image) -> int:
    """How often the marker of a scan stands in the file; its two bytes never follow one another among pixels."""
    file: BinaryIO = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    file.seek(0)
    count = file.read().count(b"\xff\xda")
    file.seek(place)
    return count
