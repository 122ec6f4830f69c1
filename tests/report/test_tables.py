"""Tables against numbers computed here from the metrics of the run folders."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest

from longtail.errors import LongtailError
from longtail.report.records import RunRecord, StudyRecord
from longtail.report.tables import (
    Table,
    class_table,
    comparison_table,
    gains_table,
    losses_table,
    run_table,
)
from longtail.runs import StudyFolder
from written_runs import write_run, write_study


def texts(table: Table, row: int) -> list[str]:
    return [cell.text for cell in table.rows[row]]


def metrics_of(study: StudyFolder, recipe: str, seed: int) -> dict[str, Any]:
    metrics = study.run(recipe, seed).metrics
    assert metrics
    return metrics


def test_a_run_in_one_row(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    table = run_table(RunRecord.read(folder))
    metrics = folder.metrics
    assert metrics
    few = 100 * metrics["groups"]["few"]["accuracy"]
    assert [column.label for column in table.columns] == [
        "Recipe", "All", "Many", "Medium", "Few", "Worst class", "ECE",
    ]  # fmt: skip
    assert texts(table, 0)[0] == "ce"
    assert texts(table, 0)[1] == f"{100 * metrics['accuracy']:.1f}"
    assert texts(table, 0)[4] == f"{few:.1f}"
    assert texts(table, 0)[6] == f"{100 * metrics['expected_calibration_error']:.1f}"
    assert not any(table.has_changes)


def test_every_table_says_where_its_numbers_come_from(tmp_path: Path) -> None:
    study = StudyRecord.read(write_study(tmp_path / "study", seeds=(0, 1)))
    run = study.runs[0]
    assert comparison_table(study).notes[2:] == (
        "2 seeds (0, 1)",
        "split 0123456789ab",
        "0.46 M parameters",
        "ce 4 epochs, gcl 4 + 2 epochs, last epoch kept",
        "80 test images",
    )
    for table in (run_table(run), class_table(run)):
        assert "split 0123456789ab" in table.notes
        assert "4 epochs, last epoch kept" in table.notes
    assert (
        "many: 101 or more training images (1 class), medium: 20 to 100 (2 classes), few: 19 or fewer"
        in (run_table(run).notes[1])
    )


def test_differences_are_those_of_the_means_over_the_seeds(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", seeds=(0, 1, 2))
    table = comparison_table(StudyRecord.read(folder))
    values = {
        recipe: [100 * metrics_of(folder, recipe, seed)["accuracy"] for seed in (0, 1, 2)] for recipe in ("ce", "gcl")
    }
    change = statistics.mean(values["gcl"]) - statistics.mean(values["ce"])
    baseline, ours = table.rows[0][1], table.rows[1][1]
    assert baseline.text == f"{statistics.mean(values['ce']):.1f}"
    assert baseline.change == ""
    assert ours.text == f"{statistics.mean(values['gcl']):.1f}"
    assert ours.spread == f"± {statistics.stdev(values['gcl']):.1f}"
    assert ours.change == f"+{change:.1f}"
    assert ours.tone == "better"


def test_a_smaller_calibration_error_is_better(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    for recipe, error in (("ce", 0.3), ("gcl", 0.1)):
        metrics = metrics_of(folder, recipe, 0)
        folder.run(recipe, 0).write_metrics(metrics | {"expected_calibration_error": error})
    cell = comparison_table(StudyRecord.read(folder)).rows[1][-1]
    assert (cell.text, cell.change, cell.tone) == ("10.0", "\N{MINUS SIGN}20.0", "better")


def test_what_rounds_to_nothing_is_neither_better_nor_worse(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    metrics = metrics_of(folder, "ce", 0)
    folder.run("gcl", 0).write_metrics(metrics | {"accuracy": metrics["accuracy"] + 0.0004})
    cell = comparison_table(StudyRecord.read(folder)).rows[1][1]
    assert (cell.change, cell.tone) == ("±0.0", "even")


def test_a_group_without_classes_is_a_dash(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", counts=(500, 400, 300, 200))
    table = comparison_table(StudyRecord.read(folder))
    assert texts(table, 1)[3:5] == ["\N{EN DASH}", "\N{EN DASH}"]
    assert table.rows[1][3].change == ""


def test_classes_are_sorted_by_their_images(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", counts=(5, 500, 60, 90))
    table = class_table(RunRecord.read(folder))
    assert [texts(table, row)[:3] for row in range(4)] == [
        ["dog", "many", "500"],
        ["lynx", "medium", "90"],
        ["fox", "medium", "60"],
        ["cat", "few", "5"],
    ]


def test_gains_and_losses_equal_the_differences_by_class(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", seeds=(0, 1))
    study = StudyRecord.read(folder)
    changes: dict[str, float] = {}
    for number, name in enumerate(study.runs[0].classes):
        means = [
            statistics.mean(100 * metrics_of(folder, recipe, seed)["per_class"][number]["accuracy"] for seed in (0, 1))
            for recipe in ("ce", "gcl")
        ]
        changes[name] = means[1] - means[0]
    gained, lost = gains_table(study, "gcl"), losses_table(study, "gcl")
    assert [row[0].text for row in gained.rows] == sorted(
        [name for name in changes if changes[name] > 0], key=lambda name: -changes[name]
    )
    assert {row[0].text for row in lost.rows} == {name for name in changes if changes[name] < 0}
    assert gained.rows[0][3].change == f"+{max(changes.values()):.1f}"


def test_a_run_without_a_test_part_has_no_numbers(tmp_path: Path) -> None:
    run = RunRecord.read(write_run(tmp_path / "run", tested=False))
    assert texts(run_table(run), 0)[1:] == ["\N{EN DASH}"] * 6
    assert class_table(run).rows == ()


def test_a_study_without_runs_is_told(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.write_comparison({"rows": []})
    with pytest.raises(LongtailError, match="holds no run"):
        StudyRecord.read(folder)
