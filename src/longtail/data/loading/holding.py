"""Whether the images of a part are held in memory or decoded each time: what suits, and what was asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from longtail.data.augmenting.augmentation import Chain
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.parts import Part
from longtail.data.pixels import InMemory
from longtail.errors import LongtailError, unknown

Loading = Literal["auto", "memory", "decode"]

SMALL_SIDE = 64  # pixels; without being asked, nothing larger is held
SHARE = 0.25  # of the memory, which part, model and gradients share

_MEGABYTE = 10**6


@dataclass(frozen=True)
class Holding:
    """How a loader comes by its images."""

    held: bool  # all of them in memory, as one tensor on the device
    native: bool  # they lie in memory at the model's size as it is
    kept: bool  # decoded ones are kept in a folder
    line: str  # for people


def holding_for(
    part: Part,
    preprocessing: Preprocessing,
    augmentation: Chain,
    loading: Loading,
    cache: Path | None,
    device: torch.device,
) -> Holding:
    """What `loading` comes to for these images.

    Raises LongtailError where "memory" cannot be: windows are cut out of each image before it has the model's size, or
    there is not enough of it.
    """
    if loading not in get_args(Loading):
        raise unknown("way of loading", loading, get_args(Loading))
    height, width = preprocessing.size
    needed, room = len(part) * 3 * height * width, _room(device)
    in_memory = isinstance(part.pixels, InMemory)
    native = in_memory and part.pixels.size == preprocessing.size and preprocessing.crop_fraction == 1
    small = native or max(height, width) <= SMALL_SIDE
    if loading == "memory":
        _check_can_hold(augmentation, needed, room)
    held = loading == "memory" or (loading == "auto" and augmentation.of_image is None and small and needed <= room)
    if held:
        line = f"Images held in memory on {device} ({needed / _MEGABYTE:.0f} MB), augmented a batch at a time"
        return Holding(True, native, False, line)
    if cache is not None and not in_memory:
        return Holding(
            False,
            native,
            True,
            f"Images decoded once and kept at a smaller size in {cache}, which windows are cut from",
        )
    return Holding(False, native, False, "Images decoded anew in every epoch, JPEGs no larger than needed")


def _check_can_hold(augmentation: Chain, needed: int, room: int) -> None:
    if augmentation.of_image is not None:
        raise LongtailError(
            f"{type(augmentation.of_image).__name__} cuts windows out of the files, which "
            "--loading memory does not hold; give --loading decode, and --cache DIR to spare the decoding."
        )
    if needed > room:
        raise LongtailError(
            f"The images take {needed / _MEGABYTE:.0f} MB at the model's size, more than a quarter of the memory "
            f"({room / _MEGABYTE:.0f} MB); give --loading decode, or a smaller --image-size."
        )


def _room(device: torch.device) -> int:
    """Bytes that images may fill."""
    if device.type == "cuda":
        return int(SHARE * torch.cuda.mem_get_info(device)[1])
    try:
        return int(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # no such question on this system
        return int(SHARE * 8 * 10**9)
