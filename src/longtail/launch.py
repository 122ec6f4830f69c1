"""How a process finds the others that train with it: a launcher such as torchrun says it in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from longtail.errors import LongtailError
from longtail.world import ALONE, World

PATIENCE = timedelta(minutes=30)
"""How long a process waits for one that is silent. One that ends is noticed at once."""

_SAID = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the processes that were launched together, and leave them at the end; alone where nobody launched several.

    What `torchrun` sets is read: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. They speak by gloo, and those with GPUs
    by nccl about what lies there.

    Args:
        device: of this process; see `own_device`.

    Raises:
        LongtailError: the environment says half of it, or the processes do not find one another.
    """
    world = _launched()
    if world.size == 1:
        yield ALONE
        return
    by_nccl = device.type == "cuda" and dist.is_nccl_available()
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if by_nccl else "gloo", timeout=PATIENCE)
    except RuntimeError as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise LongtailError(
            f"The {world.size} processes did not find one another at {place}: {_first_line(error)}"
        ) from error
    whole = False
    try:
        yield world
        whole = True
    finally:
        if whole or not by_nccl:  # nccl would wait for processes that may be gone; its connections end with this one
            dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The device for this process: of several processes on a machine, each has a GPU of its own.

    Raises:
        LongtailError: there are more processes than GPUs, one GPU is named for all, or the device is for one process.
    """
    if _launched().size == 1 or device.type == "cpu":
        return device
    if device.type != "cuda":
        raise LongtailError(
            f"Several processes cannot train on --device {device.type}; give --device cpu, or start one."
        )
    if device.index is not None:
        raise LongtailError(
            f"--device {device} is one GPU for all processes; give --device cuda, and each takes its own."
        )
    local, there = _number("LOCAL_RANK"), torch.cuda.device_count()
    if local >= there:
        raise LongtailError(f"This machine has {there} GPUs, too few for its processes; start {there}, one a GPU.")
    own = torch.device("cuda", local)
    torch.cuda.set_device(own)
    return own


def check_alone(command: str) -> None:
    """Refuse several processes where only one can work.

    Raises:
        LongtailError: several were launched.
    """
    if _launched().size > 1:
        raise LongtailError(f"{command} works in one process; start it without torchrun. longtail train can share.")


def _launched() -> World:
    """Rank and size as the environment says them."""
    if "WORLD_SIZE" not in os.environ and "RANK" not in os.environ:
        return ALONE
    world = World(_number("RANK"), _number("WORLD_SIZE"))
    if world.size == 1:
        return ALONE
    if missing := [name for name in _SAID if name not in os.environ]:
        raise LongtailError(f"{world.size} processes were started without {missing[0]}; start them with torchrun.")
    if not world.rank < world.size:
        raise LongtailError(f"RANK {world.rank} is outside a world of {world.size} processes; ranks count from 0.")
    if not dist.is_available():
        raise LongtailError("This PyTorch is built without torch.distributed; start one process alone.")
    return world


def _number(name: str) -> int:
    said = os.environ.get(name, "")
    if not said.isdecimal():
        raise LongtailError(f"The environment says {name}={said!r}, no number; start with torchrun, or unset it.")
    return int(said)


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().partition("\n")[0]
