"""What the losses cost: forward and backward against torch's cross-entropy on the same tensors.

    python benchmarks/losses.py dense [--threads 2] [--compiled] [--dtype bfloat16] [--shape 512 8142] [--only gcl ldam]
    python benchmarks/losses.py chunked [--threads 2]
    python benchmarks/losses.py noise [--threads 2]

Ours and torch's runs alternate in one process; times are medians (least) in milliseconds, ratios are of medians (of
least). Extra memory is the peak of what torch's allocator was asked for, the gradient included, in units of one (B, C)
tensor.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from longtail import losses
from longtail.draws import Key
from longtail.losses import Criterion, Focus

SHAPES = ((128, 100), (256, 1000), (512, 8142))
Loss = Callable[[Tensor], Tensor]


def methods(counts: list[int]) -> dict[str, tuple[float, Criterion]]:
    """Aim at (512, 8142) float32 eager, and the loss."""
    return {
        "cross_entropy": (1.5, losses.cross_entropy()),
        "weighted_cross_entropy": (1.5, losses.weighted_cross_entropy(counts)),
        "focal": (1.5, losses.focal()),
        "logit_adjustment": (1.5, losses.logit_adjustment(counts)),
        "fbl": (1.5, losses.fbl(counts)),
        "ldam": (1.5, losses.ldam(counts)),
        "cosface": (1.5, losses.cosface()),
        "arcface": (1.5, losses.arcface()),
        "ala": (1.5, losses.ala(counts)),
        "label_aware_smoothing": (2.0, losses.label_aware_smoothing(counts)),
        "kps": (2.0, losses.kps(counts)),
        "kps, adjusted": (2.0, losses.kps(counts, adjust_from=0)),
        "gcl, shared noise": (2.0, losses.gcl(counts, shared_noise=True)),
        "gcl": (3.0, losses.gcl(counts)),
        "gcl, second stage": (3.0, losses.gcl(counts, target_margin=0.1, focus=Focus(1, detached=True))),
        "gcl_angular": (3.0, losses.gcl_angular(counts)),
        "equalization": (3.0, losses.equalization(counts)),
        "seesaw": (3.0, losses.seesaw(counts)),
        "lade": (3.0, losses.lade(counts)),
    }


def long_tail(classes: int) -> list[int]:
    """Counts of an exponential profile from 1,000 to 2."""
    return [int(1000 * 500 ** (-index / (classes - 1))) for index in range(classes)]


def alternate(ours: Callable[[], None], theirs: Callable[[], None], rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of both, one after the other."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for times, run in zip(found, (ours, theirs), strict=True):
            start = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - start))
    return found


def line(name: str, ours: list[float], theirs: list[float], rest: str = "") -> str:
    """A row of a table."""
    middle, least = statistics.median(ours), min(ours)
    ratio, best = middle / statistics.median(theirs), least / min(theirs)
    times = f"{middle:8.2f} ({least:.2f})"
    reference = f"{statistics.median(theirs):8.2f} ({min(theirs):.2f})"
    return f"{name:24s} {times:>18s} {reference:>18s}   {ratio:5.2f} ({best:.2f})  {rest}"


def dense(arguments: argparse.Namespace) -> None:
    """Scores (B, C) at hand."""
    shapes = [tuple(arguments.shape)] if arguments.shape else SHAPES
    dtype = getattr(torch, arguments.dtype)
    for rows, classes in shapes:
        print(f"\n({rows}, {classes}) {arguments.dtype}, {'compiled' if arguments.compiled else 'eager'}")
        print(f"{'loss':24s} {'ours ms':>18s} {'torch ms':>18s}   ratio         aim   extra memory: ours, torch")
        generator = torch.Generator().manual_seed(0)
        scores = (2 * torch.rand(rows, classes, generator=generator) - 1).to(dtype)
        targets = torch.randint(classes, (rows,), generator=generator)
        features = torch.randn(rows, 64, generator=generator)
        for name, (aim, criterion) in methods(long_tail(classes)).items():
            if arguments.only and name not in arguments.only:
                continue
            ours = loss_of(criterion, targets, features)
            theirs = F.cross_entropy
            if arguments.compiled:
                ours, theirs = torch.compile(ours, fullgraph=True), torch.compile(theirs)
            runs = backward(ours, scores), backward(partial(theirs, target=targets), scores)
            alternate(*runs, rounds=2)
            rounds: int = arguments.rounds if rows * classes > 10**6 else 10 * arguments.rounds
            extra = [extra_memory(run) / (scores.numel() * scores.element_size()) for run in runs]
            memory = f"{aim:4.1f}  {extra[0]:6.1f} {extra[1]:6.1f}" if rows * classes > 10**6 else f"{aim:4.1f}"
            print(line(name, *alternate(*runs, rounds), memory), flush=True)


def loss_of(criterion: Criterion, targets: Tensor, features: Tensor) -> Loss:
    """The loss of scores, with noise of a fixed key and at epoch 100."""
    draws, epoch = Key.of_seed(0).draws(torch.arange(len(targets))), torch.tensor(100.0)
    return lambda leaf: criterion(leaf, targets, features=features.to(leaf.dtype), epoch=epoch, draws=draws)


def backward(loss: Loss, scores: Tensor) -> Callable[[], None]:
    """A forward and a backward pass."""
    leaf = scores.clone().requires_grad_()

    def run() -> None:
        leaf.grad = None
        loss(leaf).backward()

    return run


def extra_memory(run: Callable[[], None]) -> float:
    """Bytes that a run holds at its peak, of what torch's allocator was asked for."""
    run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return float(peak)


def chunked(arguments: argparse.Namespace) -> None:
    """A head of 100,000 classes: queries (B, 64) and anchors (C, 64) at hand."""
    rows, classes, length = 1024, 100_000, 64
    generator = torch.Generator().manual_seed(0)
    queries = F.normalize(torch.randn(rows, length, generator=generator)).requires_grad_()
    anchors = F.normalize(torch.randn(classes, length, generator=generator)).requires_grad_()
    targets = torch.randint(classes, (rows,), generator=generator)
    print(f"\n{rows} samples, {classes} classes, {length} features, float32; extra memory in MiB")
    print(f"{'loss':24s} {'chunked ms':>18s} {'dense ms':>18s}   ratio         extra memory: chunked, dense")
    draws = Key.of_seed(0).draws(torch.arange(rows))
    counts = long_tail(classes)
    for name in arguments.only or ("cross_entropy", "logit_adjustment", "ldam", "kps", "gcl"):
        criterion = methods(counts)[name][1]

        def in_chunks(criterion: Criterion = criterion) -> None:
            queries.grad = anchors.grad = None
            losses.chunked(criterion, queries, anchors, targets, draws=draws, rows=arguments.rows).backward()

        def whole(criterion: Criterion = criterion) -> None:
            queries.grad = anchors.grad = None
            criterion(queries @ anchors.mT, targets, draws=draws).backward()

        in_chunks()
        extra = [extra_memory(run) / 2**20 for run in (in_chunks, whole)]
        times = alternate(in_chunks, whole, max(2, arguments.rounds // 3))
        print(line(name, *times, f"{extra[0]:8.0f} {extra[1]:8.0f}"), flush=True)


def noise(arguments: argparse.Namespace) -> None:
    """Half-normal numbers by the counter hash, against torch.randn, which uses one thread."""
    print(f"\n{'numbers':24s} {'hash ms':>18s} {'randn ms':>18s}   ratio")
    for rows, classes in SHAPES:
        like, draws = torch.empty(rows, classes), Key.of_seed(0).draws(torch.arange(rows))
        blocks = [slice(start, start + 32) for start in range(0, rows, 32)]

        def hashed(like: Tensor = like, draws: object = draws) -> None:
            draws.half_normal(like, "cloud")  # type: ignore[attr-defined]

        def in_blocks(like: Tensor = like, draws: object = draws, blocks: list[slice] = blocks) -> None:
            for part in blocks:
                draws.rows(part).half_normal(like[part], "cloud")  # type: ignore[attr-defined]

        def randn(like: Tensor = like) -> None:
            torch.randn(like.shape)

        for name, run in (("whole", hashed), ("blocks of 32 rows", in_blocks)):
            alternate(run, randn, 2)
            print(line(f"({rows}, {classes}) {name}", *alternate(run, randn, 3 * arguments.rounds)), flush=True)


def main() -> None:
    """Reads the words and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("dense", "chunked", "noise"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--rows", type=int, default=32, help="samples in a chunk")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--shape", type=int, nargs=2, metavar=("B", "C"))
    parser.add_argument("--only", nargs="+", metavar="LOSS")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads")
    {"dense": dense, "chunked": chunked, "noise": noise}[arguments.what](arguments)


if __name__ == "__main__":
    main()
