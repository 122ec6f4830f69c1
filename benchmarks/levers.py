"""What each lever gains: a training step of a network, one lever after the other pulled, in turn on one thread.

    taskset -c 1 python benchmarks/levers.py
    taskset -c 1 python benchmarks/levers.py --backbone resnet50 --side 128 --batch 16

A step is forward pass, cross-entropy, backward pass and SGD, on one batch of noise. Times are of the processor, so that
other programs disturb them less. The gain is that over the row before, as the median of the rounds.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from longtail.models.backbones import RESNET32, build_backbone, feature_size
from longtail.models.resnet32 import BasicBlock
from longtail.training.compiling import Work, compiled
from longtail.training.engine import choose_engine

CLASSES = 10
SGD = partial(torch.optim.SGD, lr=1e-3, momentum=0.9, weight_decay=2e-4)
FUSED = partial(SGD, fused=True)

Step = Callable[[], None]


def main() -> None:
    """Reads the words and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default=RESNET32)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--without-compiling", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = build_backbone(options.backbone)
    images = torch.randn(options.batch, 3, options.side, options.side)
    steps = levers(backbone, images)
    if options.without_compiling:
        del steps["+ compiled"]
    operations = Work.of(backbone, (options.side, options.side), options.batch).operations
    print(f"{options.backbone}, batch {options.batch}, {choose_engine('cpu').describe()}, torch {torch.__version__}")
    warm_up(steps)
    show(race(steps, options.rounds), options.batch, operations)


def levers(backbone: nn.Module, images: Tensor) -> dict[str, Step]:
    """Steps of the same network; each has what those before it have."""
    plain, last, fast = out_of_place(backbone), torch.channels_last, torch.bfloat16
    stay = torch.contiguous_format
    return {
        "float32": step(plain, images, stay, torch.float32),
        "+ channels last": step(plain, images, last, torch.float32),
        "+ bfloat16": step(plain, images, last, fast),
        "+ ReLU and sums in place": step(backbone, images, last, fast),
        "+ fused SGD": step(backbone, images, last, fast, FUSED),
        "+ compiled": step(backbone, images, last, fast, FUSED, compiled),
    }


def step(
    backbone: nn.Module,
    images: Tensor,
    layout: torch.memory_format,
    precision: torch.dtype,
    optimizer: Callable[..., torch.optim.Optimizer] = SGD,
    wrapped: Callable[[nn.Module], Callable[[Tensor], Tensor]] = lambda network: network,
) -> Step:
    """One way to take a step, with a network of its own."""
    network = copy.deepcopy(backbone).train().to(memory_format=layout)
    head = nn.Linear(feature_size(backbone), CLASSES)
    parameters = optimizer([*network.parameters(), *head.parameters()])
    forward, inputs = wrapped(network), images.to(memory_format=layout)
    targets = torch.arange(len(images)) % CLASSES

    def take() -> None:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            scores = head(forward(inputs)).float()
        functional.cross_entropy(scores, targets).backward()
        parameters.step()
        parameters.zero_grad()

    return take


def out_of_place(backbone: nn.Module) -> nn.Module:
    """The same network with results of their own for ReLU and for sums, as networks are mostly written."""
    plain = copy.deepcopy(backbone)
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
        if isinstance(module, BasicBlock):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]
    return plain


def _forward(block: BasicBlock, maps: Tensor) -> Tensor:
    residual = torch.relu(block.norm1(block.conv1(maps)))
    return torch.relu(block.norm2(block.conv2(residual)) + block._shortcut(maps))


def warm_up(steps: dict[str, Step]) -> None:
    """Compiling happens here."""
    for name, take in steps.items():
        begin = time.perf_counter()
        take()
        seconds = time.perf_counter() - begin
        if name == "+ compiled":
            print(f"the first compiled step takes {seconds:.0f} s, compiling included")


def race(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of the processor, all in turn."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, take in steps.items():
            begin = time.process_time()
            take()
            found[name].append(time.process_time() - begin)
    return found


def show(found: dict[str, list[float]], batch: int, operations: float) -> None:
    """A row a lever."""
    before: list[float] = []
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        gain = statistics.median(a / b for a, b in zip(before, seconds, strict=True)) if before else 1.0
        print(
            f"  {name:26s}{1e3 * middle:8.1f} ms (least {1e3 * min(seconds):.1f})  {batch / middle:7.0f} images/s  "
            f"{operations / middle / 1e9:6.0f} GFLOP/s   x {gain:.3f}"
        )
        before = seconds


if __name__ == "__main__":
    main()
