"""Where words go: results to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from typing import IO

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
        "warning": "bold #d99a2b",
        "bar.complete": "#3f8fd2",
        "bar.finished": "#3fa66a",
        "bar.pulse": "#3f8fd2",
    }
)


class PipeConsole(Console):
    """A console that lets the closed pipe of `longtail ... | head` reach the one place that knows what to do."""

    def on_broken_pipe(self) -> None:
        """Hand on the error that rich handles when it calls this; it would end the program here."""
        self.quiet = True
        raise


def output_console() -> Console:
    """Standard output: results, and nothing else."""
    return console_on(sys.stdout)


def error_console() -> Console:
    """Standard error: what is going on, and what went wrong."""
    return console_on(sys.stderr)


def console_on(stream: IO[str], *, width: int | None = None, terminal: bool | None = None) -> Console:
    """A console in our colours that shows text as it is: brackets and colons in names mean nothing.

    Args:
        stream: where it writes.
        width: columns; by default the terminal's own.
        terminal: whether to take the stream for a terminal; by default it is asked.
    """
    if width is None and not stream.isatty():
        width = PLAIN_WIDTH
    return PipeConsole(
        file=stream, theme=THEME, width=width, force_terminal=terminal, markup=False, highlight=False, emoji=False
    )


def show_error(message: str, console: Console) -> None:
    """A sentence, and perhaps a list below it."""
    first, *rest = message.splitlines() or [""]
    sentence = Text.assemble(("Error: ", "error"), plain(first))
    console.print(sentence, soft_wrap=not console.is_terminal)
    for line in rest:
        console.print(plain(line), soft_wrap=True)
