"""Predictions as rows of text, written as they come: CSV for spreadsheets, JSON lines for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from typing import Literal, TextIO

from longtail.deploy.predict import Prediction
from longtail.errors import unknown
from longtail.text import plain

Format = Literal["csv", "jsonl"]
Row = Callable[[Prediction], None]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would compute."""


def write_predictions(predictions: Iterable[Prediction], file: TextIO, form: Format = "csv", top: int = 1) -> int:
    """Write one row a prediction; returns how many files could not be read.

    CSV has the columns file, class, probability, class_2, probability_2, ... and reason, with cells that are harmless
    in a terminal and in a spreadsheet. JSON lines hold names exactly as they are.

    Raises LongtailError for an unknown format.
    """
    rows: dict[str, Callable[[TextIO, int], Row]] = {"csv": _csv, "jsonl": _jsonl}
    if form not in rows:
        raise unknown("format", form, rows)
    write = rows[form](file, top)
    unreadable = 0
    for prediction in predictions:
        write(prediction)
        file.flush()
        unreadable += not prediction.ranked
    return unreadable


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula and no terminal for a command.

    >>> harmless("=1+1.jpg"), harmless("cat.jpg")
    ("'=1+1.jpg", 'cat.jpg')
    """
    return plain(f"'{cell}" if cell.startswith(FORMULA) else cell)


def _csv(file: TextIO, top: int) -> Row:
    writer = csv.writer(file, lineterminator="\n")
    ranks = [f"_{rank}" if rank > 1 else "" for rank in range(1, top + 1)]
    columns = [name + rank for rank in ranks for name in ("class", "probability")]
    writer.writerow(["file", *columns, "reason"])

    def write(prediction: Prediction) -> None:
        cells = [cell for name, share in prediction.ranked for cell in (harmless(name), f"{share:.6f}")]
        missing = [""] * (len(columns) - len(cells))
        writer.writerow([harmless(prediction.file), *cells, *missing, harmless(prediction.reason)])

    return write


def _jsonl(file: TextIO, top: int) -> Row:
    def write(prediction: Prediction) -> None:
        record = {
            "file": prediction.file,
            "class": prediction.class_name,
            "probability": prediction.probability,
            "top": [{"class": name, "probability": share} for name, share in prediction.ranked[:top]],
            "reason": prediction.reason or None,
        }
        line = json.dumps(record, ensure_ascii=False)
        file.write((line if line.isprintable() else json.dumps(record)) + "\n")

    return write
