"""Signals that ask the program to end: Ctrl-C, a cluster's SIGTERM and SIGUSR1. They wait while a step is taken."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Those that this system has."""


class Interrupted(KeyboardInterrupt):
    """Somebody asked the program to end, at a place where that leaves nothing half done."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as a shell has it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


_held = 0
_waiting: int | None = None


@contextmanager
def listening() -> Iterator[None]:
    """Within, the signals raise `Interrupted` in the main thread; from another thread it changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _waiting
    _waiting = None
    before = {number: signal.signal(number, _answer) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def held() -> Iterator[None]:
    """Within, a first signal waits until the end; a second Ctrl-C does not."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if _held == 0 and waiting():
        end()


def waiting() -> bool:
    """Whether a signal waits to be answered."""
    return _waiting is not None


def end() -> NoReturn:
    """Answer the signal that waits here, or that another process of the training has got."""
    global _waiting
    number, _waiting = _waiting, None
    raise Interrupted(signal.SIGTERM if number is None else number)


def _answer(number: int, frame: FrameType | None) -> None:
    global _waiting
    if _held == 0:
        raise Interrupted(number)
    if _waiting is not None and number == signal.SIGINT:  # nobody likes to press it a third time
        raise KeyboardInterrupt
    _waiting = number
