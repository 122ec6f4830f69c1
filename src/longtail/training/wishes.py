"""What one may ask of a training run, and whether it can be asked for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

from longtail.counts import ShotBorders
from longtail.data.asked import BadImages, Reading, check_bad_images
from longtail.data.loading.holding import Loading
from longtail.errors import LongtailError, unknown
from longtail.samplers import BY_NAME
from longtail.training.published import Numbers


class Wishes(Reading, total=False):
    """What is left out, or None, is chosen by what the images are; every choice is said and recorded."""

    epochs: int | None
    """Epochs of stage one; later stages scale in the recipe's proportion."""
    device: str
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    backbone: str | None
    """`resnet32`, or any name of timm."""
    weights: str | None
    """`pretrained`, `none`, or a safetensors file."""
    image_size: int | None
    """Pixels a side."""
    batch_size: int | None
    """Images a step."""
    lr: float | None
    """Learning rate of stage one after warm-up."""
    numbers: Numbers
    """`paper`, or `code`: whose hyper-parameters a recipe gets where they differ."""
    sampling: str | None
    """Rule by which the first stage samples its images, in the place of the recipe's own."""
    freeze: bool
    """Whether only the head learns, on features of the backbone that are computed once."""
    views: int | None
    """Augmented views of an image whose features are kept for a frozen backbone; 0 computes them anew every epoch."""
    features: str | Path | None
    """Folder of kept features, which runs may share; by default one inside the run folder."""
    loading: Loading
    """`memory` or `decode`: whether images are held in memory; `auto` for whichever suits."""
    workers: int | None
    """Processes that decode images."""
    bad_images: BadImages
    """Images that cannot be decoded: `error` names all and stops, `drop` goes on without them."""
    shot_borders: ShotBorders | tuple[float, float] | None
    """Many has more training images than the first, few has fewer than the second."""


def check_wishes(wishes: Wishes) -> None:
    """Raise LongtailError for a wish that cannot be granted whatever the data are."""
    for name, smallest in (("epochs", 1), ("image_size", 8), ("batch_size", 2), ("views", 0), ("workers", 0)):
        number = wishes.get(name)
        if number is not None and not (isinstance(number, int) and number >= smallest):
            raise LongtailError(f"{_flag(name)} must be a whole number of at least {smallest}, not {number}.")
    lr = wishes.get("lr")
    if lr is not None and not (math.isfinite(lr) and lr > 0):
        raise LongtailError(f"--lr must be a positive number, not {lr}.")
    weights = wishes.get("weights")
    if weights not in {None, "pretrained", "none"} and not Path(str(weights)).is_file():
        raise LongtailError(f"--weights must be pretrained, none, or a safetensors file; there is no file {weights!r}.")
    sampling = wishes.get("sampling")
    if sampling is not None and sampling not in BY_NAME:
        raise unknown("sampling", sampling, BY_NAME)
    if wishes.get("numbers", "paper") not in get_args(Numbers):
        raise unknown("source of numbers", str(wishes["numbers"]), get_args(Numbers))
    check_bad_images(wishes.get("bad_images", "error"))


def borders_of(wishes: Wishes) -> ShotBorders | None:
    """The shot borders asked for."""
    borders = wishes.get("shot_borders")
    return ShotBorders(*borders) if isinstance(borders, tuple) else borders


def folder_of(path: str | Path | None) -> Path | None:
    """A folder that was asked for."""
    return None if path is None else Path(path)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
