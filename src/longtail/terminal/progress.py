"""The onlooker who draws: bars with images/s and time left on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task as Row, TextColumn
from rich.text import Text

from longtail.terminal.console import error_console
from longtail.text import duration, plain
from longtail.watching import Task, Watcher

QUIET_SECONDS = 15.0
"""Seconds between two lines of a task where there is no terminal to redraw."""
SHORT = 10.0
"""Seconds below which a tenth is worth a word."""
WIDE = 110
"""Columns from which on a bar has room for more than one fact."""


class Terminal(Watcher):
    """Shows a long job on standard error, so that standard output holds the result alone."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or error_console()
        self._bars = Bars(self._console)

    def say(self, line: str) -> None:
        """Print one line; it stays above the bars."""
        self._console.print(plain(line), soft_wrap=not self._console.is_terminal)

    def task(self, name: str, total: int, unit: str) -> Task:
        """A bar on a terminal, a line now and then elsewhere."""
        pace = Pace(plain(name), total, unit)
        return BarTask(self._bars, pace) if self._console.is_terminal else LineTask(self._console, pace)


class Pace:
    """How far a task is, and how fast it goes."""

    def __init__(self, name: str, total: int, unit: str) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = 0
        self._facts: dict[str, float] = {}
        self._start = time.perf_counter()

    def advance(self, done: int, facts: dict[str, float]) -> None:
        """`done` more units, and what is known since."""
        self.done += done
        self._facts |= facts

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._start

    @property
    def facts(self) -> list[str]:
        """Each number with its name."""
        return [f"{name} {value:.3g}" for name, value in self._facts.items()]

    def under_way(self) -> str:
        """One line on a task that goes on."""
        left = self.seconds * (self.total - self.done) / max(self.done, 1)
        amount = f"{self.name}: {self.done:,} of {self.total:,} {self.unit}"
        return ", ".join([amount, self._speed(), f"{duration(left)} left", *self.facts])

    def ended(self) -> str:
        """One line on a task that is done."""
        took = f"{self.seconds:.1f} s" if self.seconds < SHORT else duration(self.seconds)
        amount = f"{self.name}: {self.done:,} {self.unit} in {took}"
        return ", ".join([amount, self._speed(), *self.facts])

    def _speed(self) -> str:
        return speed(self.done / self.seconds, self.unit)


class Bars:
    """The bars of all open tasks; they stand on the screen as long as there are any."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            SpeedColumn(),
            LeftColumn(),
            TextColumn("{task.fields[facts]}", style="dim", markup=False),
            console=console,
            expand=True,
            redirect_stdout=False,  # standard output holds the result, perhaps in a file
        )

    def add(self, pace: Pace) -> Row:
        """Draw one more bar."""
        self._progress.start()
        row = self._progress.add_task(pace.name, total=pace.total, unit=pace.unit, facts="")
        return next(each for each in self._progress.tasks if each.id == row)

    def move(self, row: Row, pace: Pace) -> None:
        """Draw a bar as far as its task is."""
        facts = pace.facts if self.console.width >= WIDE else pace.facts[:1]
        self._progress.update(row.id, completed=pace.done, facts="  ".join(facts))

    def remove(self, row: Row) -> None:
        """Take a bar away; with the last one, leave the screen as it was."""
        self._progress.remove_task(row.id)
        if not self._progress.tasks:
            self._progress.stop()


class BarTask(Task):
    """A task as a bar that gives way to one line when it is done."""

    def __init__(self, bars: Bars, pace: Pace) -> None:
        self._bars, self._pace = bars, pace

    def __enter__(self) -> Self:
        self._row = self._bars.add(self._pace)
        return self

    def advance(self, done: int, **facts: float) -> None:
        """Move the bar."""
        self._pace.advance(done, facts)
        self._bars.move(self._row, self._pace)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.remove(self._row)
        if error is None:
            self._bars.console.print(Text.assemble(("✓ ", "better"), (self._pace.ended(), "dim")))


class LineTask(Task):
    """A task as a plain line now and then, and one when it is done."""

    def __init__(self, console: Console, pace: Pace) -> None:
        self._console, self._pace = console, pace
        self._said = 0.0  # seconds since the beginning

    def advance(self, done: int, **facts: float) -> None:
        """Say how far it is, if it was quiet for long enough."""
        self._pace.advance(done, facts)
        if self._pace.seconds - self._said >= QUIET_SECONDS:
            self._said = self._pace.seconds
            self._console.print(self._pace.under_way(), soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._console.print(self._pace.ended(), soft_wrap=True)


class SpeedColumn(ProgressColumn):
    """Units a second, over the last half minute."""

    def render(self, task: Row) -> Text:
        """The speed, once there is one."""
        per_second = task.finished_speed or task.speed
        return Text(speed(per_second, task.fields["unit"]) if per_second else "", justify="right")


class LeftColumn(ProgressColumn):
    """Time left, at the speed of the last half minute."""

    def render(self, task: Row) -> Text:
        """The time, once there is a speed."""
        left = task.time_remaining
        return Text("" if left is None else f"{duration(left)} left", style="bold", justify="right")


def speed(per_second: float, unit: str) -> str:
    """Units a second.

    >>> speed(12345.6, "images"), speed(0.25, "files")
    ('12,346 images/s', '0.2 files/s')
    """
    return f"{per_second:,.0f} {unit}/s" if per_second >= 10 else f"{per_second:.1f} {unit}/s"
