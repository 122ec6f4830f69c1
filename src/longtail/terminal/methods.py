"""What there is: the list of methods by kind, and the card of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from longtail.cards import Card
from longtail.terminal.console import output_console


def show_methods(cards: Sequence[Card]) -> None:
    """Names and summaries, kind by kind."""
    console = output_console()
    for kind, some in groupby(cards, key=lambda card: card.kind):
        console.print(Text.assemble((kind.heading, "heading"), (f"  {kind.where}NAME", "dim")))
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(style="many", width=max(len(card.name) for card in cards))
        grid.add_column()
        for card in some:
            grid.add_row(card.name, card.summary)
        console.print(Padding(grid, (0, 0, 1, 2), expand=False))
    console.print("longtail methods NAME shows a card: formula, numbers, citation.", style="dim")


def show_cards(cards: Sequence[Card]) -> None:
    """Each card in full."""
    console = output_console()
    for card in cards:
        console.print(Text.assemble((card.name, "heading"), (f"  {card.kind.singular}", "many")))
        console.print(Text(card.call, style="dim"))
        console.print()
        for line in flowing(card.text):
            console.print(Padding(Text(line.text), (0, 0, 0, 2 + line.indent), expand=False))


class Line(NamedTuple):
    """A line that may be as long as it likes, and the spaces before each of the lines that the terminal makes of it."""

    indent: int
    text: str


def flowing(text: str) -> Iterator[Line]:
    r"""A docstring whose paragraphs and arguments are one line each; formulas keep their lines.

    >>> [line.text for line in flowing("Two lines\nof prose.\n\n    a = b\n    c = d")]
    ['Two lines of prose.', '', 'a = b', 'c = d', '']
    """
    for block in text.split("\n\n"):
        lines = [Line(len(line) - len(line.lstrip()), line.strip()) for line in block.splitlines()]
        waiting: Line | None = None
        for line in lines:
            if waiting and _goes_on(waiting, line):
                waiting = Line(waiting.indent, f"{waiting.text} {line.text}")
                continue
            if waiting:
                yield waiting
            waiting = line
        if waiting:
            yield waiting
        yield Line(0, "")


def _goes_on(line: Line, following: Line) -> bool:
    """Whether a line is the rest of the one before: prose, or the further indented rest of an argument."""
    if line.text.endswith(":") and line.indent == 0:
        return False
    return following.indent > line.indent if line.indent else following.indent == 0
