"""Trainings in this process that a signal stops after a step, and that go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack
from unittest.mock import patch

import pytest

from killing import steps_of
from longtail.interrupts import Interrupted
from longtail.training.loop.gradient import Gradient
from longtail.training.planning.wishes import Wishes
from tiny_runs import outcome, to_the_end


@contextmanager
def signalled(number: int, owner: type = Gradient, name: str = "of") -> Iterator[None]:
    """Within, a signal arrives when a method is called for the time of this number, counted from 0.

    By default that is the step of this number, over all stages.
    """
    method, left = getattr(owner, name), number

    def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal left
        if left == 0:
            signal.raise_signal(signal.SIGTERM)
        left -= 1
        return method(*arguments, **more)

    with patch.object(owner, name, counted):
        yield


def stopped(data: Path | None, run: Path, recipe: str, number: int, **wishes: Unpack[Wishes]) -> Interrupted:
    """A run that is begun, or gone on with, and stopped after so many more steps."""
    with signalled(number), pytest.raises(Interrupted) as stop:
        to_the_end(data, run, recipe, **wishes)
    return stop.value


def unbroken(data: Path | None, run: Path, recipe: str, **wishes: Unpack[Wishes]) -> tuple[dict[str, str], list[int]]:
    """The outcome of a run that nothing happens to, and how many steps each stage has."""
    to_the_end(data, run, recipe, **wishes)
    return outcome(run), list(steps_of(run).values())


def middles(steps: Sequence[int]) -> list[int]:
    """For `stopped`: the middle of every stage, counted from where the stop before has left the training."""
    places = [sum(steps[:stage]) + number // 2 for stage, number in enumerate(steps)]
    done = [0, *(place + 1 for place in places)]
    return [place - before for before, place in zip(done, places, strict=False)]
