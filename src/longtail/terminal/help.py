"""What `--help` shows: options under headings, in one column throughout, each with its unit and default."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import cleandoc

import click
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from longtail.terminal.console import THEME

WIDTH = 110
"""Columns at most: longer lines are hard to read."""
NAMES_WIDTH = 33
"""Columns of the options' names and units."""


def help_text(command: click.Command, ctx: click.Context) -> str:
    """The help of a command, with escape sequences for colour, which click removes where there is no terminal."""
    console = Console(theme=THEME, force_terminal=True, color_system="256", markup=False, highlight=False, emoji=False)
    console.width = min(WIDTH, console.width)
    with console.capture() as captured:
        console.print(Group(*_parts(command, ctx)))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _parts(command: click.Command, ctx: click.Context) -> Iterable[RenderableType]:
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    yield Text.assemble(("Usage: ", "heading"), usage)
    yield Padding(Text(_paragraphs(cleandoc(command.help or ""))), (1, 2))
    if isinstance(command, click.Group):
        rows = [(Text(name, "many"), Text(each.get_short_help_str(WIDTH))) for name, each in command.commands.items()]
        yield from _section("Commands", rows, width=None)
    for heading, options in _by_heading(command.get_params(ctx)).items():
        yield from _section(heading, [_row(option, ctx) for option in options])


def _paragraphs(text: str) -> str:
    """Lines joined, so that they are wrapped to the terminal and not to the source."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _section(
    heading: str, rows: Iterable[tuple[Text, Text]], width: int | None = NAMES_WIDTH
) -> Iterable[RenderableType]:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=width)
    grid.add_column(ratio=1)
    for row in rows:
        grid.add_row(*row)
    yield Text(heading, style="heading")
    yield Padding(grid, (0, 0, 1, 2))


def _by_heading(parameters: Iterable[click.Parameter]) -> dict[str, list[click.Option]]:
    """The options under the heading of their panel, help itself at the end."""
    found: dict[str, list[click.Option]] = {}
    for parameter in parameters:
        if isinstance(parameter, click.Option):
            found.setdefault(getattr(parameter, "panel", "Help"), []).append(parameter)
    return found


def _row(option: click.Option, ctx: click.Context) -> tuple[Text, Text]:
    unit = "" if option.is_flag else option.make_metavar(ctx)
    default = option.get_help_extra(ctx).get("default", "").strip("()")
    name = Text.assemble((", ".join(option.opts), "many"), (f" {unit}" if unit else "", "dim"))
    return name, Text.assemble(option.help or "", (f"  [default: {default}]" if default else "", "dim"))
