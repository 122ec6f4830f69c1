"""Plots of a study: the recipes over each other, each an SVG element for the page."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from longtail.metrics import Metric
from longtail.report.drawing import MARKERS, PALETTE, Drawing, drawing_rules
from longtail.report.plots import MOST_NAMES, accuracy_axes, name_points, side_by_side
from longtail.report.records import RunRecord, StudyRecord
from longtail.report.tables import HEADLINE, mean_of
from longtail.report.words import named, number
from longtail.text import counted

MOST_SINGLE = 200  # classes that can be told apart; more need a line through their means
NEIGHBOURHOODS = 14  # parts of the logarithmic scale whose means make that line


def method_place(place: int) -> int:
    """Which colour and marker the recipe at this place of the study has in all its plots; the baseline is grey."""
    return place % len(MARKERS)


@drawing_rules()
def headline_numbers(study: StudyRecord) -> Markup:
    """Every number of the table on one scale: a mark a recipe, a small dot a seed."""
    drawing = Drawing(1100, 60 + 44 * len(HEADLINE))
    axes = drawing.axes
    for row, metric in enumerate(HEADLINE):
        means = [mean_of(study.of(recipe), metric) for recipe in study.recipes]
        known = [100 * mean for mean in means if mean is not None]
        if known:
            axes.plot([min(known), max(known)], [row, row], color=PALETTE["rule"], lw=5, zorder=1)
        for place, recipe in enumerate(study.recipes):
            _mark(drawing, study.of(recipe), metric, (row, place))
    labels = [metric.label if metric.higher_is_better else f"{metric.label}, less is better" for metric in HEADLINE]
    axes.set_yticks(range(len(HEADLINE)), labels)
    axes.tick_params(axis="y", length=0, labelcolor=PALETTE["ink"])
    axes.set_ylim(len(HEADLINE) - 0.5, -0.6)
    axes.set_xlim(-1.5, 101.5)
    axes.set_xlabel("percent")
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    _legend(axes, study)
    return drawing.svg("headline", "The numbers of the table, a mark for every recipe")


@drawing_rules()
def class_changes(study: StudyRecord, recipe: str) -> Markup:
    """From the baseline's accuracy to the recipe's, a line a class, over the number of training images."""
    place = study.recipes.index(recipe)
    drawing = Drawing(1100, 380)
    axes, run = drawing.axes, study.runs[0]
    before, after = 100 * study.class_accuracy(study.recipes[0]), 100 * study.class_accuracy(recipe)
    known = np.flatnonzero(~np.isnan(before) & ~np.isnan(after))
    x, start, end = side_by_side(run.counts)[known], before[known], after[known]
    few = len(known) <= MOST_SINGLE
    colours = [PALETTE["worse" if drop else "better"] for drop in end < start]
    axes.vlines(x, start, end, colors=colours, lw=2.2 if few else 0.8, alpha=0.75 if few else 0.35, zorder=2)
    axes.scatter(x, start, s=26 if few else 4, color=PALETTE["method-0"], lw=0, alpha=1 if few else 0.5, zorder=3)
    marks = axes.scatter(
        x,
        end,
        s=42 if few else 5,
        alpha=1 if few else 0.5,
        color=PALETTE[f"method-{method_place(place)}"],
        marker=MARKERS[method_place(place)],
        lw=0,
        zorder=4,
    )
    drawing.tip(marks, [_change_in_words(run, index, before[index], after[index]) for index in known.tolist()])
    if not few:
        _draw_means(axes, run, before, PALETTE["soft"])
        _draw_means(axes, run, after, PALETTE[f"method-{method_place(place)}"])
    accuracy_axes(axes, run.counts)
    if len(known) <= MOST_NAMES:
        tops = [(at, max(low, high)) for at, low, high in zip(x, start, end, strict=True)]
        by_change = np.argsort(-np.abs(end - start), kind="stable")
        name_points(drawing, axes, [(run.classes[known[rank]], tops[rank]) for rank in by_change])
    _name_groups(axes, run)
    _legend(axes, study, only=(0, place))
    return drawing.svg(f"changes-{place}", "Accuracy of every class with the baseline and with the recipe")


def _mark(drawing: Drawing, runs: tuple[RunRecord, ...], metric: Metric, at: tuple[int, int]) -> None:
    row, place = at
    mean = mean_of(runs, metric)
    if mean is None:
        return
    seeds = [metric.read(run.metrics) for run in runs if run.metrics]
    if len(seeds) > 1:
        values = [100 * value for value in seeds if value is not None]
        drawing.axes.scatter(
            values, [row + 0.26] * len(values), s=9, color=PALETTE[f"method-{method_place(place)}"], lw=0, alpha=0.7
        )
    mark = drawing.axes.scatter(
        [100 * mean], [row], s=95, color=PALETTE[f"method-{method_place(place)}"], marker=MARKERS[method_place(place)],
        edgecolor=PALETTE["paper"], lw=1.2, zorder=3 + place,
    )  # fmt: skip
    drawing.tip(mark, [f"{named(runs[0].recipe)}, {metric.label}: {number(mean, metric)}"])


def _legend(axes: Axes, study: StudyRecord, only: tuple[int, ...] | None = None) -> None:
    places = range(len(study.recipes)) if only is None else only
    marks = [
        Line2D(
            [],
            [],
            ls="",
            marker=MARKERS[method_place(place)],
            ms=8,
            color=PALETTE[f"method-{method_place(place)}"],
            mew=0,
        )
        for place in places
    ]
    names = [named(study.recipes[place], 32) for place in places]
    axes.legend(marks, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(names), handletextpad=0.1, borderpad=0)


def _draw_means(axes: Axes, run: RunRecord, shares: NDArray[np.float64], colour: str) -> None:
    """A line through the means of neighbouring classes: those whose training images are about as many."""
    counts = np.array(run.counts.per_class)
    edges = np.geomspace(counts.min(), counts.max(), NEIGHBOURHOODS + 1)
    part_of = np.searchsorted(edges[1:-1], counts)
    parts = [np.flatnonzero((part_of == part) & ~np.isnan(shares)) for part in np.unique(part_of[~np.isnan(shares)])]
    x = [np.exp(np.log(counts[part]).mean()) for part in parts]
    means = [shares[part].mean() for part in parts]
    axes.plot(x, means, color=PALETTE["paper"], lw=5, zorder=5)
    axes.plot(x, means, color=colour, lw=2.6, zorder=6)


def _name_groups(axes: Axes, run: RunRecord) -> None:
    """Where few ends and many begins, if there are classes on both sides."""
    for group, border in (("few", run.borders.few_below), ("many", run.borders.many_above)):
        if group not in run.groups or len(set(run.groups)) == 1:
            continue
        edge = border * (0.985 if group == "few" else 1.015)  # the border itself is medium
        axes.axvline(edge, color=PALETTE["rule"], lw=1.2, zorder=1)
        side, word = ("right", f"{group} ") if group == "few" else ("left", f" {group}")
        axes.text(edge, 107, word, ha=side, va="bottom", fontsize=10.5, color=PALETTE["soft"])


def _change_in_words(run: RunRecord, index: int, before: float, after: float) -> str:
    images = counted(run.counts.per_class[index], "training image")
    return f"{named(run.classes[index])}: {before:.1f} → {after:.1f} %, {images}"
