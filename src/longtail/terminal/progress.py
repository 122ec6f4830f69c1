"""The onlooker who draws: bars with images/s and time left on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.progress import Task as Row
from rich.text import Text

from longtail.terminal.console import error_console
from longtail.text import duration, plain
from longtail.watching import Task, Watcher

QUIET_SECONDS = 15.0
"""Seconds between two lines of a task where there is no terminal to redraw."""
WIDE = 100
"""Columns from which on a bar has room for more than one fact."""


class Terminal(Watcher):
    """Shows a long job on standard error, so that standard output holds the result alone."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or error_console()
        self._bars = _bars(self.console)
        self._open = 0

    def say(self, line: str) -> None:
        """Print one line; it stays above the bars."""
        self.console.print(plain(line), soft_wrap=not self.console.is_terminal)

    def task(self, name: str, total: int, unit: str) -> Task:
        """A bar on a terminal, a line now and then elsewhere."""
        work = _Work(plain(name), total, unit)
        return _BarTask(self, work) if self.console.is_terminal else _LineTask(self, work)

    def _raise_bar(self, work: _Work) -> TaskID:
        self._bars.start()
        self._open += 1
        return self._bars.add_task(work.name, total=work.total, unit=work.unit, facts="")

    def _lower_bar(self, row: TaskID) -> None:
        self._bars.remove_task(row)
        self._open -= 1
        if not self._open:
            self._bars.stop()


class _Work:
    """How far a task is."""

    def __init__(self, name: str, total: int, unit: str) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = 0
        self.facts: dict[str, float] = {}
        self._start = time.perf_counter()

    def advance(self, done: int, facts: dict[str, float]) -> None:
        self.done += done
        self.facts |= facts

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    @property
    def per_second(self) -> float:
        return self.done / self.seconds if self.seconds > 0 else 0.0

    def under_way(self) -> str:
        """One line on a task that goes on."""
        left = (self.total - self.done) / self.per_second if self.done else 0.0
        return ", ".join(
            [
                f"{self.name}: {self.done:,} of {self.total:,} {self.unit}",
                _speed(self.per_second, self.unit),
                f"{duration(left)} left",
                *_named(self.facts),
            ]
        )

    def ended(self) -> str:
        """One line on a task that is done."""
        parts = [f"{self.name}: {self.done:,} {self.unit} in {duration(self.seconds)}"]
        return ", ".join([*parts, _speed(self.per_second, self.unit), *_named(self.facts)])


class _BarTask(Task):
    """A task as a bar that gives way to one line when it is done."""

    def __init__(self, terminal: Terminal, work: _Work) -> None:
        self._terminal, self._work = terminal, work
        self._row: TaskID | None = None

    def __enter__(self) -> _BarTask:
        self._row = self._terminal._raise_bar(self._work)
        return self

    def advance(self, done: int, **facts: float) -> None:
        """Move the bar."""
        self._work.advance(done, facts)
        if self._row is not None:
            named = _named(self._work.facts)
            shown = named if self._terminal.console.width >= WIDE else named[:1]
            self._terminal._bars.update(self._row, advance=done, facts="  ".join(shown))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._row is not None:
            self._terminal._lower_bar(self._row)
        if error is None:
            tick = Text("✓ ", style="better")
            self._terminal.console.print(tick + Text(self._work.ended(), style="dim"))


class _LineTask(Task):
    """A task as a plain line now and then, and one when it is done."""

    def __init__(self, terminal: Terminal, work: _Work) -> None:
        self._terminal, self._work = terminal, work
        self._said = 0.0

    def advance(self, done: int, **facts: float) -> None:
        """Say how far it is, if it was quiet for long enough."""
        self._work.advance(done, facts)
        if self._work.seconds - self._said >= QUIET_SECONDS:
            self._said = self._work.seconds
            self._terminal.say(self._work.under_way())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._terminal.say(self._work.ended())


class _SpeedColumn(ProgressColumn):
    """Units a second, over the last half minute."""

    def render(self, task: Row) -> Text:
        speed = task.finished_speed or task.speed
        return Text(_speed(speed, task.fields["unit"]) if speed else "", justify="right")


class _LeftColumn(ProgressColumn):
    """Time left, at the speed of the last half minute."""

    def render(self, task: Row) -> Text:
        left = task.time_remaining
        return Text("" if left is None else f"{duration(left)} left", style="bold", justify="right")


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        _SpeedColumn(),
        _LeftColumn(),
        TextColumn("{task.fields[facts]}", style="dim", markup=False),
        console=console,
        expand=True,
    )


def _speed(per_second: float, unit: str) -> str:
    return f"{per_second:,.0f} {unit}/s" if per_second >= 10 else f"{per_second:.1f} {unit}/s"


def _named(facts: dict[str, float]) -> list[str]:
    return [f"{name} {value:.3g}" for name, value in facts.items()]
