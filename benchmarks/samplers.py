"""How fast, how lean and how exact the samplers draw.

    python benchmarks/samplers.py                                  # full size: three minutes, 4 GiB
    python benchmarks/samplers.py --side-by-side 1e6 --large 1e6   # seconds

One thread, one process. The two sides of the first table take turns, and each figure is the median of the rounds with
the slowest and the fastest beside it.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import WeightedRandomSampler

from longtail import samplers
from longtail.counts import ClassCounts
from longtail.draws import Key
from longtail.samplers import LabelIndex, LongTailSampler, Sampling
from longtail.weighting import cben

BLOCK = 1 << 16
KEY = Key.of_seed(0)
RULES = [
    samplers.class_balanced(),
    samplers.square_root(),
    samplers.cben(),
    samplers.cben(per="class"),
    samplers.progressive(),
    samplers.class_aware(),
    samplers.instance(),
]


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side-by-side", type=float, default=1.6e7, help="images for the race with PyTorch")
    parser.add_argument("--large", type=float, default=1e8, help="images for rates, memory and frequencies")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--draws", type=float, default=4e6, help="draws of each side in a round of the race")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, numpy {np.__version__}, one thread, {options.classes} classes, ratio 100")
    race(int(options.side_by_side), options.classes, int(options.draws), options.rounds)
    large(int(options.large), options.classes, options.rounds)


def race(images: int, classes: int, draws: int, rounds: int) -> None:
    """CBEN draws as Python numbers: PyTorch's sampler against ours, turn by turn."""
    labels = long_tailed(images, classes)
    index = LabelIndex.of(labels, classes)
    weights = torch.from_numpy(cben(index.counts))[torch.from_numpy(labels.astype(np.int64))]
    theirs = WeightedRandomSampler(weights, draws)  # type: ignore[arg-type]
    ours = LongTailSampler(index, samplers.cben(), epochs=1, length=draws)
    sides: dict[str, Callable[[], object]] = {
        "WeightedRandomSampler": lambda: list(theirs),
        "LongTailSampler": lambda: list(ours),
        "torch.multinomial": lambda: torch.multinomial(theirs.weights, draws, replacement=True),
        "Sampling.indices": lambda: draw(samplers.cben(), index, draws),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            rates[name].append(draws / seconds(side) / 1e6)
    print(f"\n{images:,} images, {draws:,} draws, million draws a second")
    for name in sides:
        print(f"  {name:<24}{spread(rates[name])}")
    for slow, fast in (("WeightedRandomSampler", "LongTailSampler"), ("torch.multinomial", "Sampling.indices")):
        print(f"  {fast} / {slow}: {statistics.median(rates[fast]) / statistics.median(rates[slow]):.1f} x")


def large(images: int, classes: int, rounds: int) -> None:
    """Rates, memory beside the index, and the frequencies of as many draws as there are images."""
    labels = long_tailed(images, classes)
    start = time.perf_counter()
    index = LabelIndex.of(labels, classes)
    size = (index.order.nbytes + index.starts.nbytes) / 2**20
    print(f"\n{images:,} images: index of {size:,.0f} MiB, built in {time.perf_counter() - start:.1f} s")
    print(f"  {'rule':<46}{'million draws/s, blocks of 64k':<34}{'MiB beside':<12}{'p of chi-square'}")
    for rule in RULES:
        rates = [BLOCK * 20 / seconds(lambda rule=rule: draw(rule, index, BLOCK * 20)) / 1e6 for _ in range(rounds)]  # type: ignore[misc]
        p = chi_square(rule, index, labels, images)
        print(f"  {rule!r:<46}{spread(rates):<34}{peak(rule, index):<12.1f}{p}")


def draw(rule: Sampling, index: LabelIndex, draws: int) -> None:
    """Draws in blocks, as a sampler makes them; nothing is kept."""
    for first in range(0, draws, BLOCK):
        rule.indices(index, KEY, 1, 5, np.arange(first, min(first + BLOCK, draws)))


def chi_square(rule: Sampling, index: LabelIndex, labels: NDArray[np.uint16], draws: int) -> str:
    """The p-value of the class frequencies against the rule's probabilities."""
    seen = np.zeros(len(index.counts), np.int64)
    for first in range(0, draws, BLOCK):
        drawn = rule.indices(index, KEY, 1, 5, np.arange(first, min(first + BLOCK, draws)))
        seen += np.bincount(labels[drawn], minlength=len(seen))
    probability = rule.class_probability(index.counts, 1, 5)
    if probability is None:
        return "every image once" if np.array_equal(seen, index.sizes) else "WRONG: not every image once"
    statistic = ((seen - draws * probability) ** 2 / (draws * probability)).sum()
    half = torch.tensor([len(seen) - 1, statistic], dtype=torch.float64) / 2
    return f"{torch.special.gammaincc(half[0], half[1]).item():.3f}"


def peak(rule: Sampling, index: LabelIndex) -> float:
    """MiB that drawing holds at most, beside the index."""
    tracemalloc.start()
    draw(rule, index, BLOCK * 4)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


def long_tailed(images: int, classes: int) -> NDArray[np.uint16]:
    """Shuffled labels with exponential class counts, the largest 100 times the smallest."""
    shares = 100.0 ** -(np.arange(classes) / (classes - 1))
    counts = np.maximum(shares / shares.sum() * images, 1).astype(np.int64)
    counts[0] += images - counts.sum()
    labels = np.repeat(np.arange(classes, dtype=np.uint16), ClassCounts.of(counts).per_class)
    np.random.default_rng(0).shuffle(labels)
    return labels


def seconds(side: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


def spread(rates: Sequence[float]) -> str:
    """Median, and the range of the rounds."""
    return f"{statistics.median(rates):6.2f}  ({min(rates):.2f} to {max(rates):.2f})"


if __name__ == "__main__":
    main()
