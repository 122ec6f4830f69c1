"""Whether keeping decoded images would pay, and what it would cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import numpy as np
from PIL import Image

from longtail.data.augmenting.augmentation import RandomResizedCropFlip
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import UnreadableImage
from longtail.data.parts import Part
from longtail.data.pixels import InMemory
from longtail.text import counted

_LOOKED_AT = 12  # images
_WORTHWHILE = 3  # times as fast
_SLOW = 60.0  # seconds an epoch; below that nobody waits
_ON_DISK = 2e-9  # seconds a byte to read back: half a gigabyte a second
_NUMBERS = [0.5] * RandomResizedCropFlip.numbers  # a window of middling size


def advice(part: Part, preprocessing: Preprocessing) -> str | None:
    """A sentence on `--cache` where decoding a part takes long and keeping its images would help; else None.

    A dozen images are decoded, as training does it, from their files and from images of the size that would be kept;
    times are of one process. Nothing is written.
    """
    if isinstance(part.pixels, InMemory) or not len(part):
        return None
    decoding, kept, sizes = [], [], []
    for index in np.linspace(0, len(part) - 1, min(_LOOKED_AT, len(part)), dtype=int).tolist():
        with suppress(UnreadableImage):
            small = _small(part, index, preprocessing)
            length = small.width * small.height * 3
            decoding.append(_seconds(partial(_from_file, part, index, preprocessing)))
            kept.append(_seconds(partial(_crop, small, preprocessing)) + _ON_DISK * length)
            sizes.append(length)
    if not sizes:
        return None
    now, then = (len(part) * float(np.median(times)) for times in (decoding, kept))
    if now < _SLOW or now < _WORTHWHILE * then:
        return None
    room = len(part) * float(np.mean(sizes)) / 1e9
    return (
        f"Decoding {counted(len(part), 'image')} takes a process about {_duration(now)} an epoch; --cache DIR would "
        f"keep them at a smaller size, {room:.1f} GB, and take {_duration(then)} from the second epoch on."
    )


def _small(part: Part, index: int, preprocessing: Preprocessing) -> Image.Image:
    with part.pixels.open(index) as image:
        return preprocessing.covering(image)


def _from_file(part: Part, index: int, preprocessing: Preprocessing) -> None:
    with part.pixels.open(index) as image:
        _crop(image, preprocessing)


def _crop(image: Image.Image, preprocessing: Preprocessing) -> None:
    RandomResizedCropFlip()(image, _NUMBERS, preprocessing)


def _seconds(run: Callable[[], None]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
