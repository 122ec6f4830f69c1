"""How time and memory grow with the number of classes and of images.

    python benchmarks/scaling.py            # 10 to 100,000 classes, 10^3 to 10^8 images: minutes, 2 GiB
    python benchmarks/scaling.py --quick    # seconds

Every figure is of a process of its own, with one thread (Linux): the median time of some calls, and how far the first
call raised the memory of the process at its peak, less what it returns. The exponent a of size^a is fitted by least
squares to logarithms over the three largest sizes, where constant costs count least.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from longtail import losses, samplers
from longtail.counts import ClassCounts
from longtail.draws import Key
from longtail.models.heads import Cosine
from longtail.samplers import LabelIndex
from longtail.weighting import cben

CLASSES = (10, 100, 1_000, 10_000, 100_000)
IMAGES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8)
BATCH, FEATURES = 128, 64
BLOCK, BLOCKS, EPOCHS, MILLION = 1 << 16, 4, 1000, 10**6
KEY = Key.of_seed(0)
RULES = {"every image once": samplers.instance(), "CBEN": samplers.cben(), "class-aware": samplers.class_aware()}

CALLS, PATIENCE = 7, 3.0  # calls timed, and seconds after which no other begins
PAGE = 4096  # bytes: less is not told apart
FITTED = 3  # sizes
SMALLEST = 100  # classes or images
CONSTANT = 0.15  # an exponent below it passes for 0

Work = Callable[[], object]
Prepare = Callable[[int], Work]
"""A size to what is timed at that size; what is done before is not."""


class Cost(NamedTuple):
    """Of one call."""

    milliseconds: float
    mebibytes: float


def main() -> None:
    """Both tables, and whether memory beside the index grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smaller sizes of each")
    quick = parser.parse_args().quick
    print(f"torch {torch.__version__}, numpy {np.__version__}, one thread")

    print(f"\nClasses; a step is head, loss, backward pass and SGD on {BATCH} samples of {FEATURES} features")
    of_classes: dict[str, Prepare] = {
        "GCL step": step,
        "GCL step, 32 rows at a time": step_in_chunks,
        "counts, CBEN weights": weights,
        f"LabelIndex of {MILLION:,} images": index_of_classes,
        f"draw {BLOCK:,}, new table": new_table,
    }
    table(of_classes, CLASSES[:-1] if quick else CLASSES)

    print(f"\nImages, of 100 classes; {BLOCKS} blocks of {BLOCK:,} are drawn")
    of_images: dict[str, Prepare] = {
        "LabelIndex": index_of_images,
        **{f"draw, {name}": partial(blocks, name) for name in RULES},
    }
    sizes = IMAGES[:-2] if quick else IMAGES
    found = table(of_images, sizes)
    if quick:
        del found["LabelIndex"]  # it sorts a million labels at a time, and fewer take less
    grown = any(growth(costs, sizes).mebibytes >= CONSTANT for costs in found.values())
    verdict = "GROWS" if grown else "does not grow"
    print(f"\nMemory beside labels and index {verdict} with the number of images")


def step(classes: int) -> Work:
    """Scores (B, C) of a cosine head, GCL, backward, SGD."""
    head, criterion, optimizer, features, targets = _step_parts(classes)

    def run() -> None:
        criterion(head(features), targets, draws=KEY.draws(torch.arange(BATCH))).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def step_in_chunks(classes: int) -> Work:
    """The same without ever holding the scores."""
    head, criterion, optimizer, features, targets = _step_parts(classes)

    def run() -> None:
        draws = KEY.draws(torch.arange(BATCH))
        losses.chunked(criterion, head.queries(features), head.anchors(), targets, draws=draws).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def _step_parts(
    classes: int,
) -> tuple[Cosine, losses.Criterion, torch.optim.Optimizer, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    head, criterion = Cosine(FEATURES, classes), losses.gcl(long_tail(classes))
    features = torch.randn(BATCH, FEATURES, requires_grad=True)
    targets = torch.randint(classes, (BATCH,))
    return head, criterion, torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9), features, targets


def weights(classes: int) -> Work:
    """Counts from an array, and a weight for each class."""
    counts = np.array(long_tail(classes))
    return lambda: cben(ClassCounts.of(counts))


def index_of_classes(classes: int) -> Work:
    """A million images."""
    labels = synthetic_labels(MILLION, classes)
    return lambda: LabelIndex.of(labels, classes)


def new_table(classes: int) -> Work:
    """A block whose probabilities are new, as in every epoch of progressive sampling."""
    index, rule, epochs = LabelIndex.of(synthetic_labels(MILLION, classes), classes), samplers.progressive(), count()
    positions = np.arange(BLOCK)
    return lambda: rule.indices(index, KEY, next(epochs), EPOCHS, positions)


def index_of_images(images: int) -> Work:
    """Labels to their index."""
    labels = synthetic_labels(images, 100)
    return lambda: LabelIndex.of(labels, 100)


def blocks(rule: str, images: int) -> Work:
    """The first blocks of an epoch; nothing is kept."""
    index, sampling = LabelIndex.of(synthetic_labels(images, 100), 100), RULES[rule]

    def run() -> None:
        for number in range(BLOCKS):
            sampling.indices(index, KEY, 0, EPOCHS, np.arange(number * BLOCK, (number + 1) * BLOCK))

    return run


def long_tail(classes: int) -> list[int]:
    """Counts of an exponential profile from 1,000 to 2."""
    return [int(1000 * 500 ** (-index / (classes - 1))) for index in range(classes)]


def synthetic_labels(images: int, classes: int) -> NDArray[np.int32]:
    """Labels in random order, every class present, the first class the commonest."""
    labels, draw = np.empty(images, np.int32), np.random.default_rng(0)
    for first in range(0, images, 1 << 20):
        part = labels[first : first + (1 << 20)]
        part[:] = classes * draw.random(len(part), np.float32) ** 2 * (1 - 1e-6)
    labels[:classes] = np.arange(classes)
    return labels


def table(rows: Mapping[str, Prepare], sizes: Sequence[int]) -> dict[str, list[Cost]]:
    """Measure and print everything, one process after the other."""
    print(f"{'':36s}" + "".join(f"{size:>13,}" for size in sizes) + "   growth")
    found = {}
    for name, prepare in rows.items():
        costs = found[name] = [in_own_process(prepare, size) for size in sizes]
        exponents = growth(costs, sizes)
        for place, unit in enumerate(("ms", "MiB")):
            figures = "".join(f"{cost[place]:13.2f}" for cost in costs)
            print(f"{name + ', ' + unit:36s}{figures}   {law(exponents[place])}", flush=True)
    return found


def in_own_process(prepare: Prepare, size: int) -> Cost:
    """A fresh interpreter for one figure: no other has filled its memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (prepare, size))


def measure(prepare: Prepare, size: int) -> Cost:
    """The peak of the first call, and the median time of those after it."""
    torch.set_num_threads(1)
    prepare(SMALLEST)()  # what a process loads once is no cost of a size
    work = prepare(size)
    ctypes.CDLL(None).malloc_trim(0)  # else the first call would fill what the preparation has left free
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew here
    before = memory("VmRSS")
    start = time.perf_counter()
    returned = work()
    times = [time.perf_counter() - start]
    extra = memory("VmHWM") - before - size_of(returned)
    del returned
    begin = time.perf_counter()
    while len(times) <= CALLS and time.perf_counter() - begin < PATIENCE:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return Cost(1e3 * statistics.median(times[1:]), max(extra, PAGE) / 2**20)


def memory(name: str) -> int:
    """Bytes of this process: `VmRSS` now, `VmHWM` at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def size_of(returned: object) -> int:
    """Bytes of an index; others return next to nothing."""
    return returned.order.nbytes + returned.starts.nbytes if isinstance(returned, LabelIndex) else 0


def growth(costs: Sequence[Cost], sizes: Sequence[int]) -> Cost:
    """The exponents of time and of memory."""
    at = np.log(sizes[-FITTED:])
    time_, memory_ = (np.polyfit(at, np.log(column[-FITTED:]), 1)[0] for column in zip(*costs, strict=True))
    return Cost(float(time_), float(memory_))


def law(exponent: float) -> str:
    """An exponent in a word."""
    if exponent < CONSTANT:
        word = "constant"
    elif exponent < 1 - CONSTANT:
        word = "less than linear"
    else:
        word = "linear" if exponent < 1 + CONSTANT else "more than linear"
    return f"size^{exponent:.2f}  {word}"


if __name__ == "__main__":
    main()
