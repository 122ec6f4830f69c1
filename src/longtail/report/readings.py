"""What one sees in a table or plot, in a sentence made from the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from longtail.counts import SHOT_GROUPS
from longtail.metrics import METRICS, Calibration
from longtail.report.records import RunRecord, StudyRecord
from longtail.report.tables import change_of
from longtail.report.words import difference, listed, named, parameters, percent
from longtail.text import counted

FEW_TEST_IMAGES = 20  # below it one image moves a class by more than 5 points
MOST_LISTED = 12


def of_training(run: RunRecord) -> str:
    """What was trained."""
    model = run.config["model"]
    start = {"none": "from random weights", "pretrained": "from pretrained weights"}
    begun = start.get(model["weights"], f"from the weights of {named(model['weights'])}")
    size = parameters(model["parameters"])
    if source := run.config.get("rebalanced"):
        backbone = f"The head of {named(source)} (a {named(model['backbone'])}, {size})"
        return f"{backbone}, re-balanced by {named(run.recipe)} on {of_data(run)}."
    return f"A {named(model['backbone'])} ({size}, {begun}), trained with {named(run.recipe)} on {of_data(run)}."


def of_study(study: StudyRecord) -> str:
    """What was compared."""
    recipes = listed([named(recipe) for recipe in study.recipes])
    seeds = counted(len(study.seeds), "seed")
    return f"{recipes}, each trained from {seeds} on the same {of_data(study.runs[0])}."


def of_data(run: RunRecord) -> str:
    """How many images, how unevenly."""
    counts, tested = run.counts, run.data["test_images"]
    images = f"{counted(counts.total, 'image')} of {counted(len(counts), 'class')}"
    ratio = f"the largest class {counts.ratio:,.0f} times the smallest"
    return f"{images}, {ratio}; tested once, at the end, on {counted(tested, 'image')}"


def of_recipe(study: StudyRecord, recipe: str) -> str:
    """What a recipe changes against the baseline."""
    ours, theirs = study.of(recipe), study.of(study.recipes[0])
    parts = {"accuracy": "all images", "few": "few-shot classes", "worst_class": "the worst class"}
    changes = {words: change_of(ours, theirs, METRICS[name]) for name, words in parts.items()}
    said = [
        f"{words} {difference(change, METRICS['accuracy'])}" for words, change in changes.items() if change is not None
    ]
    return f"{named(recipe)} against {named(study.recipes[0])}, in points: {', '.join(said)}."


def of_tail(run: RunRecord) -> str:
    """How the training images are spread."""
    counts = np.sort(run.counts.per_class)[::-1]
    half = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) + 1
    smallest = named(run.classes[int(np.argmin(run.counts.per_class))], 32)
    hold = "holds" if half == 1 else "hold"
    return (
        f"{half:,} of {len(counts):,} classes {hold} half of the {counts.sum():,} training images; "
        f"the smallest class, {smallest}, has {run.counts.smallest}."
    )


def of_classes(metrics: Mapping[str, Any]) -> str:
    """Mean accuracy of the shot groups, and the worst class."""
    means = [
        f"{percent(metrics['groups'][group]['accuracy'])} for {group}"
        for group in SHOT_GROUPS
        if metrics["groups"][group]["accuracy"] is not None
    ]
    worst = metrics["worst_class"]
    return (
        f"A point is a class, a bar the mean of a group: {listed(means)}. "
        f"The worst class is {named(worst['class'], 32)} with {percent(worst['accuracy'])}."
    )


def of_curves(run: RunRecord) -> str:
    """Where the loss of every stage began and ended."""
    said = []
    for number, stage in enumerate(run.config["stages"], start=1):
        losses = [record["loss"] for record in run.epochs if record["stage"] == number]
        if losses:
            said.append(f"from {losses[0]:.3g} to {losses[-1]:.3g} in {named(stage['name'], 40)}")
    several = len({stage["loss"] for stage in run.config["stages"]}) > 1
    warning = " Their losses differ: compare within a stage only." if several else ""
    return f"The loss goes {listed(said)}.{warning}"


def of_reliability(bars: Calibration) -> str:
    """Whether the classifier is too sure of itself."""
    gap = float(np.nansum(bars.share * (bars.confidence - bars.accuracy)))
    if abs(gap) < 0.005:
        return "Over all images the answers are as often right as they are confident."
    word = "more" if gap > 0 else "less"
    return (
        f"On average the answers are {abs(100 * gap):.1f} points {word} confident than right; "
        "on the dashed line they would be as confident as right."
    )


def of_confusion(run: RunRecord, matrix: list[list[int]]) -> str:
    """The mistake that most images suffer."""
    cells = np.array(matrix)
    np.fill_diagonal(cells, 0)
    if not cells.any():
        return "Every test image got its label."
    true, answer = np.unravel_index(int(cells.argmax()), cells.shape)
    names = [named(run.classes[int(index)], 32) for index in (true, answer)]
    return f"The most frequent mistake: {names[0]} taken for {names[1]}, {counted(int(cells.max()), 'image')}."


def of_changes(study: StudyRecord, recipe: str) -> str:
    """How many classes gain and lose."""
    change = study.class_accuracy(recipe) - study.class_accuracy(study.recipes[0])
    known = change[~np.isnan(change)]
    gained, lost = int((known > 0).sum()), int((known < 0).sum())
    said = [f"{gained} {'gains' if gained == 1 else 'gain'}", f"{lost} {'loses' if lost == 1 else 'lose'}"]
    if same := len(known) - gained - lost:
        said.append(f"{same} {'stays as it was' if same == 1 else 'stay as they were'}")
    line = "A line is a class" if len(change) <= 200 else "The thick lines are means of neighbouring classes"
    return f"{line}. Of {counted(len(known), 'class')}, {listed(said)}."


def not_measured(runs: tuple[RunRecord, ...]) -> list[str]:
    """What the numbers do not say."""
    run = runs[0]
    if run.metrics is None:
        return ["The data had no test part: nothing was measured."]
    said = []
    if missing := run.metrics["not_measured"]:
        said.append(f"Classes without test images, left out of all means: {_some(missing)}.")
    rare = [row["class"] for row in run.metrics["per_class"] if 0 < row["test_images"] < FEW_TEST_IMAGES]
    if rare:
        said.append(
            f"Small differences in classes with fewer than {FEW_TEST_IMAGES} test images, "
            f"where one image is more than 5 points: {_some(rare)}."
        )
    if len({each.seed for each in runs}) == 1:
        said.append("How much the numbers change from seed to seed: there is only one.")
    said.append("Images unlike the test part: other cameras, other places, things of no class in the list.")
    return said


def _some(names: list[str]) -> str:
    shown = [named(name, 40) for name in names[:MOST_LISTED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
