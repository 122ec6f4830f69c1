"""Several processes that train together, for tests: started from a server that has torch loaded already."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

from longtail.launch import joined
from longtail.world import World

Work = Callable[..., dict[str, Tensor]]
"""What each process does, called with its world; a function of a module that processes can import by its name."""

PRELOADED = [
    *("torch._dynamo", "sklearn.datasets", "timm.models", "longtail.launch", "longtail.losses"),
    *("longtail.training.loop.trainer", "longtail.studies.compare", "longtail.studies.resume"),
]
"""What takes long to import; the first is what an optimiser of torch imports when it is made."""


def in_processes(size: int, work: Work, folder: Path, *arguments: Any) -> list[dict[str, Tensor]]:
    """What each of `size` processes returns, in the order of their ranks; nothing from one that ended in between."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    start_processes(_member, (size, free_port(), work, folder, arguments), nprocs=size, start_method="forkserver")
    files = [folder / f"{rank}.safetensors" for rank in range(size)]
    return [load_file(file) if file.exists() else {} for file in files]


def environment(rank: int, size: int, port: int = 1) -> dict[str, str]:
    """What torchrun says to a process."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(number) for name, number in numbers.items()}}


def _member(rank: int, size: int, port: int, work: Work, folder: Path, arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment(rank, size, port))
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as world:
        assert world == World(rank, size)
        outcome = work(world, *arguments)
    save_file({name: tensor.contiguous() for name, tensor in outcome.items()}, folder / f"{rank}.safetensors")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port
