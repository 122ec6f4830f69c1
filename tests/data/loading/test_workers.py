"""Processes that decode, and signals: which end them, and which do not. A process of its own starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from longtail.interrupts import SIGNALS

pytestmark = pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="needs to know who sent a signal")

PARENT = """
import multiprocessing, signal, sys
import numpy as np
from torch.utils.data._utils import worker
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.workers import Decoder, Request, Workers
from longtail.data.sources.digits import digits
from longtail.draws import Key
from longtail.interrupts import SIGNALS

multiprocessing.set_start_method(sys.argv[1])
worker.MP_STATUS_CHECK_INTERVAL = 1000  # seconds after which torch's own watch looks for the parent
for number in SIGNALS:
    signal.signal(number, lambda *_: None)  # in its own time; here never
rows = np.arange(8)
requests = [Request(rows, rows, Key.of_seed(0))] * 4
workers = Workers(Decoder(digits().train.pixels, Preprocessing((8, 8))), 2)

def answer(line):
    children = multiprocessing.active_children()
    if line == "decode":
        shapes = {tuple(decoded.images.shape) for decoded in workers.decode(requests)}
        assert shapes == {(8, 3, 8, 8)}
    elif line == "restart":
        workers.close()
    elif line == "close":
        workers.close()
        for child in children:
            child.join(10)
    elif line == "terminate":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch complains of a worker that ends by itself
        for child in children * 10:
            child.terminate()  # a signal is lost while the same one of another sender waits to be seen
            child.join(1)
    return " ".join(str(child.pid) for child in multiprocessing.active_children())

print("ready", flush=True)
for line in sys.stdin:
    print(answer(line.strip()), flush=True)
"""


class Parent:
    """A process, leader of a group of its own, that decodes with two workers when told to."""

    def __init__(self, start_method: str = "fork") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, start_method],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def tell(self, line: str) -> set[int]:
        """Have it do something; returns the workers that live afterwards."""
        self.say(line)
        return self.workers()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def workers(self) -> set[int]:
        assert self.process.stdout is not None
        return set(map(int, self.process.stdout.readline().split()))

    def signal_all(self, number: int) -> None:
        os.killpg(self.process.pid, number)


@pytest.fixture(scope="module")
def parent() -> Iterator[Parent]:
    parent = Parent()
    yield parent
    parent.process.kill()
    with parent.process as process:
        process.wait()


def test_signals_to_all_processes_leave_the_workers_at_work(parent: Parent) -> None:
    workers = parent.tell("decode")
    assert len(workers) == 2
    for number in SIGNALS:
        parent.signal_all(number)
        assert parent.tell("decode") == workers


def test_so_it_is_while_they_start(parent: Parent) -> None:
    for number in SIGNALS * 3:
        parent.tell("restart")
        parent.say("decode")
        for _ in range(20):
            parent.signal_all(number)
            time.sleep(0.002)
        assert len(parent.workers()) == 2


def test_they_end_with_the_loader(parent: Parent) -> None:
    assert len(parent.tell("decode")) == 2
    assert parent.tell("close") == set()


def test_they_end_when_the_parent_ends_them(parent: Parent) -> None:
    assert len(parent.tell("decode")) == 2
    parent.signal_all(signal.SIGTERM)  # does not count
    assert parent.tell("terminate") == set()


def test_they_end_when_the_parent_is_gone() -> None:
    parent = Parent()
    assert len(parent.tell("decode")) == 2
    parent.process.kill()
    parent.process.communicate(timeout=30)  # its output ends when nobody is left who could write to it


def test_they_work_where_a_server_forks_them() -> None:
    """As it is by default from Python 3.14 on, and in the processes of a comparison: their parent did not fork them."""
    parent = Parent("forkserver")
    assert len(parent.tell("decode")) == 2
    time.sleep(1.5)  # they look for their parent every second
    assert len(parent.tell("decode")) == 2
    parent.process.kill()
    parent.process.communicate(timeout=30)
