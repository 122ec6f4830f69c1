"""How fast a first stage trains: this engine against the published way, GCL with mixup on a ResNet-32.

    python benchmarks/throughput.py                   # one run at a time
    python benchmarks/throughput.py --side-by-side    # two at once, a process of one thread pinned to each core
    python benchmarks/throughput.py --quick           # seconds, no figure worth keeping

The images, 32 x 32, are made here. First both sides train on the same batches with the same draws in float32, and
their losses must agree; then they take turns. A round is `--steps` steps after `--warm-up` ones that are not counted.
Rates are medians (least, most) of the rounds; the last line is the ratio to the better of the two DataLoaders at a
batch of 64. Of the step, the bare forward and backward pass of the network, on one batch and as the engine runs it, is
what no loader, loss or optimiser can save; its arithmetic is set against the fastest matrix product found here.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import functional as TF

from longtail.counts import ClassCounts
from longtail.data.images.preprocessing import CIFAR_MEAN, CIFAR_STD, Preprocessing
from longtail.data.parts import Part
from longtail.data.pixels import InMemory
from longtail.draws import Key
from longtail.models.classifier import Classifier
from longtail.models.heads import Cosine
from longtail.models.resnet32 import ResNet32
from longtail.runs import RunFolder
from longtail.samplers import LabelIndex
from longtail.training.engine import Engine, choose_engine
from longtail.training.log import Turn
from longtail.training.recipes.cosines import gcl
from longtail.training.settings import CIFAR
from longtail.training.sources import order_of
from longtail.training.stage import Stage
from longtail.training.trainer import Trainer
from longtail.watching import Watcher
from published_loop import DEVIATION, PADDING, SIDE, TO_TENSOR, Drawn, Pictures, PublishedLoop

AIMS = {"amx": (3, 4), "avx512_bf16": (2, 2.5), "other": (1.2, 1.5)}  # alone, side by side
BATCHES = (64, 128)
SIDES = ("ours", "published, 0 workers", "published, 2 workers")
CLASSES, RATIO = 10, 100
TOLERANCE, COMPARED, SMALL_RATE = 1e-5, 3, 1e-3  # at the recipe's rate rounding grows a hundredfold in a step
PREPROCESSING = Preprocessing((SIDE, SIDE), CIFAR_MEAN, CIFAR_STD)
KEY = Key.of_seed(0)


@dataclass
class Stopwatch:
    """Notes the time of each step; the first `left_out` of them are not counted."""

    left_out: int
    begin: Callable[[], object] = lambda: None
    """Called when the counted steps begin, to wait for another process."""

    def __post_init__(self) -> None:
        self.times: list[float] = []

    def tick(self, *_: object) -> None:
        """A step begins."""
        if len(self.times) == self.left_out:
            self.begin()
        self.times.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Of a step."""
        return (self.times[-1] - self.times[self.left_out]) / (len(self.times) - 1 - self.left_out)


@dataclass(frozen=True)
class Contest:
    """A batch size, and how many steps a round has."""

    batch: int
    warm_up: int
    steps: int

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

    def seconds(self, side: str, begin: Callable[[], object] = lambda: None) -> float:
        """How long a step of one side takes."""
        part, watch = self.part(), Stopwatch(self.warm_up, begin)
        if side == "ours":
            stage = self.stage(part)
            stage.objective.register_forward_pre_hook(watch.tick)
            train(best_engine(self.batch), new_classifier(), stage, part)
        else:
            workers = int(side.split()[1])
            loop = PublishedLoop.new(counts_of(part))
            loop.run(pictures_of(part), self.batch, workers, watch.tick)
        return watch.seconds


def main() -> None:
    """Reads the words and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side-by-side", action="store_true", help="two runs at once, one pinned to each core")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", choices=BATCHES, default=BATCHES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of a run by itself")
    parser.add_argument("--quick", action="store_true", help="one round of three steps")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps, options.warm_up = 1, 3, 1
    threads = 1 if options.side_by_side else options.threads
    torch.set_num_threads(threads)
    print(f"cpu {processor()}")
    print(f"torch {torch.__version__}, {len(os.sched_getaffinity(0))} cores, threads of a run: {threads}")
    print(best_engine(BATCHES[0]).describe())
    print(f"load before: {os.getloadavg()[0]:.2f} processes")
    compare_losses()

    ratio = None
    for batch in options.batches:
        contest = Contest(batch, options.warm_up, options.steps)
        measure = partial(together, contest) if options.side_by_side else contest.seconds
        found = race(measure, options.rounds)
        show(batch * (2 if options.side_by_side else 1), batch, found)
        if not options.side_by_side:
            show_parts(contest, statistics.median(found["ours"]))
        if batch == BATCHES[0]:
            ratio = ratio_of(found)
    print(f"load after: {os.getloadavg()[0]:.2f} processes")
    if ratio is not None:
        print(f"aim {AIMS[processor()][options.side_by_side]:g}")
        print(f"ratio {ratio:.2f}")


def processor() -> str:
    """How the processor multiplies bfloat16."""
    if torch.cpu._is_amx_tile_supported():
        return "amx"
    return "avx512_bf16" if torch.cpu._is_avx512_bf16_supported() else "other"


def best_engine(batch: int) -> Engine:
    """What a run on this processor chooses."""
    return choose_engine("cpu").for_batches_of(batch * SIDE * SIDE)


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


def compare_losses() -> None:
    """Train both on the same batches with the same draws in float32; stop where their losses differ."""
    contest = Contest(BATCHES[0], 0, COMPARED - 1)
    part = contest.part()
    stage, classifier = replace(contest.stage(part), lr=SMALL_RATE), new_classifier()
    theirs = published_losses(stage, copy.deepcopy(classifier), part)
    ours = train(Engine(torch.device("cpu"), torch.float32, "to compare"), classifier, stage, part)
    difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    told = ", ".join(f"{loss:.6f}" for loss in ours)
    print(f"losses of {COMPARED} steps in float32, same draws: {told}; largest difference {difference:.1e}")
    if difference > TOLERANCE:
        raise SystemExit(f"The losses of the published way are {theirs}: the two do not train the same.")


def published_losses(stage: Stage, classifier: Classifier, part: Part) -> list[float]:
    """The published loop, with the numbers that the engine draws."""
    here, index = KEY.at("epoch", 0), LabelIndex.of(part.labels, CLASSES)
    order = order_of(stage, index, here, 0, COMPARED)
    rate = stage.lr * stage.lr_schedule.at(0)
    assert isinstance(classifier.head, Cosine)
    loop = PublishedLoop.of(classifier.backbone, classifier.head.weight, counts_of(part), rate)
    losses = []
    for step, (rows, places) in enumerate(
        zip(order.indices.reshape(COMPARED, -1), order.positions.reshape(COMPARED, -1), strict=True)
    ):
        positions = torch.from_numpy(places)
        images = cropped(part, rows.tolist(), positions, here.at("augmentation"))
        drawn = numbers_of(here, step, positions)
        losses.append(loop.step(images, torch.from_numpy(part.labels[rows]), drawn))
    return losses


def cropped(part: Part, rows: list[int], positions: Tensor, key: Key) -> Tensor:
    """Pillow images, one by one, with the corners and flips that the engine draws."""
    chance = key.draws(positions).uniform(torch.empty(len(rows), 3), "crop and flip")
    corners = (chance[:, :2] * (2 * PADDING + 1)).long().tolist()
    tensors = []
    for row, (top, left), flip in zip(rows, corners, (chance[:, 2] < 0.5).tolist(), strict=True):
        picture: Image.Image = TF.crop(TF.pad(part.pixels.open(row), [PADDING]), top, left, SIDE, SIDE)
        tensors.append(TO_TENSOR(TF.hflip(picture) if flip else picture))
    return torch.stack(tensors)


def numbers_of(epoch: Key, step: int, positions: Tensor) -> Drawn:
    """The mixing and the noise that the engine draws for a step."""
    generator = epoch.at("step", step).at("mixing").generator()
    generator.random()  # whether to mix at all
    share = generator.beta(CIFAR.mixup, CIFAR.mixup)
    partners = torch.from_numpy(generator.permutation(len(positions)))
    draws, like = epoch.at("loss").draws(positions), torch.empty(len(positions), CLASSES)
    first, second = (
        (draws.of(f"{which} targets").half_normal(like, "cloud") * DEVIATION).clamp(max=1)
        for which in ("first", "second")
    )
    return Drawn(share, partners, (first, second))


def race(measure: Callable[[str], float], rounds: int) -> dict[str, list[float]]:
    """Seconds a step of every side, round by round."""
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, seconds in found.items():
            seconds.append(measure(side))
    return found


def together(contest: Contest, side: str) -> float:
    """Seconds a step of two runs at once, each in a process of one thread on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("Two runs side by side need two cores.")
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(len(cores)), context.Queue()
    runs = [context.Process(target=pinned, args=(core, contest, side, barrier, seconds)) for core in cores]
    for run in runs:
        run.start()
    found: list[float] = [seconds.get(timeout=600) for _ in runs]
    for run in runs:
        run.join()
    return len(found) / sum(1 / each for each in found)


def pinned(core: int, contest: Contest, side: str, barrier: Barrier, seconds: multiprocessing.Queue[float]) -> None:
    """One of the two: its counted steps begin when both are warm."""
    quieten()
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    seconds.put(contest.seconds(side, barrier.wait))


def ratio_of(found: dict[str, list[float]]) -> float:
    """Ours over the better of the others."""
    middles = {side: statistics.median(seconds) for side, seconds in found.items()}
    return min(middles[side] for side in SIDES[1:]) / middles["ours"]


def show(images: int, batch: int, found: dict[str, list[float]]) -> None:
    """The rates of a batch size; `images` are those of a step of all runs."""
    rounds = len(found["ours"])
    print(f"\nbatch {batch}, {rounds} rounds: images a second, median (least, most)")
    for side, seconds in found.items():
        rates = sorted(images / each for each in seconds)
        ratio = statistics.median(seconds) / statistics.median(found["ours"])
        spread = f"({rates[0]:.0f}, {rates[-1]:.0f})"
        print(f"  {side:24s}{statistics.median(rates):7.0f} {spread:>14s}   ours is {ratio:.2f} x")


def show_parts(contest: Contest, whole: float) -> None:
    """Where a step of ours goes."""
    part = contest.part()
    parts, images = parts_of_step(contest, part)
    seconds = {name: statistics.median(times_of(run, contest.steps)) for name, run in parts.items()}
    seconds["the rest: log, seeds, keys"] = max(0.0, whole - sum(seconds.values()))
    print(f"where {1e3 * whole:.1f} ms of a step go, each part by itself")
    for name, each in seconds.items():
        print(f"  {name:40s}{1e3 * each:8.2f} ms  {each / whole:6.1%}")
    needed = flops(images) / peak_rate(best_engine(contest.batch).precision)
    print(f"  its arithmetic at the rate of a large matrix product: {1e3 * needed:.2f} ms, {needed / whole:.1%}")


def parts_of_step(contest: Contest, part: Part) -> tuple[dict[str, Callable[[], object]], Tensor]:
    """The pieces of a step as the trainer goes through them, and the images of a batch."""
    engine, stage = best_engine(contest.batch), contest.stage(part)
    classifier = engine.place(new_classifier()).train()
    optimizer = stage.optimizer(stage.parameter_groups(classifier), lr=1e-6)
    loader = trainer_for(engine, RunFolder(Path())).loader(part, stage.augmentation, contest.batch)
    rows = np.arange(contest.batch)

    def load() -> Tensor:
        batch = next(loader.batches(rows, rows, KEY))
        return engine.images(PREPROCESSING.normalise(batch.images))

    images = load()
    targets, draws = torch.from_numpy(part.labels[rows]), KEY.draws(torch.from_numpy(rows))
    images, mixed = stage.mixed("images", images, targets, KEY, 0)
    with engine.autocast():
        features = classifier.backbone(images).detach()

    def network() -> None:
        with engine.autocast():
            outputs = classifier.backbone(images)
        outputs.backward(torch.ones_like(outputs))

    def head_and_loss() -> None:
        leaf = features.clone().requires_grad_()
        with engine.autocast():
            scores = classifier.head(leaf)
        stage.objective(scores, mixed, features=leaf, epoch=0, draws=draws).backward()

    parts: dict[str, Callable[[], object]] = {
        "network, forward and backward": network,
        "loader: pick, crop, flip, normalise": load,
        "mixing": lambda: stage.mixed("images", images, targets, KEY, 0),
        "head and loss, forward and backward": head_and_loss,
        "optimiser": optimizer.step,
    }
    return parts, images


def times_of(run: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each call, after one that is not counted."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def flops(images: Tensor) -> float:
    """Floating point operations of a step's forward and backward pass, counted."""
    network, counter = ResNet32(), FlopCounterMode(display=False)
    with counter:
        network(images.float()).sum().backward()
    return float(counter.get_total_flops())


def peak_rate(precision: torch.dtype, side: int = 1024) -> float:
    """Operations a second of the fastest of several large matrix products."""
    square = torch.randn(side, side).to(precision)
    return float(2 * side**3) / min(times_of(lambda: square @ square, 20))


def quieten() -> None:
    """More workers than cores is what is asked for here."""
    warnings.filterwarnings("ignore", "This DataLoader will create")


if __name__ == "__main__":
    quieten()
    main()
