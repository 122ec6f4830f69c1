"""What there is: the list of methods by kind, and the card of one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from longtail.cards import Card
from longtail.terminal.console import output_console


def show_methods(cards: Sequence[Card]) -> None:
    """Names and summaries, kind by kind."""
    console = output_console()
    for kind, some in groupby(cards, key=lambda card: card.kind):
        console.print(Text(kind.heading, style="heading") + Text(f"  {kind.where}NAME", style="dim not bold"))
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(style="many", no_wrap=True)
        grid.add_column()
        for card in some:
            grid.add_row(card.name, card.summary)
        console.print(Padding(grid, (0, 0, 1, 2)))
    console.print("longtail methods NAME shows a card: formula, numbers, citation.", style="dim")


def show_cards(cards: Sequence[Card]) -> None:
    """Each card in full."""
    console = output_console()
    for card in cards:
        title = Text(card.name, style="heading") + Text(f"  {card.kind.singular}", style="many not bold")
        console.print(title)
        console.print(Text(card.call, style="dim"))
        console.print(Padding(Text(card.text), (1, 0, 1, 2)))
