"""Signals that ask for the end: answered at once, or when the step is taken; with the code that a shell knows."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from longtail import interrupts
from longtail.interrupts import SIGNALS, Interrupted, held, listening

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 138}
EVERY = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: signal.Signals(number).name)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Whatever a test did, the next one hears no signal of it."""
    yield
    assert interrupts._held == 0
    interrupts._waiting = None


@EVERY
def test_a_signal_is_answered_at_once(number: int) -> None:
    with pytest.raises(Interrupted) as stop, listening():
        signal.raise_signal(number)
    assert stop.value.number == number
    assert stop.value.exit_code == CODES[str(stop.value)]


@EVERY
def test_it_waits_until_the_step_is_taken(number: int) -> None:
    taken = []

    def train() -> None:
        with listening():
            with held():
                signal.raise_signal(number)
                assert interrupts.waiting()
                with held():  # a save within a step
                    taken.append("inner")
                taken.append("outer")
            taken.append("next")

    with pytest.raises(Interrupted) as stop:
        train()
    assert taken == ["inner", "outer"]
    assert stop.value.number == number
    assert not interrupts.waiting()


def take_a_step(*numbers: int, error: Exception | None = None) -> None:
    """A step in which these signals arrive, and which may fail."""
    with listening(), held():
        for number in numbers:
            signal.raise_signal(number)
        if error is not None:
            raise error


def test_the_last_of_several_signals_counts() -> None:
    with pytest.raises(Interrupted) as stop:
        take_a_step(signal.SIGUSR1, signal.SIGTERM)
    assert stop.value.exit_code == CODES["SIGTERM"]


def test_a_second_ctrl_c_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt) as stop:
        take_a_step(signal.SIGTERM, signal.SIGINT, error=AssertionError("it has waited"))
    assert not isinstance(stop.value, Interrupted)


def test_an_error_in_a_step_is_not_hidden_by_a_signal_that_waits() -> None:
    with pytest.raises(OSError, match="full"):
        take_a_step(signal.SIGTERM, error=OSError("full"))
    take_a_step()  # a new job hears nothing of it


@EVERY
def test_afterwards_all_is_as_before(number: int) -> None:
    def mine(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    heard: list[int] = []
    before = signal.signal(number, mine)
    try:
        with pytest.raises(Interrupted), listening():
            signal.raise_signal(number)
        signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert heard == [number]


def test_in_another_thread_nothing_changes() -> None:
    handlers: list[Any] = []

    def work() -> None:
        with listening():
            handlers.append([signal.getsignal(number) for number in SIGNALS])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [[signal.getsignal(number) for number in SIGNALS]]


def test_a_process_that_got_no_signal_itself_ends_as_by_sigterm() -> None:
    with pytest.raises(Interrupted) as stop:
        interrupts.end()
    assert stop.value.number == signal.SIGTERM
