"""What the terminal shows: true, readable at any width, and safe to look at."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import longtail
from longtail.cli import cli
from longtail.counts import ClassCounts, ShotBorders
from longtail.exits import answer
from longtail.report.tables import Cell, Column, Table
from longtail.terminal import Terminal, progress as progress_room
from longtail.terminal.console import console_on, show_error
from longtail.terminal.methods import flowing
from longtail.terminal.tables import grid
from longtail.terminal.tail import HEIGHT, ROWS_UP_TO, tail

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def console(*, terminal: bool = False, width: int = 100) -> Console:
    return console_on(io.StringIO(), width=width, terminal=terminal)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def exponential(classes: int, largest: int, ratio: float) -> list[int]:
    return [int(largest / ratio ** (index / (classes - 1))) for index in range(classes)]


def drawn(counts: Sequence[int], width: int = 100, names: Sequence[str] | None = None) -> list[str]:
    names = names or [f"class {index}" for index in range(len(counts))]
    groups = ClassCounts(tuple(counts)).shot_groups(ShotBorders())
    return tail(names, counts, groups, width).plain.split("\n")


# the picture of the tail


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("classes", [2, 10, ROWS_UP_TO, ROWS_UP_TO + 1, 100, 1000, 8142])
def test_the_picture_fits_the_terminal(classes: int, width: int) -> None:
    for line in drawn(exponential(classes, 5000, 100), width):
        assert len(line) <= width


def eighths(line: str) -> int:
    """Length of a bar across, in eighths of a cell."""
    return sum(8 if cell == "█" else " ▏▎▍▌▋▊▉".find(cell) for cell in line if cell in "▏▎▍▌▋▊▉█")


def test_a_row_is_as_long_as_its_class_is_large() -> None:
    counts = exponential(10, 5000, 100)
    lines = drawn(counts, 120)
    lengths = [eighths(line) for line in lines[:10]]
    np.testing.assert_allclose(lengths, np.array(counts) / 5000 * lengths[0], atol=1)
    assert [int(line.split()[-1].replace(",", "")) for line in lines[:10]] == counts
    assert "linear scale" in lines[10]


def test_rows_stand_by_size_whatever_the_order_of_the_classes() -> None:
    lines = drawn([3, 500, 40], names=["lynx", "cat", "dog"])
    assert [line.split()[0] for line in lines[:3]] == ["cat", "dog", "lynx"]


def heights(lines: Sequence[str]) -> list[int]:
    """Height of every column, in eighths of a cell."""
    body = [re.split("[┤│]", line)[1] for line in lines[:HEIGHT]]
    return [sum(" ▁▂▃▄▅▆▇█".find(cell) for cell in column) for column in zip(*body, strict=True)]


def test_a_column_is_as_high_as_its_class_is_large() -> None:
    counts = exponential(100, 500, 100)
    columns = heights(drawn(counts, 106))
    assert len(columns) == 100
    np.testing.assert_allclose(columns, np.array(counts) / 500 * HEIGHT * 8, atol=1)


def test_a_column_may_stand_for_several_classes() -> None:
    columns = heights(drawn(exponential(1000, 1280, 50), 90))
    assert len(columns) == 90 - len("1,280  ")
    assert all(left >= right for left, right in pairwise(columns))
    assert min(columns) >= 1  # no class is nothing


def test_a_scale_that_would_hide_the_few_is_logarithmic() -> None:
    lines = drawn(exponential(1000, 1280, 256), 100)
    columns = heights(lines)
    assert "logarithmic scale" in lines[-1]
    assert min(columns) > HEIGHT  # 5 images of 1,280 would be half an eighth on a linear scale
    labels = [line.split()[0] for line in lines if "┤" in line]
    assert labels == ["1,280", "100", "10", "1"]


def test_spans_name_the_groups_and_their_classes() -> None:
    spans = drawn(exponential(100, 500, 100), 120)[HEIGHT + 1]
    assert spans.split() == ["many", "35", "medium", "35", "few", "30"]


def test_equal_counts_have_a_picture() -> None:
    assert len({eighths(line) for line in drawn([7, 7, 7])[:3]}) == 1
    assert len(set(heights(drawn([1] * 60)))) == 1


# progress


def test_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_room, "QUIET_SECONDS", 0.0)
    seen = console()
    terminal = Terminal(seen)
    terminal.say("digits: 10 classes")
    with terminal.task("training (stage 1 of 2)", 400, "images") as task:
        task.advance(100, loss=2.5)
        task.advance(300, loss=0.25, lr=0.1)
    said, first, second, last = text_of(seen).splitlines()
    assert said == "digits: 10 classes"
    assert re.fullmatch(r"training \(stage 1 of 2\): 100 of 400 images, [\d,.]+ images/s, .+ left, loss 2.5", first)
    assert "400 of 400 images" in second
    assert re.fullmatch(r"training \(stage 1 of 2\): 400 images in .+ s, [\d,.]+ images/s, loss 0.25, lr 0.1", last)
    assert "\x1b" not in text_of(seen)


def test_a_quiet_task_says_one_line() -> None:
    seen = console()
    with Terminal(seen).task("testing", 50, "images") as task:
        for _ in range(50):
            task.advance(1)
    assert len(text_of(seen).splitlines()) == 1


def test_bars_on_a_terminal_give_way_to_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = console(terminal=True, width=120)
    terminal = Terminal(seen)
    now = iter(range(1000))
    monkeypatch.setattr(terminal._bars._progress, "get_time", lambda: float(next(now)))
    with terminal.task("training", 1000, "images") as task:
        for _ in range(5):
            task.advance(100, loss=0.5, lr=0.1)
        terminal._bars._progress.refresh()
    plain = ESCAPE.sub("", text_of(seen))
    bar = next(line for line in reversed(re.split(r"[\r\n]", plain)) if "50 %" in line)
    assert re.search(r"training ━+.* 50 % +[\d.]+ images/s +\d+ s left +loss 0.5 {2}lr 0.1", bar)
    assert "✓ training: 500 images in" in plain
    assert not terminal._bars._progress.live.is_started


def test_a_failed_task_is_not_called_done() -> None:
    for terminal in (True, False):
        seen = console(terminal=terminal)
        with pytest.raises(KeyboardInterrupt), Terminal(seen).task("training", 10, "images"):
            raise KeyboardInterrupt
        assert "training: " not in text_of(seen)


def test_tasks_within_tasks() -> None:
    terminal = Terminal(console(terminal=True))
    with terminal.task("outer", 2, "runs") as outer:
        with terminal.task("inner", 5, "images") as inner:
            inner.advance(5)
        assert terminal._bars._progress.live.is_started
        outer.advance(2)
    assert not terminal._bars._progress.live.is_started


# others' text


HOSTILE = "cat\x1b]0;owned\x07\x1b[2J\u202egnp.exe\u2028\x9b31m[bold red]x[/] :smile:"


def test_others_text_cannot_steer_the_terminal() -> None:
    seen = console()
    terminal = Terminal(seen)
    terminal.say(HOSTILE)
    with terminal.task(HOSTILE, 1, "images") as task:
        task.advance(1)
    show_error(HOSTILE, seen)
    shown = text_of(seen).replace("\n", "")
    assert shown.isprintable()
    assert shown.count("[bold red]x[/] :smile:") == 3
    assert all(line.isprintable() for line in drawn([5, 3], names=[HOSTILE, "dog"]))


def test_described_names_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    for name in ("cat\x1b[31m", "dog\u202e"):
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.new("RGB", (80, 80)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "dog\u202e" / "x\x1b[2J.jpg").write_text("no image")
    assert answer(cli, ["describe", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert (shown.out + shown.err).replace("\n", "").isprintable()
    assert answer(cli, ["describe", str(tmp_path), "--json"]) == 2
    assert capsys.readouterr().out.replace("\n", "").isprintable()


# tables and cards


def test_changes_stand_under_what_they_change() -> None:
    table = Table(
        (Column("Recipe", numeric=False), Column("All"), Column("Few")),
        (
            (Cell("ce"), Cell("70.0", "± 1.0"), Cell("50.0", "± 2.0")),
            (Cell("gcl"), Cell("72.5", "± 0.5", "+2.5", "better"), Cell("50.0", "± 1.0", "±0.0")),
        ),
        (),
    )
    seen = console()
    seen.print(grid(table))
    lines = [line.split() for line in text_of(seen).splitlines()]
    assert lines[0] == ["Recipe", "All", "Few"]
    assert lines[2:] == [
        ["ce", "70.0", "±1.0", "50.0", "±2.0"],
        ["gcl", "72.5", "±0.5", "50.0", "±1.0"],
        ["change", "+2.5", "±0.0"],
    ]


def test_paragraphs_flow_and_formulas_stay() -> None:
    text = (
        "Prose that\ngoes on.\n\n    a = b\n    c = d\n\nArgs:\n    scale: s, which\n        goes on.\n    margin: m."
    )
    assert [(line.indent, line.text) for line in flowing(text) if line.text] == [
        (0, "Prose that goes on."),
        (4, "a = b"),
        (4, "c = d"),
        (0, "Args:"),
        (4, "scale: s, which goes on."),
        (4, "margin: m."),
    ]


def test_a_card_shows_formula_and_citation(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(cli, ["methods", "gcl"]) == 0
    out = capsys.readouterr().out
    for word in (
        "gcl  recipe",
        "longtail train --recipe gcl",
        "gcl  loss",
        "longtail.losses.gcl(counts",
        "CVPR 2022",
        "delta_j =",
    ):
        assert word in out


def test_the_list_names_every_method_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(cli, ["methods"]) == 0
    out = capsys.readouterr().out
    for card in longtail.methods():
        assert re.search(rf"^  {card.name} +\S", out, re.MULTILINE), card.name
