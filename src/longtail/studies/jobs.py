"""Calls side by side: each in a process of its own, on its own share of the cores, all told to one onlooker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from longtail.errors import LongtailError
from longtail.interrupts import held
from longtail.watching import Task, Watcher

PATIENCE = 60.0
"""Seconds that a process gets to keep what it has when it is asked to end."""


class Call(NamedTuple):
    """What one process does."""

    name: str
    function: Callable[..., Any]
    """Of the top level of a module; it is called with a watcher and the arguments."""
    arguments: tuple[Any, ...]
    """Plain values, as is what the function returns."""


class Share(NamedTuple):
    """What one of several processes may use of the machine."""

    cores: tuple[int, ...] | None
    """It stays on these; None leaves that to the system."""
    threads: int


def shares(jobs: int, *, on_processor: bool) -> list[Share]:
    """The cores that this process may use, divided among so many.

    Raises:
        LongtailError: they are too few, for work that they do themselves.
    """
    cores = _cores()
    if not on_processor:
        return [Share(None, max(1, len(cores) // jobs))] * jobs
    if jobs > len(cores):
        raise LongtailError(
            f"{jobs} runs at a time would share {len(cores)} cores, which makes each slower; give --jobs {len(cores)}."
        )
    return [Share(tuple(part.tolist()), len(part)) for part in np.array_split(cores, jobs)]


def side_by_side(
    calls: Sequence[Call], shares: Sequence[Share], watcher: Watcher | None = None
) -> Generator[tuple[Call, Any]]:
    """Each call with what it returned, as they end; as many at a time as there are shares.

    Closing the iterator, an error and a signal end the others: they are asked to, and get time to keep what they have.

    Raises:
        LongtailError: a call raised one, or its process ended.
    """
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        multiprocessing.set_forkserver_preload([call.function.__module__ for call in calls])
    waiting, free = deque(calls), list(shares)
    running: dict[Connection, _Process] = {}
    try:
        while waiting or running:
            while waiting and free:
                with held():
                    process = _Process(context, waiting.popleft(), free.pop(), watcher or Watcher())
                    running[process.reports] = process
            for reports in wait(list(running)):
                assert isinstance(reports, Connection)  # noqa: S101  (no sockets, no handles)
                process = running[reports]
                if process.listen():
                    del running[reports]
                    free.append(process.share)
                    yield process.call, process.result
    finally:
        for process in running.values():
            process.ask_to_end()
        for process in running.values():
            process.end()


class _Process:
    """A process that carries out a call, seen from outside."""

    def __init__(self, context: Any, call: Call, share: Share, watcher: Watcher) -> None:
        self.call, self.share, self.result = call, share, None
        self._watcher = watcher
        self._tasks: dict[int, Task] = {}
        self.reports, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_carry_out, args=(call, share, theirs))
        self._process.start()
        theirs.close()  # so that its end shows when the process ends

    def listen(self) -> bool:
        """Pass one report on; returns whether that was the last, the result.

        Raises:
            LongtailError: of the call, or because there will be no other report.
        """
        try:
            what, *said = self.reports.recv()
        except EOFError:
            self._process.join()
            raise LongtailError(
                f"{self.call.name} ended before it was done, with exit code {self._process.exitcode}."
            ) from None
        if what == "mistake":
            raise LongtailError(*said)
        if what == "result":
            (self.result,) = said
            self._process.join()
        else:
            getattr(self, f"_{what}")(*said)
        return bool(what == "result")

    def ask_to_end(self) -> None:
        """As a cluster does. Nobody listens any more."""
        self.reports.close()
        self._process.terminate()

    def end(self) -> None:
        """Wait until it has ended, and end it where that takes too long."""
        self._process.join(PATIENCE)
        self._process.kill()
        self._process.join()
        for number in tuple(self._tasks):
            self._close(number, whole=False)

    def _say(self, line: str) -> None:
        self._watcher.say(line)

    def _say_of_run(self, line: str) -> None:
        self._watcher.say(f"{self.call.name}: {line}")

    def _task(self, number: int, name: str, total: int, unit: str) -> None:
        self._tasks[number] = self._watcher.task(f"{self.call.name}: {name}", total, unit).__enter__()

    def _advance(self, number: int, done: int, facts: dict[str, float]) -> None:
        self._tasks[number].advance(done, **facts)

    def _close(self, number: int, whole: bool) -> None:
        task = self._tasks.pop(number)
        if whole:
            task.__exit__(None, None, None)
        else:
            task.__exit__(LongtailError, LongtailError(f"{self.call.name} was ended"), None)


def _carry_out(call: Call, share: Share, reports: Connection) -> None:
    """What the process does."""
    _answer_to_the_parent_alone()
    if share.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share.cores)
    import torch

    torch.set_num_threads(share.threads)
    tell = partial(_tell, reports)
    with suppress(KeyboardInterrupt):  # the parent has asked for it
        try:
            tell("result", call.function(_Reporting(tell), *call.arguments))
        except LongtailError as mistake:
            tell("mistake", str(mistake))


def _tell(reports: Connection, *report: Any) -> None:
    """Send a report whole, if anybody listens."""
    with held(), suppress(BrokenPipeError):
        reports.send(report)


def _answer_to_the_parent_alone() -> None:
    """Ctrl-C goes to the parent, which asks this process to end; so does the parent's own end."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


class _Reporting(Watcher):
    """Tells another process."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell, self._numbers = tell, count()

    def say(self, line: str) -> None:
        self._tell("say", line)

    def say_of_run(self, line: str) -> None:
        self._tell("say_of_run", line)

    def task(self, name: str, total: int, unit: str) -> Task:
        number = next(self._numbers)
        self._tell("task", number, name, total, unit)
        return _ReportedTask(self._tell, number)


class _ReportedTask(Task):
    def __init__(self, tell: Callable[..., None], number: int) -> None:
        self._tell, self._number = tell, number

    def advance(self, done: int, **facts: float) -> None:
        self._tell("advance", self._number, done, facts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell("close", self._number, kind is None)


def _cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
