"""What processes do in tests of processes side by side; of a module that they can import by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch

from longtail.errors import LongtailError
from longtail.interrupts import Interrupted, listening
from longtail.watching import Watcher


def add(watcher: Watcher, first: int, second: int) -> int:
    """Tells of its work, and adds."""
    watcher.say(f"{first} and {second}")
    watcher.say_of_run("adding now")
    with watcher.task("adding", 2, "numbers") as task:
        task.advance(1, sum=first)
        task.advance(1, sum=first + second)
    return first + second


def where(watcher: Watcher) -> tuple[list[int], int, bool]:
    """Its cores, its threads, and whether Ctrl-C on the parent's terminal reaches it."""
    return sorted(os.sched_getaffinity(0)), torch.get_num_threads(), os.getpgid(0) == os.getpgid(os.getppid())


def refuse(watcher: Watcher, words: str) -> None:
    raise LongtailError(words)


def vanish(watcher: Watcher) -> None:
    """As the system ends a process when memory is short."""
    watcher.task("vanishing", 1, "processes").__enter__()
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_a_signal(watcher: Watcher, notes: str) -> None:
    """Writes down that it began, and that it was asked to end."""
    try:
        with listening():
            Path(notes).write_text(str(os.getpid()))
            watcher.say("waiting")
            time.sleep(60)
    except Interrupted as stop:
        Path(notes).write_text(str(stop))
        raise
