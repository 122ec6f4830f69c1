"""Results as tables: the cells are the report's, the page has the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from longtail.data.words import listed
from longtail.deploy.evaluate import Evaluation
from longtail.report.records import RunRecord, StudyRecord
from longtail.report.tables import Cell, Table, comparison_table, run_table
from longtail.runs import RunFolder, StudyFolder
from longtail.terminal.console import output_console
from longtail.text import plain

NUMBER_WIDTH = 6
"""Columns of a number at least, so that a table without spreads has some air."""


def show_run(folder: RunFolder) -> None:
    """The headline numbers of a run, where it lies, and its page."""
    _show(run_table(RunRecord.read(folder)), "run", folder.path, folder.page)


def show_evaluation(evaluation: Evaluation) -> None:
    """The headline numbers of a run on the images that it was measured on."""
    record, measured = RunRecord.read(evaluation.run.folder), evaluation.metrics["measured"]
    images = {"fingerprint": measured["fingerprint"], "test_images": evaluation.metrics["images"]}
    record = replace(record, metrics=evaluation.metrics, config={**record.config, "data": {**record.data, **images}})
    _show_table(run_table(record))
    console = output_console()
    what = [f"Measured on {plain(measured['data'])}, {evaluation.metrics['part']} images"]
    if measured["test_prior"] is not None:
        what.append(f"class prior {plain(measured['test_prior'])}")
    console.print(", ".join(what), style="dim")
    if missing := evaluation.metrics["not_measured"]:
        console.print(f"Not measured, for want of images: {plain(listed(missing))}", style="dim")


def show_study(folder: StudyFolder) -> None:
    """The recipes under each other with their differences, where the runs lie, and their page."""
    _show(comparison_table(StudyRecord.read(folder)), "runs", folder.path, folder.page)


def grid(table: Table) -> Grid:
    """A table of the report for the terminal."""
    grid = Grid(box=SIMPLE_HEAD, header_style="heading", pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns:
        if column.numeric:
            grid.add_column(column.label, justify="right", min_width=NUMBER_WIDTH, no_wrap=True)
        else:
            grid.add_column(column.label, overflow="fold")
    for row in table.rows:
        grid.add_row(*map(_value, row))
        if any(cell.change for cell in row):
            _, *changes = row
            grid.add_row(Text("  change", style="dim"), *map(_change, changes))
    return grid


def _value(cell: Cell) -> Text:
    return Text.assemble(cell.text, (" " + cell.spread.replace(" ", "") if cell.spread else "", "dim"))


def _change(cell: Cell) -> Text:
    return Text(cell.change, style="dim" if cell.tone == "even" else cell.tone)


def _show(table: Table, what: str, path: Path, page: Path) -> None:
    _show_table(table)
    console = output_console()
    console.print()
    _point(console, what, path)
    _point(console, "page", page)


def _show_table(table: Table) -> None:
    """The table, and below it what its numbers are."""
    console = output_console()
    console.print(Padding(grid(table), (1, 0), expand=False))
    sentences = [note for note in table.notes if note.endswith(".")]
    facts = [note for note in table.notes if not note.endswith(".")]
    for line in (*sentences, " · ".join(facts)):
        console.print(line, style="dim")


def _point(console: Console, what: str, path: Path) -> None:
    """Where something lies, on one line that can be copied."""
    console.print(Text.assemble((f"{what:<5}", "heading"), str(path)), soft_wrap=True)
