"""The backbone as machine code of its own (torch.compile): what that costs and saves, and whether it pays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from longtail.errors import LongtailError
from longtail.models.backbones import RESNET32
from longtail.text import duration
from longtail.training.engine import Engine

Compile = Literal["auto", "on", "off"]

# Measured by benchmarks/levers.py on one core with AVX512-BF16.
SHARE_SAVED = {RESNET32: 0.05}
"""Of every training step, by backbone; of a ResNet-50 and a ViT nothing."""
SECONDS_A_LAYER = 3.0
"""What compiling costs, where nothing of it is in the compiler's cache."""
OPERATIONS_A_SECOND = 1e11
"""Of a training step that is not compiled."""
TIMES_ITS_COST = 2
"""What compiling must save by these estimates to be worth it."""


@dataclass(frozen=True)
class Work:
    """What a backbone goes through while it learns."""

    layers: int
    """Convolutions and linear maps."""
    operations: float
    """Floating point operations of these, in all training steps."""

    @classmethod
    def of(cls, backbone: nn.Module, size: tuple[int, int], images: int) -> Work:
        """The work of learning from so many images of a size, each counted as often as it is seen."""
        forward: list[int] = []

        def count(layer: nn.Conv2d | nn.Linear, inputs: object, outputs: Tensor) -> None:
            forward.append(2 * outputs.numel() * layer.weight[0].numel())

        shadow = deepcopy(backbone).eval()  # one image is no batch to normalise
        for layer in shadow.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(count)
        with torch.no_grad():
            shadow(torch.zeros(1, 3, *size))
        return cls(len(forward), 3.0 * images * sum(forward))  # the way back takes twice as many

    def cost(self, cores: int) -> float:
        """Seconds that compiling takes, about."""
        return SECONDS_A_LAYER * self.layers / cores

    def saved(self, share: float, cores: int) -> float:
        """Seconds that the steps then take less, about, if it is this share of them."""
        return share * self.operations / OPERATIONS_A_SECOND / cores


def with_compiling(engine: Engine, wish: Compile, backbone: str, work: Callable[[], Work]) -> Engine:
    """The engine with the choice whether to compile, and the reason.

    `auto` compiles on a processor, and a backbone for which a gain was measured there. It asks no clock, so that the
    same training is compiled each time or never: compiled or not, the last bits differ.

    Args:
        engine: what was chosen before.
        wish: what was asked for.
        backbone: its name.
        work: what it goes through, if anybody needs to know.

    Raises:
        LongtailError: it was asked for, and no compiler works here.
    """
    if wish == "off":
        compiled, why = False, "not compiled, as asked"
    elif wish == "on":
        if trouble := trouble_compiling(engine.device):
            raise LongtailError(
                f"--compile on needs a compiler that works, which is not here ({trouble}); install g++ or clang++, or "
                "leave it away."
            )
        compiled, why = True, "compiled, as asked"
    else:
        compiled, why = _where_it_pays(engine, backbone, work)
    return replace(engine, compiled=compiled, reason=f"{engine.reason}; {why}")


def _where_it_pays(engine: Engine, backbone: str, work: Callable[[], Work]) -> tuple[bool, str]:
    if engine.device.type != "cpu":
        return False, f"not compiled: what that gains on {engine.device.type} was not measured"
    if backbone not in SHARE_SAVED:
        return False, f"not compiled: that is not known to speed up {backbone}"
    found, cores = work(), engine.threads or torch.get_num_threads()
    cost, saved = found.cost(cores), found.saved(SHARE_SAVED[backbone], cores)
    if saved < TIMES_ITS_COST * cost:
        return False, "not compiled: too short for that to pay"
    if trouble_compiling(engine.device):
        return False, "not compiled: no compiler works here"
    return True, f"compiled: that takes about {duration(cost)} and saves {duration(saved)}"


def trouble_compiling(device: torch.device) -> str | None:
    """What is wrong with the compiler here; None if it compiles a line."""
    try:
        _compiled(_line)(torch.ones(2, 8, device=device))
    except (RuntimeError, OSError, ImportError) as error:
        return str(error).strip().partition("\n")[0]
    return None


def compiled(backbone: nn.Module) -> Callable[[Tensor], Tensor]:
    """The backbone as a function, images to features, compiled at its first call.

    Every batch of a training is whole, so that one shape is all there is.

    Raises:
        LongtailError: when called, if the compiler does not know what to do with this network.
    """
    run = _compiled(backbone)

    def features(images: Tensor) -> Tensor:
        try:
            result: Tensor = run(images)
        except RuntimeError as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise LongtailError(
                    f"This backbone cannot be compiled ({str(error).strip().partition(chr(10))[0]}); give "
                    "--compile off."
                ) from error
            raise
        return result

    return features


def _compiled(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses a CUDA that nobody asked for
    return torch.compile(function, dynamic=False)


def _line(numbers: Tensor) -> Tensor:
    return (numbers * 2).sum(dim=1).relu()
