"""How fast a first stage trains: this engine against the published way, GCL with mixup on a ResNet-32.

    python benchmarks/throughput.py                   # one run at a time
    python benchmarks/throughput.py --side-by-side    # two at once, a process of one thread pinned to each core
    python benchmarks/throughput.py --quick           # a minute, no figure worth keeping

The images, 32 x 32, are made here. First both sides train on the same batches with the same draws in float32, and
their losses must agree (`same_losses.py`); then they take turns. A round is `--steps` steps after `--warm-up` ones that
are not counted; compiling happens in these. Ours is what a run as long as the published one chooses here. Rates are
medians (least, most) of the rounds; the last line is the ratio to the better of the two DataLoaders at a batch of 64.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.synchronize import Barrier

import torch

from contest import OURS, PUBLISHED, Contest, processor, quieten
from parts_of_a_step import show_parts
from same_losses import check_losses

AIMS = {"amx": (3, 4), "avx512_bf16": (2, 2.5), "other": (1.2, 1.5)}  # alone, side by side
BATCHES = (64, 128)

Seconds = dict[str, list[float]]
"""Of a step of every side, round by round."""


def main() -> None:
    """Reads the words and prints the tables."""
    options = words()
    threads = 1 if options.side_by_side else options.threads
    torch.set_num_threads(threads)
    print(f"cpu {processor()}")
    print(f"torch {torch.__version__}, {len(cores())} cores, threads of a run: {threads}")
    print(Contest(BATCHES[0], 0, 1).engine().describe())
    print(f"load before: {os.getloadavg()[0]:.2f} processes")
    check_losses()

    ratio = None
    for batch in options.batches:
        contest = Contest(batch, options.warm_up, options.steps)
        measure = partial(together, contest) if options.side_by_side else contest.seconds
        found = race(measure, contest.sides(), options.rounds)
        show(batch * (2 if options.side_by_side else 1), batch, found)
        if not options.side_by_side:
            show_parts(contest, statistics.median(found[OURS]))
        if batch == BATCHES[0]:
            ratio = ratio_of(found)
    print(f"load after: {os.getloadavg()[0]:.2f} processes")
    if ratio is not None:
        print(f"aim {AIMS[processor()][options.side_by_side]:g}")
        print(f"ratio {ratio:.2f}")


def words() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side-by-side", action="store_true", help="two runs at once, one pinned to each core")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", choices=BATCHES, default=BATCHES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of a run by itself")
    parser.add_argument("--quick", action="store_true", help="one round of three steps at a batch of 64")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps, options.warm_up, options.batches = 1, 3, 1, BATCHES[:1]
    return options


def race(measure: Callable[[str], float], sides: Sequence[str], rounds: int) -> Seconds:
    """All sides in turn, round by round."""
    found: Seconds = {side: [] for side in sides}
    for _ in range(rounds):
        for side, seconds in found.items():
            seconds.append(measure(side))
    return found


def together(contest: Contest, side: str) -> float:
    """Seconds a step of two runs at once, each in a process of one thread on a core of its own."""
    if len(cores()) < 2:
        raise SystemExit("Two runs side by side need two cores.")
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(2), context.Queue()
    runs = [context.Process(target=pinned, args=(core, contest, side, barrier, seconds)) for core in cores()[:2]]
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


def cores() -> list[int]:
    """The processor's, as far as this process may use them."""
    return sorted(os.sched_getaffinity(0))


def ratio_of(found: Seconds) -> float:
    """Ours over the better of the published ways."""
    return min(statistics.median(found[side]) for side in PUBLISHED) / statistics.median(found[OURS])


def show(images: int, batch: int, found: Seconds) -> None:
    """The rates of a batch size; `images` are those of a step of all runs."""
    rounds = len(found[OURS])
    print(f"\nbatch {batch}, {rounds} rounds: images a second, median (least, most)")
    for side, seconds in found.items():
        rates = sorted(images / each for each in seconds)
        ratio = statistics.median(seconds) / statistics.median(found[OURS])
        spread = f"({rates[0]:.0f}, {rates[-1]:.0f})"
        print(f"  {side:24s}{statistics.median(rates):7.0f} {spread:>14s}   ours is {ratio:.2f} x", flush=True)


if __name__ == "__main__":
    quieten()
    main()
