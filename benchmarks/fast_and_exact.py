"""Whether speed costs accuracy: the same recipe and seeds as fast as this machine can, and in float32 as it is written.

    python benchmarks/fast_and_exact.py OUT --data cifar10 --data-root DIR --imbalance 100 --jobs 2
    python benchmarks/fast_and_exact.py OUT --epochs 2 --seeds 2    # on digits: a minute, no figure worth keeping

Fast is what `auto` chooses, compiled; exact is float32, not compiled. What is finished in OUT stays, and what was
stopped goes on, so that this can be asked for again. On one core with AVX512-BF16 a run of 30 epochs on CIFAR-10 at
ratio 100 takes about 20 minutes fast and 35 exact.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import closing
from pathlib import Path
from typing import Any

import longtail
from longtail.runs import RunFolder
from longtail.studies.jobs import Call, shares, side_by_side
from longtail.terminal import Terminal
from longtail.unfinished import Unfinished
from longtail.watching import Watcher

WAYS: dict[str, dict[str, Any]] = {
    "fast": {"compile": "on"},
    "exact": {"compile": "off", "precision": "float32"},
}
MEASURED = ("accuracy", "balanced_accuracy")


def main() -> None:
    """Reads the words, trains what is not trained yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--imbalance", type=float)
    parser.add_argument("--recipe", default="gcl")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    options = parser.parse_args()
    words = {name: getattr(options, name) for name in ("recipe", "epochs", "device", "imbalance", "data_root")}
    calls = [
        Call(f"{way}, seed {seed}", train, (options.out / f"{way}-seed{seed}", options.data, seed, {**words, **how}))
        for seed in range(options.seeds)
        for way, how in WAYS.items()
    ]
    divided = shares(options.jobs, on_processor=options.device == "cpu")
    with closing(side_by_side(calls, divided, Terminal())) as ended:
        for call, _ in ended:
            print(f"done: {call.name}", flush=True)
    show({way: [RunFolder(options.out / f"{way}-seed{seed}") for seed in range(options.seeds)] for way in WAYS})


def train(watcher: Watcher, folder: Path, data: str, seed: int, words: dict[str, Any]) -> None:
    """One run, unless it is there."""
    if Unfinished(folder).asked:
        longtail.resume(folder, watcher=watcher)
    elif not RunFolder(folder).weights.exists():
        longtail.train(data, seed=seed, out=folder, watcher=watcher, **words)


def show(runs: dict[str, list[RunFolder]]) -> None:
    """Means, least and most in percent, and whether each mean lies where the other way's seeds do."""
    for way, folders in runs.items():
        engine = folders[0].config["engine"]
        print(f"{way}: {engine['precision']}, {engine['reason']}, threads {engine['threads']}")
    for measure in MEASURED:
        found = {way: [100 * (folder.metrics or {})[measure] for folder in folders] for way, folders in runs.items()}
        means = {way: statistics.mean(values) for way, values in found.items()}
        for way, values in found.items():
            told = ", ".join(f"{value:.2f}" for value in values)
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"{measure:20s}{way:8s}{means[way]:6.2f} ± {spread:.2f}   ({told})")
        fast, exact = found["fast"], found["exact"]
        within = min(exact) <= means["fast"] <= max(exact) and min(fast) <= means["exact"] <= max(fast)
        print(f"{measure:20s}difference {means['fast'] - means['exact']:+.2f}, within the spread: {within}")


if __name__ == "__main__":
    main()
