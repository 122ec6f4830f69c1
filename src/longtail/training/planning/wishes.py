"""What one may ask of a training run, and whether it can be asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from longtail.counts import ShotBorders
from longtail.data.asked import BadImages, Reading, check_bad_images
from longtail.data.loading.holding import Loading
from longtail.errors import LongtailError, unknown
from longtail.samplers import BY_NAME
from longtail.training.compiling import Compile
from longtail.training.engine import Precision
from longtail.training.planning.decays import DECAYS
from longtail.training.planning.published import Numbers
from longtail.training.planning.settings import Algorithm


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
    optimizer: Algorithm | None
    """`sgd` with momentum, or `adamw`, which has a learning rate and a weight decay of its own."""
    weight_decay: float | None
    """Weight decay of the optimiser."""
    backbone_lr: float | None
    """Learning rate of the backbone, as a factor on that of the head."""
    schedule: str | None
    """`cosine`, `steps` or `constant`: how the learning rate of stage one falls."""
    warm_up: int | None
    """Epochs of stage one over which its learning rate rises first."""
    clip: float | None
    """The largest norm of the gradient, in every stage."""
    accumulate: int | None
    """In how many pieces a batch is taken, in every stage, for the memory of one of them."""
    ema: float | None
    """Decay a step of an exponential moving average of the weights, which every stage then ends in."""
    precision: Precision
    """`float32` or `bfloat16`, in which the network trains; `auto` for bfloat16 where the hardware is fast at it."""
    compile: Compile | None
    """Whether a backbone that learns is compiled: `on`, `off`, or `auto` for where that pays."""
    sync_bn: bool
    """Whether batch norm's statistics are those of the batch of all processes; else each has its own."""
    checkpoint_every: float
    """Seconds between two checkpoints; 0 writes one after every step."""
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


WHOLE = {"epochs": 1, "image_size": 8, "batch_size": 2, "warm_up": 0, "accumulate": 1, "views": 0, "workers": 0}
"""Wishes that are whole numbers, and the smallest."""
POSITIVE = ("lr", "backbone_lr", "clip")
NOT_NEGATIVE = ("weight_decay", "checkpoint_every")
CHOICES: dict[str, tuple[str, Iterable[str]]] = {
    "sampling": ("sampling", BY_NAME),
    "numbers": ("source of numbers", get_args(Numbers)),
    "optimizer": ("optimiser", get_args(Algorithm)),
    "schedule": ("schedule", DECAYS),
    "compile": ("way to compile", get_args(Compile)),
    "precision": ("precision", get_args(Precision)),
}
"""Wishes that are one of several names, and what these are called."""


def check_wishes(wishes: Wishes) -> None:
    """Raise LongtailError for a wish that cannot be granted whatever the data are."""
    given: dict[str, Any] = {name: wish for name, wish in wishes.items() if wish is not None}
    _check_numbers(given)
    for name, (kind, names) in CHOICES.items():
        if name in given and given[name] not in names:
            raise unknown(kind, str(given[name]), names)
    check_bad_images(given.get("bad_images", "error"))
    weights = str(given.get("weights", "none"))
    if weights not in {"pretrained", "none"} and not Path(weights).is_file():
        raise LongtailError(f"--weights must be pretrained, none, or a safetensors file; there is no file {weights!r}.")
    if given.get("freeze") and "backbone_lr" in given:
        raise LongtailError("--freeze keeps the backbone as it is; leave --backbone-lr away.")


def _check_numbers(given: Mapping[str, Any]) -> None:
    for name, smallest in WHOLE.items():
        number = given.get(name, smallest)
        if not (isinstance(number, int) and number >= smallest):
            raise LongtailError(f"{_flag(name)} must be a whole number of at least {smallest}, not {number}.")
    for name in POSITIVE:
        if not 0 < given.get(name, 1) < math.inf:
            raise LongtailError(f"{_flag(name)} must be a positive number, not {given[name]}.")
    for name in NOT_NEGATIVE:
        if not 0 <= given.get(name, 0) < math.inf:
            raise LongtailError(f"{_flag(name)} must be a number of at least 0, not {given[name]}.")
    if not 0 < given.get("ema", 0.5) < 1:
        raise LongtailError(f"--ema must be a number between 0 and 1, for instance 0.999, not {given['ema']}.")


def borders_of(wishes: Wishes) -> ShotBorders | None:
    """The shot borders asked for."""
    borders = wishes.get("shot_borders")
    return ShotBorders(*borders) if isinstance(borders, tuple | list) else borders


def folder_of(path: str | Path | None) -> Path | None:
    """A folder that was asked for."""
    return None if path is None else Path(path)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
