"""What a long job tells whoever looks on; silent unless somebody does."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Task:
    """One stretch of work with a known length: a stage of training, a pass over the test images."""

    def advance(self, done: int, **facts: float) -> None:
        """`done` more units are finished; `facts` are numbers worth showing beside the bar (loss, learning rate)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Watcher:
    """The silent onlooker. `longtail.terminal.Terminal` is the one that draws."""

    def say(self, line: str) -> None:
        """One line worth keeping: what was found, what was chosen and why."""

    def say_of_run(self, line: str) -> None:
        """A line that is true of one run alone; where several run at once, it is said with the name of the run."""
        self.say(line)

    def task(self, name: str, total: int, unit: str) -> Task:
        """A stretch of `total` units (`unit`: images, files) begins; use the result as a context manager."""
        return Task()
