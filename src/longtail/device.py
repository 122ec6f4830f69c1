"""Where a network runs, and what to do where the memory there does not suffice."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import torch
from torch import Tensor

from longtail.errors import LongtailError

MEMORY_PHRASES = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "not enough memory")
"""What other errors than torch.OutOfMemoryError say of it: those of MPS, of CUDA's libraries, of processors."""


def choose_device(name: str = "auto") -> torch.device:
    """The device for `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        LongtailError: there is no such device here.
    """
    try:
        chosen = torch.device(_best() if name == "auto" else name)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
        raise LongtailError(f"Device {name!r} cannot be used here ({reason}); use --device auto or cpu.") from None
    return chosen


def copies_behind(device: torch.device) -> bool:
    """Whether the processor may go on while a tensor is copied to the device.

    Not so with MPS: it may then read memory that is somebody else's by now (PyTorch's issue 189690).
    """
    return device.type == "cuda"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether this is what a device or the processor says when its memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or any(phrase in str(error) for phrase in MEMORY_PHRASES)


def in_parts_that_fit(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What a network that does not learn makes of images (B, 3, H, W); by halves where all at once do not fit.

    Raises:
        LongtailError: the memory does not suffice for a single one.
    """
    try:
        return network(images)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # which hold what the network had computed
    if len(images) == 1:
        height, width = images.shape[2:]
        raise LongtailError(
            f"The memory does not suffice for one image of {width} x {height} pixels; end what else uses it, or use "
            "--device cpu."
        )
    return torch.cat([in_parts_that_fit(network, half) for half in images.chunk(2)])


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
