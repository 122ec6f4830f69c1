"""Tables as plain data: the terminal and the page write the same cells, each in its own way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from longtail.counts import SHOT_GROUPS
from longtail.metrics import METRICS, Metric
from longtail.report.records import RunRecord, StudyRecord
from longtail.report.words import MISSING, difference, group_range, listed, named, number, parameters
from longtail.text import counted

HEADLINE = tuple(
    METRICS[name] for name in ("accuracy", "many", "medium", "few", "worst_class", "expected_calibration_error")
)
OF_BACKGROUND = (METRICS["false_alarms"], METRICS["misses"])
MOST_CHANGED = 5
Tone = Literal["better", "worse", "even"]


@dataclass(frozen=True)
class Column:
    """A heading, what stands below it, and whether that are numbers."""

    label: str
    meaning: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """A text, and for a metric the spread over the seeds and the difference to the baseline."""

    text: str
    spread: str = ""  # standard deviation over the seeds, `± 1.2`
    change: str = ""  # against the first recipe, `+12.3`
    tone: Tone = "even"  # whether the change is for the better


@dataclass(frozen=True)
class Table:
    """Rows of as many cells as there are columns; notes say what the numbers are and where they come from."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]

    @property
    def has_changes(self) -> tuple[bool, ...]:
        """Whether a column needs room for differences."""
        return tuple(any(row[place].change for row in self.rows) for place in range(len(self.columns)))


def run_table(run: RunRecord) -> Table:
    """One row: the accuracy of all images, of the shot groups and of the worst class, and the calibration.

    A re-balanced classifier has a row above it, with what it was, and the differences.
    """
    if before := run.as_it_came:
        return _headline_table((before, run), (_recipe_row((before,), None), _recipe_row((run,), (before,))))
    return _headline_table((run,), (_recipe_row((run,), None),))


def comparison_table(study: StudyRecord) -> Table:
    """One row a recipe: mean over the seeds, spread if there are several, difference to the first recipe."""
    baseline = study.of(study.recipes[0])
    rows = [_recipe_row(baseline, None)]
    rows += [_recipe_row(study.of(recipe), baseline) for recipe in study.recipes[1:]]
    return _headline_table(study.runs, tuple(rows))


def class_table(run: RunRecord) -> Table:
    """One row a class, the largest first; empty without a test part."""
    columns = (
        Column("Class", numeric=False),
        Column("Group", numeric=False),
        Column("Training images"),
        Column("Test images"),
        Column("Accuracy"),
    )
    measured = run.metrics["per_class"] if run.metrics else []
    ordered = sorted(measured, key=lambda row: -row["train_images"])
    return Table(columns, tuple(_class_row(row, run.background) for row in ordered), provenance((run,)))


def gains_table(study: StudyRecord, recipe: str) -> Table:
    """The classes that gain most against the baseline."""
    return _changes_table(study, recipe, 1)


def losses_table(study: StudyRecord, recipe: str) -> Table:
    """The classes that lose most against the baseline."""
    return _changes_table(study, recipe, -1)


def provenance(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """What a number needs beside it: seeds, split, parameters, protocol, test images."""
    seeds = sorted({run.seed for run in runs})
    splits = dict.fromkeys(run.data["fingerprint"][:12] for run in runs)
    return (
        f"{counted(len(seeds), 'seed')} ({', '.join(map(str, seeds))})",
        f"split {listed(list(splits))}",
        _for_each_recipe(runs, lambda run: parameters(run.config["model"]["parameters"])),
        _for_each_recipe(runs, epochs_in_words) + ("", ", last epoch kept")[any(run.config["stages"] for run in runs)],
        counted(runs[0].data["test_images"], "test image"),
    )


def epochs_in_words(run: RunRecord) -> str:
    """Epochs of the stages: `80 + 12 epochs`."""
    epochs = [stage["epochs"] for stage in run.config["stages"]]
    if not epochs:
        return "no training"
    return f"{' + '.join(map(str, epochs))} {'epoch' if epochs == [1] else 'epochs'}"


def groups_in_words(run: RunRecord) -> str:
    """Where the shot groups end and how many classes each has."""
    many, *others = (
        f"{group_range(group, run.borders)} ({counted(run.classes_of(group), 'class')})" for group in SHOT_GROUPS
    )
    return f"many: {many.replace(' (', ' training images (')}, medium: {others[0]}, few: {others[1]}"


def metric_cell(runs: Sequence[RunRecord], baseline: Sequence[RunRecord] | None, metric: Metric) -> Cell:
    """Mean of a metric over runs, its spread, and the difference to the baseline's mean."""
    values = _values(runs, metric)
    spread = f"± {number(float(np.std(values, ddof=1)), metric)}" if len(values) > 1 else ""
    change = change_of(runs, baseline, metric) if baseline else None
    if change is None:
        return Cell(number(mean_of(runs, metric), metric), spread)
    shown = difference(change, metric)
    return Cell(number(mean_of(runs, metric), metric), spread, shown, _tone(shown, metric))


def mean_of(runs: Sequence[RunRecord], metric: Metric) -> float | None:
    """Mean of a metric over runs; None where it was not measured."""
    values = _values(runs, metric)
    return float(np.mean(values)) if values else None


def change_of(runs: Sequence[RunRecord], baseline: Sequence[RunRecord], metric: Metric) -> float | None:
    """Mean of a metric over runs less that of the baseline's; None where it was not measured."""
    ours, theirs = mean_of(runs, metric), mean_of(baseline, metric)
    return None if ours is None or theirs is None else ours - theirs


def _headline_table(runs: Sequence[RunRecord], rows: tuple[tuple[Cell, ...], ...]) -> Table:
    columns = (
        Column("Recipe", numeric=False),
        *(Column(metric.label, metric.meaning) for metric in _metrics(runs[0])),
    )
    reading = ["Accuracy and ECE in percent of the test images; ECE is better the smaller."]
    if runs[0].background is not None:
        reading.append(f"Images of {named(runs[0].background, 32)}, the background, are in the last two columns alone.")
    if len({run.seed for run in runs}) > 1:
        reading.append("Means over the seeds, ± standard deviation.")
    if len(rows) > 1:
        reading.append(f"Differences to {named(runs[0].recipe)} in points.")
    return Table(columns, rows, (" ".join(reading), f"Groups: {groups_in_words(runs[0])}.", *provenance(runs)))


def _recipe_row(runs: Sequence[RunRecord], baseline: Sequence[RunRecord] | None) -> tuple[Cell, ...]:
    return (Cell(named(runs[0].recipe)), *(metric_cell(runs, baseline, metric) for metric in _metrics(runs[0])))


def _metrics(run: RunRecord) -> tuple[Metric, ...]:
    return HEADLINE if run.background is None else HEADLINE + OF_BACKGROUND


def _changes_table(study: StudyRecord, recipe: str, sign: int) -> Table:
    """The first `MOST_CHANGED` classes whose change has this sign, the largest change first."""
    run, metric = study.runs[0], METRICS["accuracy"]
    before, after = study.class_accuracy(study.recipes[0]), study.class_accuracy(recipe)
    change = sign * (after - before)
    order = [index for index in np.argsort(-change, kind="stable") if change[index] > 0][:MOST_CHANGED]
    columns = (
        Column("Class", numeric=False),
        Column("Training images"),
        Column(named(study.recipes[0], 20)),
        Column(named(recipe, 20)),
    )
    rows = []
    for index in order:
        shown = difference(after[index] - before[index], metric)
        name, images = named(run.classes[index], 32), f"{run.counts.per_class[index]:,}"
        changed = Cell(number(after[index], metric), change=shown, tone=_tone(shown, metric))
        rows.append((Cell(name), Cell(images), Cell(number(before[index], metric)), changed))
    return Table(columns, tuple(rows), ())


def _tone(shown: str, metric: Metric) -> Tone:
    """By the difference as it is shown: what rounds to nothing is neither better nor worse."""
    if shown.startswith("±"):
        return "even"
    return "better" if shown.startswith("+") == metric.higher_is_better else "worse"


def _values(runs: Sequence[RunRecord], metric: Metric) -> list[float]:
    found = [metric.read(run.metrics) for run in runs if run.metrics]
    return [value for value in found if value is not None]


def _class_row(row: dict[str, Any], background: str | None) -> tuple[Cell, ...]:
    return (
        Cell(named(row["class"])),
        Cell("background" if row["class"] == background else row["group"]),
        Cell(f"{row['train_images']:,}"),
        Cell(f"{row['test_images']:,}" if row["test_images"] else MISSING),
        Cell(number(row["accuracy"], METRICS["accuracy"])),
    )


def _for_each_recipe(runs: Sequence[RunRecord], words: Callable[[RunRecord], str]) -> str:
    """The same words once if all recipes share them, else with each recipe's name."""
    said: dict[str, list[str]] = {}
    for run in runs:
        recipes = said.setdefault(words(run), [])
        if named(run.recipe) not in recipes:
            recipes.append(named(run.recipe))
    if len(said) == 1:
        return words(runs[0])
    return ", ".join(f"{listed(recipes)} {word}" for word, recipes in said.items())
