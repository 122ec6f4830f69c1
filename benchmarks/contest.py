"""The training that speed is measured by: the first stage of GCL with mixup on a ResNet-32, on images made here.

Both sides go through it: this engine, and `published_loop`.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from longtail.counts import ClassCounts
from longtail.data.images.preprocessing import CIFAR_MEAN, CIFAR_STD, Preprocessing
from longtail.data.parts import Part
from longtail.data.pixels import InMemory
from longtail.draws import Key
from longtail.models.backbones import RESNET32
from longtail.models.classifier import Classifier
from longtail.models.heads import Cosine
from longtail.models.resnet32 import ResNet32
from longtail.runs import RunFolder
from longtail.training.compiling import Work, with_compiling
from longtail.training.engine import Engine, choose_engine
from longtail.training.loop.log import Turn
from longtail.training.loop.trainer import Trainer
from longtail.training.planning.settings import CIFAR
from longtail.training.recipes.cosines import gcl
from longtail.training.stage import Stage
from longtail.watching import Watcher
from published_loop import SIDE, Pictures, PublishedLoop

OURS, EAGER, COMPILED = "ours", "ours, not compiled", "ours, compiled"
PUBLISHED = ("published, 0 workers", "published, 2 workers")
CLASSES, RATIO = 10, 100
PUBLISHED_RUN = 200 * 12_406
"""Images of the first stage as published: epochs, and training images of CIFAR-10 at this ratio."""
PREPROCESSING = Preprocessing((SIDE, SIDE), CIFAR_MEAN, CIFAR_STD)
KEY = Key.of_seed(0)


@dataclass
class Stopwatch:
    """Takes the time of so many steps, after some that it leaves out."""

    left_out: int
    steps: int
    begin: Callable[[], object] = lambda: None
    """Called when the counted steps begin, to wait for another process."""

    def __post_init__(self) -> None:
        self._ticks, self._start, self._end = 0, 0.0, 0.0

    def tick(self, *_: object) -> None:
        """A step begins."""
        if self._ticks == self.left_out:
            self.begin()
            self._start = self._now()
        if self._ticks == self.left_out + self.steps:
            self._end = self._now()
        self._ticks += 1

    @property
    def seconds(self) -> float:
        """Of a step."""
        assert self._ticks > self.left_out + self.steps, "the training was too short"
        return (self._end - self._start) / self.steps

    def _now(self) -> float:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()


@dataclass(frozen=True)
class Contest:
    """A batch size, how many steps a round has, and where."""

    batch: int
    warm_up: int
    steps: int
    device: str = "cpu"

    def part(self) -> Part:
        """Random images of a long tail, enough for one round."""
        number = (self.warm_up + self.steps + 1) * self.batch
        shares = RATIO ** -np.linspace(0, 1, CLASSES)
        draw = np.random.default_rng(0)
        common = draw.choice(CLASSES, number - CLASSES, p=shares / shares.sum())
        labels = np.concatenate([np.arange(CLASSES), common])
        images = draw.integers(0, 256, (number, 3, SIDE, SIDE), dtype=np.uint8)
        return Part(labels, tuple(map(str, range(number))), InMemory(torch.from_numpy(images)))

    def stage(self, part: Part) -> Stage:
        """The recipe's first stage, one epoch of it."""
        first = gcl(counts_of(part), replace(CIFAR, batch_size=self.batch)).stages[0]
        return replace(first, epochs=1)

    def eager(self) -> Engine:
        """What a run chooses here, without compiling."""
        return choose_engine(self.device).for_batches_of(self.batch * SIDE * SIDE)

    def engine(self) -> Engine:
        """What a run as long as the published one chooses here."""
        work = partial(Work.of, ResNet32(), (SIDE, SIDE), PUBLISHED_RUN)
        return with_compiling(self.eager(), "auto", RESNET32, work)

    def sides(self) -> tuple[str, ...]:
        """Who takes part."""
        return (OURS, EAGER, *PUBLISHED) if self.engine().compiled else (OURS, *PUBLISHED)

    def engine_of(self, side: str) -> Engine:
        """How one of our sides runs."""
        if side == OURS:
            return self.engine()
        return replace(self.eager(), compiled=side == COMPILED)

    def seconds(self, side: str, begin: Callable[[], object] = lambda: None) -> float:
        """How long a step of one side takes."""
        part, watch = self.part(), Stopwatch(self.warm_up, self.steps, begin)
        if side.startswith("published"):
            loop = PublishedLoop.new(counts_of(part), self.device)
            loop.run(pictures_of(part), self.batch, workers=int(side.split()[1]), tick=watch.tick)
        else:
            stage, engine = self.stage(part), self.engine_of(side)
            classifier = engine.place(new_classifier())
            classifier.head.register_forward_pre_hook(watch.tick)
            train(engine, classifier, stage, part)
        return watch.seconds


def new_classifier() -> Classifier:
    """Untrained, the same each time."""
    torch.manual_seed(0)
    return Classifier(ResNet32(), Cosine(ResNet32.num_features, CLASSES))


def counts_of(part: Part) -> ClassCounts:
    """Images per class."""
    return ClassCounts(tuple(np.bincount(part.labels).tolist()))


def pictures_of(part: Part) -> Pictures:
    """The same images for the published way."""
    assert isinstance(part.pixels, InMemory)
    return Pictures(part.pixels.images.permute(0, 2, 3, 1).contiguous().numpy(), part.labels.tolist())


def train(engine: Engine, classifier: Classifier, stage: Stage, part: Part) -> list[float]:
    """One stage; the losses of its steps."""
    with tempfile.TemporaryDirectory() as place, engine.running():
        folder = RunFolder(Path(place))
        trainer_for(engine, folder).fit(classifier, stage, part, Turn(1, 1, 1), KEY)
        return [step["loss"] for step in folder.steps]


def trainer_for(engine: Engine, folder: RunFolder) -> Trainer:
    """As a run has it."""
    return Trainer(engine, PREPROCESSING, folder, workers=0, watcher=Watcher())


def processor() -> str:
    """How the processor multiplies bfloat16."""
    if torch.cpu._is_amx_tile_supported():
        return "amx"
    return "avx512_bf16" if torch.cpu._is_avx512_bf16_supported() else "other"


def quieten() -> None:
    """More workers than cores is what is asked for here."""
    warnings.filterwarnings("ignore", "This DataLoader will create")
