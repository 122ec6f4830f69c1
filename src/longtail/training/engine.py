"""Where and how a network runs: device, precision, memory layout. Chosen once, said in one line, recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from longtail.device import choose_device, copies_behind, in_parts_that_fit
from longtail.errors import LongtailError
from longtail.models.folding import folded
from longtail.models.fusing import fused

Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PIXELS_FOR_THREADS = 16_384  # a batch: 16 images of 32 x 32

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Engine:
    """Device and precision of a run. Weights, batch-norm statistics and the loss stay in float32."""

    device: torch.device
    precision: torch.dtype  # of the network while it trains: float32, or bfloat16 by autocast
    reason: str
    threads: int | None = None  # of the processor; None leaves what torch has
    compiled: bool = False  # a backbone that learns

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Engine:
        """The engine of a `description`, whatever would be chosen today.

        Raises:
            LongtailError: there is no such device here.
        """
        try:
            device = choose_device(description["device"])
        except LongtailError:
            raise LongtailError(
                f"This training runs on the device {description['device']!r}, which is not here; go on where it is."
            ) from None
        precision = PRECISIONS[description["precision"]]
        return cls(device, precision, description["reason"], description["threads"], description["compiled"])

    def description(self) -> dict[str, Any]:
        """The engine as JSON, with the number of threads that it has now."""
        return {
            "device": str(self.device),
            "precision": self.precision_name,
            "reason": self.reason,
            "threads": self.threads or torch.get_num_threads(),
            "compiled": self.compiled,
        }

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the network trains; outside it everything is float32."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def place(self, model: Model) -> Model:
        """The model on the device, in the layout that convolutions run fastest in."""
        return model.to(self.device).to(memory_format=torch.channels_last)

    def images(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) on the device, in the layout of the model."""
        behind = copies_behind(self.device)
        return images.to(self.device, memory_format=torch.channels_last, non_blocking=behind)

    @property
    def pixels_at_once(self) -> int:
        """How many pixels a frozen network sees at once: on a processor what its caches hold, elsewhere plenty."""
        return 2**18 if self.device.type == "cpu" else 2**24

    def frozen(self, network: nn.Module, precision: torch.dtype) -> Callable[[Tensor], Tensor]:
        """The network as a function, images to float32 outputs: a copy in fewer steps, without gradient."""
        copy: nn.Module = self.place(folded(network).to(precision))
        if self.device.type == "cpu":
            copy = fused(copy)

        @torch.no_grad()
        def outputs(images: Tensor) -> Tensor:
            return in_parts_that_fit(copy, images.to(precision)).float()

        return outputs

    def seed(self, value: int) -> None:
        """Seed torch's generators, as far as this device uses them.

        `torch.manual_seed` seeds those of absent devices too, which takes a tenth of a millisecond: much beside a small
        step.
        """
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(value)
        else:
            torch.manual_seed(value)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The context of a whole run: the number of threads, put back afterwards."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def for_batches_of(self, pixels: int) -> Engine:
        """The engine for batches of so many pixels: too small ones are not worth a second thread."""
        small = self.device.type == "cpu" and pixels < PIXELS_FOR_THREADS
        return replace(self, threads=1, reason=f"{self.reason}; one thread, the batches are small") if small else self

    @property
    def precision_name(self) -> str:
        """`float32` or `bfloat16`."""
        return str(self.precision).removeprefix("torch.")

    def describe(self) -> str:
        """One line for people: what was chosen, and why."""
        return f"device {self.device}, {self.precision_name}, channels last ({self.reason})"


def choose_engine(device: str = "auto", precision: Precision = "auto") -> Engine:
    """The engine for a device and a precision of training.

    Args:
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1` or `mps`.
        precision: `float32`, `bfloat16`, or `auto` for bfloat16 where the hardware is fast at it.

    Raises:
        LongtailError: there is no such device here.
    """
    chosen = choose_device(device)
    if precision != "auto":
        return Engine(chosen, PRECISIONS[precision], "as asked")
    if chosen.type == "cuda":
        return Engine(chosen, torch.bfloat16, torch.cuda.get_device_name(chosen))
    if chosen.type == "cpu" and _cpu_has_bfloat16():
        return Engine(chosen, torch.bfloat16, "the processor multiplies bfloat16 in hardware")
    return Engine(chosen, torch.float32, "no fast bfloat16 here")


def _cpu_has_bfloat16() -> bool:
    """AMX or AVX512-BF16; with neither, bfloat16 is slower than float32."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
