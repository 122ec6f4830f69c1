"""Whole runs that take half a second: a network of a few weights, some small images, and what has to come out alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any, Unpack
from unittest.mock import patch

from PIL import Image
from safetensors.torch import save
from timm.models import is_model, register_model
from timm.models.resnet import ResNet
from torch import Tensor, nn

import longtail
from longtail.errors import LongtailError
from longtail.models.classifier import Classifier
from longtail.training.loop.learning import Learning
from longtail.training.loop.log import Turn
from longtail.training.loop.trainer import Trainer
from longtail.training.planning.wishes import Wishes
from longtail.training.stage import Stage
from tiny_training import coloured

__all__ = ["tiny"]  # what timm looks at

IMAGES = {"train/ant": 40, "train/bee": 16, "train/cat": 8} | dict.fromkeys(("val/ant", "val/bee", "val/cat"), 2)
IMAGES |= dict.fromkeys(("test/ant", "test/bee", "test/cat"), 4)
SIDE = 16  # pixels
EPOCHS, STEPS = 8, 8  # of the first stage, and steps of an epoch
WISHES: Wishes = {
    "backbone": "tiny",
    "weights": "none",
    "image_size": SIDE,
    "batch_size": 8,
    "epochs": EPOCHS,
    "device": "cpu",
    "workers": 0,
}
TIMES = {"seconds", "images_per_second", "train_seconds"}


class Block(nn.Module):
    """A convolution and its norm, in the place of a residual block."""

    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None, **_: Any):
        super().__init__()
        self.convolution = nn.Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(planes)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = nn.functional.relu(self.norm(self.convolution(images)))
        return result


def tiny(pretrained: bool = False, num_classes: int = 0, **_: Any) -> ResNet:
    """A network that timm knows by name then, and that has parts as its ResNets have."""
    network = ResNet(
        Block,  # type: ignore[arg-type]
        (1, 1, 1, 1),
        num_classes=num_classes,
        channels=(4, 4, 8, 8),
        stem_width=4,
        output_stride=8,  # maps of one pixel give a convolution of stride 2 a gradient of chance numbers in bfloat16
        zero_init_last=False,
    )
    config: Any = {"input_size": (3, SIDE, SIDE), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 1.0}
    network.pretrained_cfg = config
    return network


if not is_model("tiny"):  # pytest imports this file a second time, to look for examples in it
    register_model(tiny)


def photographs(folder: Path) -> Path:
    """Pictures in three colours, to train on, to watch the training with, and to test on."""
    for path in list(coloured(folder, IMAGES, side=72).rglob("*.png")):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    return folder


def train(data: Path | None, run: Path, recipe: str, **wishes: Unpack[Wishes]) -> None:
    """A run from its beginning on."""
    asked: Any = {**WISHES, **wishes}
    with prepared(run):
        longtail.train(data, recipe=recipe, out=run, **asked)


def to_the_end(data: Path | None, run: Path, recipe: str, **wishes: Unpack[Wishes]) -> dict[str, str]:
    """Begin a run or go on with it, like somebody who does not know what has happened; see `outcome`."""
    if run.exists():
        try:
            with prepared(run):
                longtail.resume(run, workers=wishes.get("workers"))
            return outcome(run)
        except LongtailError as error:
            if not any(words in str(error) for words in ("before it had begun", "is not the folder of an unfinished")):
                raise
        rmtree(run)
    train(data, run, recipe, **wishes)
    return outcome(run)


def outcome(run: Path) -> dict[str, str]:
    """What has to be the same to the bit however often a run was stopped: a hash of each file, without its times."""
    files = {
        path.relative_to(folder).as_posix(): path
        for folder in (run, learnt(run))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {name: hashlib.sha256(_without_times(path)).hexdigest() for name, path in files.items()}


def learnt(run: Path) -> Path:
    """Where all that a stage had learnt in the end is kept for a comparison, with the state of its optimiser."""
    return run.with_name(f"{run.name}-learnt")


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The files that are not the same."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@contextmanager
def prepared(run: Path) -> Iterator[None]:
    """Without the page, which takes two seconds to draw; and what every stage has learnt in the end is kept."""
    learning_of, fit = Learning.of, Trainer.fit
    begun: list[Learning] = []

    def noted(stage: Stage, *arguments: Any) -> Learning:
        begun.append(learning_of(stage, *arguments))
        return begun[-1]

    def kept(self: Trainer, classifier: Classifier, stage: Stage, part: Any, turn: Turn, *arguments: Any) -> Classifier:
        trained = fit(self, classifier, stage, part, turn, *arguments)
        learnt(run).mkdir(exist_ok=True)
        tensors = {name: tensor.contiguous().clone() for name, tensor in begun[-1].tensors().items()}
        (learnt(run) / f"learnt in stage {turn.number}").write_bytes(save(tensors))
        return trained

    with (
        patch.object(Learning, "of", noted),
        patch.object(Trainer, "fit", kept),
        patch("longtail.studies.carrying_out.write_run_page"),
    ):
        yield


def _without_times(path: Path) -> bytes:
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    elif path.name == "metrics.json":
        lines = [json.loads(path.read_text())]
    else:
        return path.read_bytes()
    return json.dumps([{key: value for key, value in line.items() if key not in TIMES} for line in lines]).encode()
