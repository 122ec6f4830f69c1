"""A small network that counts what it sees, and what else a training in a test needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from longtail import losses
from longtail.data.images.preprocessing import Preprocessing
from longtail.losses.criterion import Criterion
from longtail.models.classifier import Classifier
from longtail.models.heads import Head, Linear
from longtail.runs import RunFolder
from longtail.training.engine import Engine
from longtail.training.loop.extraction import Cache
from longtail.training.loop.trainer import Trainer
from longtail.training.stage import HEAD_ALONE, Stage
from longtail.watching import Watcher

FLOAT32 = Engine(torch.device("cpu"), torch.float32, "for exact comparison")
DIGITS = Preprocessing((8, 8))


class Counting(nn.Module):
    """Batch norm behind a convolution, which a frozen copy folds; copies count together."""

    num_features = 8
    calls: ClassVar[list[int]] = []
    """Images of each call of any network of this kind."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Flatten()  # stays in a network that is made of this one's steps, and its hook with it
        self.last.register_forward_hook(lambda module, given, features: self.calls.append(len(features)))

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = torch.relu(self.norm(self.convolution(images)))
        features: Tensor = self.last(maps.mean(dim=(2, 3)))
        return features


class Listener(Watcher):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images frozen networks get to see, call by call, from now on."""
    seen: list[int] = []
    frozen = Engine.frozen

    def counted(self: Engine, network: nn.Module, precision: torch.dtype) -> Callable[[Tensor], Tensor]:
        outputs = frozen(self, network, precision)

        def and_counted(images: Tensor) -> Tensor:
            seen.append(len(images))
            return outputs(images)

        return and_counted

    monkeypatch.setattr(Engine, "frozen", counted)
    return seen


def classifier(head: Head | None = None) -> Classifier:
    """A frozen backbone whose batch norm has statistics of its own, with a head of 10 classes."""
    torch.manual_seed(0)
    backbone = Counting()
    nn.init.uniform_(backbone.norm.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
    nn.init.uniform_(backbone.norm.running_var, 0.1, 0.4)  # type: ignore[arg-type]
    backbone.requires_grad_(False)
    return Classifier(backbone, head or Linear(8, 10))


def stage(objective: Criterion | None = None, **changes: object) -> Stage:
    """Two epochs of the head alone."""
    settings = {"name": "test", "epochs": 2, "batch_size": 64, "lr": 0.1, "learns": HEAD_ALONE, **changes}
    return Stage(objective=objective or losses.cross_entropy(), **settings)  # type: ignore[arg-type]


def trainer(folder: Path, views: int | None = 0, *, features: Path | None = None) -> Trainer:
    """A trainer that keeps features in `views` views; 0 keeps none."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = None if views == 0 else Cache(features or folder / "features", views)
    return Trainer(FLOAT32, DIGITS, RunFolder(folder), 0, Watcher(), cache)


def state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: Mapping[str, Tensor], model: nn.Module) -> set[str]:
    """Names of what is not what it was, to the bit."""
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def coloured(root: Path, counts: Mapping[str, int], side: int = 40, seed: int = 0) -> Path:
    """A folder of class folders, each class with a colour of its own by its place in the alphabet."""
    generator = np.random.default_rng(seed)
    places = {name: place for place, name in enumerate(sorted({path.rpartition("/")[2] for path in counts}))}
    for path, count in counts.items():
        (root / path).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 90, (side, side, 3), dtype=np.uint8)
            pixels[..., places[path.rpartition("/")[2]] % 3] += 120
            Image.fromarray(pixels).save(root / path / f"{number}.png")
    return root
