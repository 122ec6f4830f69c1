"""Where a network runs."""

from __future__ import annotations

import torch

from longtail.errors import LongtailError


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


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
