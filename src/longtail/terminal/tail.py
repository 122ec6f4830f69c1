"""The picture of the tail: images per class, the largest class first, in the colours of the shot groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

from longtail.counts import SHOT_GROUPS, ShotGroup
from longtail.text import plain

ROWS_UP_TO = 24
"""Classes that get a bar and a name each; more of them stand side by side as columns."""
HEIGHT = 15
"""Lines of the columns."""
SMALLEST = 1 / 8
"""Cells of the smallest bar: no class is nothing."""
NAME_WIDTH = 28
LOGARITHMIC_FROM = 200
"""Imbalance ratio from which on a linear picture would show the few as nothing."""

ACROSS = " ▏▎▍▌▋▊▉█"  # eighths of a cell, growing to the right
UPWARD = " ▁▂▃▄▅▆▇█"  # eighths of a cell, growing upward


@dataclass(frozen=True)
class Bar:
    """One class."""

    name: str
    images: int
    group: ShotGroup


class Scale:
    """Count to a length in 0 .. 1, linear, or logarithmic where the ratio asks for it."""

    def __init__(self, bars: Sequence[Bar]) -> None:
        counts = [bar.images for bar in bars]
        self.largest = max(counts)
        self.logarithmic = self.largest / min(counts) >= LOGARITHMIC_FROM

    def __call__(self, count: float) -> float:
        return math.log1p(count) / math.log1p(self.largest) if self.logarithmic else count / self.largest

    def count_at(self, length: float) -> float:
        """The count that has this length."""
        return math.expm1(length * math.log1p(self.largest)) if self.logarithmic else length * self.largest

    @property
    def words(self) -> str:
        """What a reader must know."""
        return "logarithmic scale" if self.logarithmic else "linear scale"


def tail(classes: Sequence[str], counts: Sequence[int], groups: Sequence[ShotGroup], width: int) -> Text:
    """The picture, at most `width` columns wide."""
    bars = sorted(map(Bar, classes, counts, groups), key=lambda bar: -bar.images)
    return _rows(bars, width) if len(bars) <= ROWS_UP_TO else _columns(bars, width)


def _rows(bars: Sequence[Bar], width: int) -> Text:
    """A line a class: name, bar, count."""
    scale = Scale(bars)
    names = [_shortened(plain(bar.name), NAME_WIDTH) for bar in bars]
    margin = max(map(_cells, names))
    numbers = len(f"{scale.largest:,}")
    room = width - margin - numbers - 3
    picture = Text()
    for bar, name in zip(bars, names, strict=True):
        picture.append(" " * (margin - _cells(name)) + name + " ")
        picture.append(_across(scale(bar.images) * room), style=bar.group)
        picture.append(f" {bar.images:,}\n", style="bold")
    picture.append(" " * (margin + 1) + f"training images, {scale.words}", style="dim")
    return picture


def _columns(bars: Sequence[Bar], width: int) -> Text:
    """A column a class, several columns or a part of one, under a ruled axis of counts."""
    scale = Scale(bars)
    margin = len(f"{scale.largest:,}") + 2
    columns = _binned(bars, width - margin)
    picture = Text()
    marks = _marks(scale)
    for line in reversed(range(HEIGHT)):
        picture.append(marks.get(line, "").rjust(margin - 2), style="dim")
        picture.append(" ┤" if line in marks else " │", style="dim")
        for count, group in columns:
            cells = max(scale(count) * HEIGHT, SMALLEST) - line
            picture.append(_upward(cells), style=group)
        picture.append("\n")
    picture.append(" " * (margin - 1) + "└" + "─" * len(columns) + "\n", style="dim")
    picture.append(_spans(columns, bars, margin))
    picture.append(" " * margin + f"{len(bars):,} classes by their training images, {scale.words}", style="dim")
    return picture


def _binned(bars: Sequence[Bar], room: int) -> list[tuple[float, ShotGroup]]:
    """Mean count and group of every column: whole columns a class if there is room, else several classes a column."""
    if len(bars) <= room:
        return [(bar.images, bar.group) for bar in bars for _ in range(room // len(bars))]
    edges = [round(column * len(bars) / room) for column in range(room + 1)]
    binned = [bars[start:end] for start, end in pairwise(edges)]
    return [(sum(bar.images for bar in some) / len(some), some[len(some) // 2].group) for some in binned]


def _marks(scale: Scale) -> dict[int, str]:
    """Line to the count that its upper edge stands for, round numbers only."""
    marks = {HEIGHT - 1: f"{scale.largest:,}"}
    for count in _round_counts(scale):
        line = round(scale(count) * HEIGHT) - 1
        if 0 <= line < HEIGHT - 2 and not {line - 1, line, line + 1} & marks.keys():
            marks[line] = f"{count:,}"
    return marks


def _round_counts(scale: Scale) -> list[int]:
    """Numbers that an axis would be ruled at, large ones first."""
    if scale.logarithmic:
        return [10**power for power in reversed(range(len(str(scale.largest))))]
    step = 10 ** math.floor(math.log10(max(scale.largest, 2) / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if scale.largest / (step * factor) <= 5)
    return [int(step) * times for times in range(5, 0, -1)] if step >= 1 else [1]


def _spans(columns: Sequence[tuple[float, ShotGroup]], bars: Sequence[Bar], margin: int) -> Text:
    """Under its columns, each group's name and number of classes, where they fit."""
    line = Text(" " * margin)
    for group in SHOT_GROUPS:
        span = sum(1 for _, each in columns if each == group)
        classes = sum(1 for bar in bars if bar.group == group)
        label = next((word for word in (f"{group} {classes:,}", group, "") if len(word) < span), "")
        line.append(label.center(span), style=group)
    return line + Text("\n")


def _across(cells: float) -> str:
    """A bar to the right, exact to an eighth of a cell."""
    eighths = round(max(cells, SMALLEST) * 8)
    return "█" * (eighths // 8) + ACROSS[eighths % 8].strip()


def _upward(cells: float) -> str:
    """What lies in one line of a column that reaches `cells` beyond the line's foot."""
    return UPWARD[min(8, max(0, round(cells * 8)))]


def _shortened(name: str, width: int) -> str:
    text = Text(name)
    text.truncate(width, overflow="ellipsis")
    return text.plain


def _cells(name: str) -> int:
    return Text(name).cell_len
