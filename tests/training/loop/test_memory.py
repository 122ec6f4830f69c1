"""Out of memory: the batch that is named is the largest tried that succeeds, and it does fit."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from longtail import losses
from longtail.device import is_out_of_memory
from longtail.errors import LongtailError
from longtail.training.loop.memory import blank_steps, fits_memory, images_that_fit
from longtail.training.stage import Stage
from tiny_training import FLOAT32, Counting, stage


def room_for(images: int, tried: list[int] | None = None) -> Callable[[int], None]:
    """An attempt on a device with memory for so many images."""

    def attempt(number: int) -> None:
        if tried is not None:
            tried.append(number)
        if number > images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    return attempt


def sentence(what: Stage, images: int, attempt: Callable[[int], object] | None) -> str:
    with pytest.raises(LongtailError) as caught, fits_memory(what, images, attempt):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return str(caught.value)


@pytest.mark.parametrize("images", [3, 64, 100, 128, 1000])
def test_the_number_named_fits_and_the_next_one_tried_does_not(images: int) -> None:
    for room in range(2, images):
        tried: list[int] = []
        fit = images_that_fit(room_for(room, tried), images)
        assert 2 <= fit <= room
        assert tried == sorted(tried, reverse=True)
        assert all(number > room for number in tried[:-1])
        assert tried[-1] == fit
        assert room < 1.5 * fit + 2 or room >= 0.75 * images  # hardly less than two thirds of what there is room for
    assert images_that_fit(room_for(1), images) == 0


@pytest.mark.parametrize(
    ("changes", "images", "room", "expected"),
    [
        ({"batch_size": 128}, 128, 100, "128 images at once; 96 fit: give --batch-size 96, or --accumulate 2,"),
        ({"batch_size": 128}, 128, 5, "128 images at once; 4 fit: give --batch-size 4, or --accumulate 32,"),
        ({"batch_size": 128, "accumulate": 4}, 32, 20, "; 16 fit: give --batch-size 64, or --accumulate 8,"),
        ({"batch_size": 128}, 64, 50, "64 images at once; 48 fit: give --batch-size 96, or --accumulate 2,"),
        ({"batch_size": 64, "objective": losses.lade([5, 1])}, 64, 50, "; 48 fit: give --batch-size 48."),
        ({"batch_size": 64}, 64, 1, "64 images at once, nor for fewer; give a smaller --image-size or --backbone"),
    ],
    ids=["whole", "far too many", "in pieces", "half of two processes", "a loss of whole batches", "hopeless"],
)
def test_the_sentence_names_what_to_ask_for(changes: dict[str, object], images: int, room: int, expected: str) -> None:
    assert expected in sentence(stage(**changes), images, room_for(room))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "processes", "room"), [(128, 1, 1, 60), (100, 3, 2, 9), (96, 5, 4, 3), (64, 2, 3, 7)]
)
def test_what_the_sentence_names_fits_whatever_the_numbers(
    batch_size: int, accumulate: int, processes: int, room: int
) -> None:
    def at_once(batch_size: int, pieces: int) -> int:
        return math.ceil(math.ceil(batch_size / pieces) / processes)

    what = stage(batch_size=batch_size, accumulate=accumulate)
    words = sentence(what, at_once(batch_size, accumulate), room_for(room))
    proposed, pieces = map(int, re.findall(r"(?:batch-size|accumulate) (\d+)", words))
    assert at_once(proposed, accumulate) <= room
    assert at_once(batch_size, pieces) <= room


def test_without_an_attempt_half_is_named() -> None:
    assert "half as many may fit: give --batch-size 64." in sentence(stage(batch_size=128), 128, None)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB, max allowed: 18.1 GB)."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_every_device_says_it_in_its_own_way(error: RuntimeError) -> None:
    assert is_out_of_memory(error)
    with pytest.raises(LongtailError, match="memory does not suffice"), fits_memory(stage(), 64):
        raise error


def test_other_errors_pass_as_they_are() -> None:
    def broken(images: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"), fits_memory(stage(), 64):
        broken(64)
    with pytest.raises(RuntimeError, match="shapes"), fits_memory(stage(), 64, broken):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    with fits_memory(stage(), 64, broken):
        pass


def test_what_the_failed_step_held_is_let_go_of_before_others_are_tried() -> None:
    alive: list[int] = []

    class Held:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def deep() -> None:
        held = Held()
        raise torch.OutOfMemoryError(f"CUDA out of memory for {held}")

    def attempt(images: int) -> None:
        assert not alive
        held = Held()
        if images > 8:
            raise torch.OutOfMemoryError(f"CUDA out of memory for {held}")

    with pytest.raises(LongtailError, match="; 8 fit"), fits_memory(stage(batch_size=64), 64, attempt):
        deep()


def test_a_blank_step_is_a_whole_step() -> None:
    network = Counting()
    optimizer = torch.optim.AdamW(network.parameters())
    Counting.calls.clear()
    blank_steps(network, optimizer, FLOAT32, (8, 8))(5)
    assert Counting.calls == [5]
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert len(optimizer.state) == len(list(network.parameters()))  # with all its moments


IN_A_SMALL_PROCESS = """
import resource
import torch
from longtail import losses
from longtail.device import is_out_of_memory
from longtail.errors import LongtailError
from longtail.training.engine import Engine
from longtail.training.loop.memory import blank_steps, fits_memory
from longtail.training.stage import Stage

class Deep(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, images):
        for _ in range(100):  # each keeps 24 KiB an image for the way back, so that 83 have room
            images = torch.sin(images * self.weight)
        return images.flatten(1)

network = Deep()
engine = Engine(torch.device("cpu"), torch.float32, "for a test")
step = blank_steps(network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9), engine, (32, 32))
step(32)
with open("/proc/self/status") as file:
    used = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used + 200 * 2**20,) * 2)
try:
    with fits_memory(Stage("training", losses.cross_entropy(), 1, 256, 0.1), 256, step):
        step(256)
except LongtailError as error:
    print(error)
    step(int(str(error).partition("--batch-size ")[2].partition(",")[0]))
    print("it fits")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited by what only Linux counts")
def test_in_a_process_that_is_out_of_memory_for_real() -> None:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is free for others
    command = [sys.executable, "-c", IN_A_SMALL_PROCESS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert not done.stderr
    said, fits = done.stdout.splitlines()
    assert said.startswith("The memory does not suffice for 256 images at once; 64 fit: give --batch-size 64")
    assert fits == "it fits"
