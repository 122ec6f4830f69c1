"""The page: one file that opens from disk, without a network and without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from longtail.counts import SHOT_GROUPS
from longtail.files import write_whole
from longtail.metrics import METRICS, Metric
from longtail.report import plots, readings, study_plots
from longtail.report.drawing import PALETTE, PALETTE_IN_THE_DARK
from longtail.report.facts import made_of, stages_table
from longtail.report.records import RunRecord, StudyRecord
from longtail.report.tables import (
    class_table,
    comparison_table,
    epochs_in_words,
    gains_table,
    losses_table,
    mean_of,
    metric_cell,
    run_table,
)
from longtail.report.words import group_range, listed, named, number
from longtail.runs import RunFolder, StudyFolder
from longtail.text import counted, duration

CARDS = tuple(METRICS[name] for name in ("accuracy", *SHOT_GROUPS))


@dataclass(frozen=True)
class Plot:
    """A plot, its title, and what one sees in it."""

    title: str
    reading: str
    svg: Markup
    wide: bool = False


def write_run_page(run_folder: Path) -> Path:
    """Write report.html of a run into its folder, and return its path.

    Raises:
        LongtailError: The folder is not a finished run.
    """
    folder = RunFolder(run_folder)
    return _write("run.html", run_context(RunRecord.read(folder)), folder.page)


def write_study_page(study_folder: Path) -> Path:
    """Write report.html of a comparison into its folder, and return its path; it links to the runs' own pages.

    Raises:
        LongtailError: The folder is not a finished comparison.
    """
    folder = StudyFolder(study_folder)
    return _write("study.html", study_context(StudyRecord.read(folder)), folder.page)


def run_context(run: RunRecord) -> dict[str, Any]:
    """What the template of a run's page shows."""
    return {
        **_frame((run,), "report of a run"),
        "title": f"{named(run.recipe)} on {named(run.data['name'])}",
        "lead": readings.of_training(run),
        "findings": (),
        "cards": [_run_card(run, metric) for metric in CARDS] if run.metrics else [],
        "table": run_table(run),
        "figures": list(_run_plots(run)),
        "class_table": class_table(run),
        "short": len(run.classes) <= plots.MOST_WITH_NUMBERS,
        "stages": stages_table(run),
    }


def study_context(study: StudyRecord) -> dict[str, Any]:
    """What the template of a comparison's page shows."""
    others = study.recipes[1:]
    recipes = listed([named(recipe) for recipe in study.recipes])
    return {
        **_frame(study.runs, "report of a comparison"),
        "title": f"{recipes} on {named(study.runs[0].data['name'])}",
        "lead": readings.of_study(study),
        "findings": [readings.of_recipe(study, recipe) for recipe in others],
        "cards": [_study_card(study, metric) for metric in CARDS],
        "table": comparison_table(study),
        "figures": _study_plots(study),
        "changed": [_changes(study, recipe) for recipe in others],
        "runs": [_link(run) for run in study.runs],
    }


def _write(template: str, context: Mapping[str, Any], page: Path) -> Path:
    environment = Environment(
        loader=PackageLoader("longtail.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_whole(page, environment.get_template(template).render(context).encode())
    return page


def _frame(runs: Sequence[RunRecord], kind: str) -> dict[str, Any]:
    first = runs[0]
    return {
        "kind": kind,
        "made": made_of(runs),
        "notes": [named(note, 400) for note in first.data["notes"]],
        "not_measured": readings.not_measured(tuple(runs)),
        "version": named(first.config["longtail"]),
        "palette": PALETTE,
        "palette_in_the_dark": PALETTE_IN_THE_DARK,
    }


def _run_plots(run: RunRecord) -> list[Plot]:
    found = [Plot("The tail", readings.of_tail(run), plots.class_counts(run))]
    if run.metrics:
        reading = readings.of_classes(run.metrics)
        found.append(Plot("Accuracy by class", reading, plots.class_accuracy(run)))
    if run.epochs:
        found.append(Plot("Training", readings.of_curves(run), plots.training_curves(run)))
    if run.calibration:
        reading = readings.of_reliability(run.calibration)
        found.append(Plot("Confidence", reading, plots.reliability(run.calibration)))
    matrix = (run.metrics or {}).get("confusion")
    if matrix and len(matrix) <= plots.MOST_CONFUSED:
        reading = readings.of_confusion(run, matrix)
        found.append(
            Plot("Mistakes", reading, plots.confusion(run, matrix), wide=len(matrix) > plots.MOST_WITH_NUMBERS)
        )
    return found


def _study_plots(study: StudyRecord) -> list[Plot]:
    run = study.runs[0]
    return [
        Plot(
            "The recipes over each other",
            "Every number of the table on one scale; large marks are means, small dots single seeds."
            if len(study.seeds) > 1
            else "Every number of the table on one scale.",
            study_plots.headline_numbers(study),
            wide=True,
        ),
        Plot("The tail", readings.of_tail(run), plots.class_counts(run, width=1100), wide=True),
    ]


def _changes(study: StudyRecord, recipe: str) -> dict[str, Any]:
    title = f"From {named(study.recipes[0])} to {named(recipe)}, class by class"
    svg = study_plots.class_changes(study, recipe)
    return {
        "figure": Plot(title, readings.of_changes(study, recipe), svg, wide=True),
        "gained": gains_table(study, recipe),
        "lost": losses_table(study, recipe),
    }


def _run_card(run: RunRecord, metric: Metric) -> dict[str, Any]:
    value = mean_of((run,), metric)
    return {
        "label": metric.label,
        "meaning": metric.meaning,
        "text": number(value, metric),
        "measured": value is not None,
        "width": _width(value),
        "colour": metric.name if metric.name in SHOT_GROUPS else "ink",
        "of": _of(run, metric),
    }


def _study_card(study: StudyRecord, metric: Metric) -> dict[str, Any]:
    baseline = study.of(study.recipes[0])
    lines = [
        {
            "name": named(recipe, 32),
            "cell": metric_cell(study.of(recipe), baseline if place else None, metric),
            "width": _width(mean_of(study.of(recipe), metric)),
            "colour": f"method-{study_plots.method_place(place)}",
        }
        for place, recipe in enumerate(study.recipes)
    ]
    return {
        "label": metric.label,
        "meaning": metric.meaning,
        "lines": lines,
        "of": _of(study.runs[0], metric),
    }


def _of(run: RunRecord, metric: Metric) -> str:
    """What a card's number is a mean of."""
    for group in SHOT_GROUPS:
        if metric.name == group:
            classes = counted(run.classes_of(group), "class")
            return f"{classes} with {group_range(group, run.borders)} training images"
    return counted(run.metrics["images"] if run.metrics else run.data["test_images"], "test image")


def _width(value: float | None) -> str:
    return f"{100 * (value or 0):.1f}"


def _link(run: RunRecord) -> dict[str, str]:
    seconds = (run.metrics or {}).get("train_seconds")
    return {
        "name": named(run.folder),
        "link": f"{quote(run.folder)}/{RunFolder(Path(run.folder)).page.name}",
        "stages": listed([named(stage["name"], 40) for stage in run.config["stages"]]),
        "epochs": epochs_in_words(run).removesuffix(" epochs").removesuffix(" epoch"),
        "parameters": f"{run.config['model']['parameters']:,}",
        "time": duration(seconds) if seconds else "",
    }
