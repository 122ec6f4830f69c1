"""Where words go: results to standard output, everything else to standard error."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text
from rich.theme import Theme

from longtail.text import plain

PLAIN_WIDTH = 110
"""Columns where the output is no terminal and so has no width of its own."""

THEME = Theme(
    {
        "many": "#3f8fd2",
        "medium": "#d99a2b",
        "few": "#e0554f",
        "better": "#3fa66a",
        "worse": "#e0554f",
        "heading": "bold",
        "error": "bold #e0554f",
        "bar.complete": "#3f8fd2",
        "bar.finished": "#3fa66a",
        "bar.pulse": "#3f8fd2",
    }
)


class PipeConsole(Console):
    """A console that lets the closed pipe of `longtail ... | head` reach the one place that knows what to do."""

    def on_broken_pipe(self) -> None:
        """Hand the error on; rich would end the program here."""
        self.quiet = True
        raise  # noqa: PLE0704 -- rich calls this while it handles the BrokenPipeError


def output_console() -> Console:
    """Standard output: results, and nothing else."""
    return _console(stderr=False)


def error_console() -> Console:
    """Standard error: what is going on, and what went wrong."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return PipeConsole(stderr=stderr, theme=THEME, markup=False, highlight=False, emoji=False, width=width)


def show_error(message: str, console: Console) -> None:
    """A sentence, and perhaps a list below it."""
    first, *rest = message.splitlines() or [""]
    sentence = Text.assemble(("Error: ", "error"), plain(first))
    console.print(sentence, soft_wrap=not console.is_terminal)
    for line in rest:
        console.print(plain(line), soft_wrap=True)
