"""A described data set: what it is, the picture of its tail, its shot groups, what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from longtail.counts import SHOT_GROUPS
from longtail.data.audit.describe import Description
from longtail.data.audit.findings import Finding
from longtail.report.words import group_range
from longtail.terminal.console import error_console, output_console
from longtail.terminal.tail import tail
from longtail.text import counted, plain

PARTS = {"train": "Training", "validation": "Validation", "test": "Test"}
NAMED = 20
"""Unreadable files that are named; JSON names all."""
GROUPS_NAMED, IN_A_GROUP = 5, 4
"""Groups of images of a finding that are named, and images of each."""
SIGNS = {"info": ("·", "dim"), "warning": ("!", "warning"), "error": ("✗", "error")}


def show_description(description: Description) -> None:
    """Print the description."""
    console = output_console()
    for part in (
        _headline(description),
        tail(description.classes, description.counts.per_class, description.groups, console.width),
        _groups(description),
    ):
        console.print(Padding(part, (0, 0, 1, 0), expand=False))
    for note in description.notes:
        console.print(plain(note), style="dim")
    _unreadable(description, console)
    for finding in description.findings:
        if finding.id != "unreadable-image":
            _finding(finding, console)


def _headline(description: Description) -> Text:
    counts = description.counts
    parts = ", ".join(f"{sum(images):,} {PARTS[part].lower()}" for part, images in description.parts.items())
    return Text.assemble(
        (plain(description.name), "heading"),
        f": {counted(len(counts), 'class')}; {parts} images; {counts.largest:,} training images in the "
        f"largest class, {counts.smallest:,} in the smallest: ",
        (f"imbalance ratio {counts.ratio:,.4g}", "heading"),
    )


def _groups(description: Description) -> Grid:
    """The shot groups, a row each, in the colours of the picture."""
    grid = Grid(box=SIMPLE_HEAD, header_style="heading", pad_edge=False, show_edge=False)
    for heading in ("", "Shot group", "Images a class"):
        grid.add_column(heading)
    for heading in ("Classes", *(f"{PARTS[part]} images" for part in description.parts)):
        grid.add_column(heading, justify="right")
    groups = description.groups
    for group in SHOT_GROUPS:
        inside = [index for index, each in enumerate(groups) if each == group]
        images = [f"{sum(counts[index] for index in inside):,}" for counts in description.parts.values()]
        row = (group, group_range(group, description.borders), f"{len(inside):,}", *images)
        grid.add_row(Text("■", style=group), *row)
    return grid


def _unreadable(description: Description, console: Console) -> None:
    looked = "every image was decoded" if description.looked == "pixels" else "only headers were read; --full decodes"
    bad = description.unreadable
    if not bad:
        console.print(Text.assemble(("✓ ", "better"), f"No unreadable file ({looked})."))
        return
    console.print(Text.assemble((f"✗ {counted(len(bad), 'unreadable file')}", "error"), f" ({looked}):"))
    for identity, reason in list(bad.items())[:NAMED]:
        console.print(f"  {plain(identity)}: {plain(reason)}", soft_wrap=True)
    if len(bad) > NAMED:
        console.print(f"  and {len(bad) - NAMED:,} more; --json names them all")


def _finding(finding: Finding, console: Console) -> None:
    """One line, and for images that belong together some of them."""
    sign, style = SIGNS[finding.severity]
    console.print(
        Text.assemble((f"{sign} ", style), plain(f"{finding.text} "), (f"[{finding.id}]", "dim")), soft_wrap=True
    )
    groups = finding.about if "identical" in finding.id else ()
    for row in groups[:GROUPS_NAMED]:
        more = ", ..." if len(row) > IN_A_GROUP else ""
        console.print(f"  {', '.join(map(plain, row[:IN_A_GROUP]))}{more}", soft_wrap=True)
    if len(groups) > GROUPS_NAMED:
        console.print(f"  and {len(groups) - GROUPS_NAMED:,} more; --json names them all")


def show_unreadable(files: int) -> None:
    """Say beside the rows of predictions how many of them have a reason and no class."""
    each = "its row" if files == 1 else "their rows"
    error_console().print(f"{counted(files, 'file')} could not be read; the reason stands in {each}.", soft_wrap=True)


def show_json(content: Mapping[str, Any]) -> None:
    """Print JSON, exactly, for a program to read."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    safe = all(line.isprintable() for line in text.splitlines())
    output_console().out(text if safe else json.dumps(content, indent=2), highlight=False)
