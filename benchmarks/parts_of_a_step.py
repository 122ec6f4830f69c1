"""Where a training step of this engine goes, and how near it is to what the processor can do.

    python benchmarks/parts_of_a_step.py
    python benchmarks/parts_of_a_step.py --batch 128 --operators    # also the operators that take longest

Each part is timed by itself, as medians. The bare forward and backward pass of the network, on one batch and as the
engine runs it, is what no loader, loss or optimiser can save. Its arithmetic is set against the fastest of several
matrix products: that rate is the physical limit. `--operators` shows torch's profile of eager steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from contest import KEY, PREPROCESSING, Contest, new_classifier, trainer_for
from longtail.data.parts import Part
from longtail.models.resnet32 import ResNet32
from longtail.runs import RunFolder
from longtail.training.compiling import Work, compiled
from longtail.training.engine import Engine
from published_loop import SIDE

SIDES_OF_MATRICES = (256, 384, 512, 1024)
SHOWN, PROFILED = 10, 5

Parts = dict[str, Callable[[], object]]


def main() -> None:
    """Reads the words and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--operators", action="store_true", help="also the operators that take longest")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    contest = Contest(options.batch, 1, options.steps)
    print(contest.engine().describe())
    show_parts(contest, contest.seconds("ours"))
    if options.operators:
        show_operators(contest)


def show_parts(contest: Contest, whole: float) -> None:
    """Where a step of so many seconds goes."""
    engine, part = contest.engine(), contest.part()
    parts = parts_of_step(engine, contest, part)
    seconds = {name: statistics.median(times_of(run, contest.steps)) for name, run in parts.items()}
    seconds["the rest: log, seeds, keys"] = max(0.0, whole - sum(seconds.values()))
    print(f"where {1e3 * whole:.1f} ms of a step go, each part by itself")
    for name, each in seconds.items():
        print(f"  {name:40s}{1e3 * each:8.2f} ms  {each / whole:6.1%}")
    needed = operations(contest.batch) / peak_rate(engine.precision)
    print(f"  its arithmetic at the rate of the fastest matrix product: {1e3 * needed:.2f} ms")
    print(f"fraction of the physical limit {needed / whole:.3f}")


def parts_of_step(engine: Engine, contest: Contest, part: Part) -> Parts:
    """The pieces of a step as the trainer goes through them."""
    stage, classifier = contest.stage(part), engine.place(new_classifier()).train()
    backbone = compiled(classifier.backbone) if engine.compiled else classifier.backbone
    optimizer = stage.optimizer(stage.parameter_groups(classifier), lr=1e-6)
    loader = trainer_for(engine, RunFolder(Path())).loader(part, stage.augmentation, contest.batch)
    rows = np.arange(contest.batch)

    def load() -> Tensor:
        batch = next(loader.batches([rows], [rows], KEY))
        return engine.images(PREPROCESSING.normalise(batch.images))

    images = load()
    targets, draws = torch.from_numpy(part.labels[rows]), KEY.draws(torch.from_numpy(rows))
    images, mixed = stage.mixed("images", images, targets, KEY, 0)
    with engine.autocast():
        features = classifier.backbone(images).detach()

    def network() -> None:
        with engine.autocast():
            outputs = backbone(images)
        outputs.backward(torch.ones_like(outputs))

    def head_and_loss() -> None:
        leaf = features.clone().requires_grad_()
        with engine.autocast():
            scores = classifier.head(leaf)
        stage.objective(scores, mixed, features=leaf, epoch=0, draws=draws).backward()

    return {
        "network, forward and backward": network,
        "loader: pick, crop, flip, normalise": load,
        "mixing": lambda: stage.mixed("images", images, targets, KEY, 0),
        "head and loss, forward and backward": head_and_loss,
        "optimiser": optimizer.step,
    }


def show_operators(contest: Contest) -> None:
    """The operators of the network's two passes, by the time that they take themselves."""
    network = parts_of_step(contest.eager(), contest, contest.part())["network, forward and backward"]
    network()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(PROFILED):
            network()
    operators = sorted(seen.key_averages(), key=lambda each: each.self_cpu_time_total, reverse=True)
    total = sum(each.self_cpu_time_total for each in operators)
    print("operators of the network, not compiled")
    for each in operators[:SHOWN]:
        print(
            f"  {each.key:40s}{each.self_cpu_time_total / 1e3 / PROFILED:8.2f} ms  "
            f"{each.self_cpu_time_total / total:6.1%}"
        )


def times_of(run: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each call, after one that is not counted."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def operations(images: int) -> float:
    """Floating point operations of a step's forward and backward pass."""
    return Work.of(ResNet32(), (SIDE, SIDE), images).operations


def peak_rate(precision: torch.dtype) -> float:
    """Operations a second of the fastest of several matrix products."""
    rates = []
    for side in SIDES_OF_MATRICES:
        square = torch.randn(side, side).to(precision)
        rates.append(2 * side**3 / min(times_of(lambda square=square: square @ square, 20)))  # type: ignore[misc]
    return float(max(rates))


if __name__ == "__main__":
    main()
