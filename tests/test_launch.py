"""What a launcher says in the environment, and what comes of it; that processes meet, every test of several shows."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
import torch

from longtail.errors import LongtailError
from longtail.launch import check_alone, joined, own_device
from longtail.world import ALONE
from processes import environment, free_port

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment(0, 1):
        monkeypatch.delenv(name, raising=False)


def say(monkeypatch: pytest.MonkeyPatch, rank: int, size: int, **changes: str) -> None:
    for name, value in (environment(rank, size) | changes).items():
        monkeypatch.setenv(name, value)


def test_nobody_launched_several(monkeypatch: pytest.MonkeyPatch) -> None:
    with joined(CPU) as world:
        assert world is ALONE
    say(monkeypatch, 0, 1)
    with joined(CPU) as world:
        assert world is ALONE
    check_alone("longtail describe")
    assert own_device(torch.device("cuda", 3)) == torch.device("cuda", 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"RANK": "first"}, "RANK='first', no number"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE='', no number"),
        ({"RANK": "2"}, "RANK 2 is outside a world of 2 processes"),
        ({"MASTER_PORT": None}, "started without MASTER_PORT; start them with torchrun"),
        ({"RANK": None}, "RANK='', no number; start with torchrun, or unset it"),
    ],
)
def test_half_a_sentence_is_refused(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], said: str) -> None:
    say(monkeypatch, 0, 2)
    for name, value in changes.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(LongtailError, match=said), joined(CPU):
        pass


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    say(monkeypatch, 3, 4, LOCAL_RANK="1")
    assert own_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert chosen == [torch.device("cuda", 1)]
    assert own_device(CPU) == CPU
    with pytest.raises(LongtailError, match="cuda:0 is one GPU for all processes; give --device cuda"):
        own_device(torch.device("cuda", 0))
    with pytest.raises(LongtailError, match="--device mps; give --device cpu"):
        own_device(torch.device("mps"))
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(LongtailError, match="has 2 GPUs, too few for its processes"):
        own_device(torch.device("cuda"))


def test_what_works_alone_refuses_company(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, 0, 2)
    with pytest.raises(LongtailError, match="longtail compare works in one process"):
        check_alone("longtail compare")


def test_a_port_that_is_taken_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        say(monkeypatch, 0, 2, MASTER_PORT=str(taken.getsockname()[1]))
        with pytest.raises(LongtailError, match="2 processes did not find one another"), joined(CPU):
            pass


FAILING = """
import sys, time, torch
from longtail.errors import LongtailError
from longtail.launch import joined
try:
    with joined(torch.device("cpu")) as world:
        if world.rank == 1:
            raise LongtailError("The disk is full.")
        world.barrier()
        world.barrier()
except LongtailError as error:
    sys.exit(f"{world.rank}: {error}")
"""


def test_one_that_fails_ends_the_job_with_both_sentences() -> None:
    """Started as torchrun starts them, and nobody left to end the other."""
    begin, port = time.monotonic(), free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FAILING],
            env={**os.environ, **environment(rank, 2, port), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=60)[1].splitlines()[-1] for process in processes]
    assert said[1] == "1: The disk is full."
    assert said[0].startswith("0: Another process of this training has ended")
    assert [process.returncode for process in processes] == [1, 1]
    assert time.monotonic() - begin < 40
