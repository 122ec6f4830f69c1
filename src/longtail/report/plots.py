"""Plots of one run, each an SVG element for the page."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from longtail.counts import SHOT_GROUPS, ClassCounts
from longtail.metrics import Calibration
from longtail.report.drawing import PALETTE, Drawing, drawing_rules
from longtail.report.records import RunRecord
from longtail.report.words import group_range, named, percent
from longtail.text import counted

MOST_BARS = 40  # classes; more become one area
MOST_NAMES = 15  # classes whose points are named; a pointer finds the others
MOST_CONFUSED = 30  # classes; a larger matrix cannot be read
MOST_WITH_NUMBERS = 12  # classes; the cells of a larger matrix have no room for a number
MOST_STEPS = 1500  # points of the faint line behind the loss


@drawing_rules()
def class_counts(run: RunRecord, width: int = 540) -> Markup:
    """The tail: training images of every class, the largest first, coloured by shot group."""
    drawing = Drawing(width, 300)
    axes, counts, groups = drawing.axes, np.array(run.counts.per_class), np.array(run.groups)
    order = np.argsort(-counts, kind="stable")
    if len(order) <= MOST_BARS:
        bars = axes.bar(range(len(order)), counts[order], width=0.82, color=[PALETTE[g] for g in groups[order]])
        for bar, index in zip(bars, order, strict=True):
            drawing.tip(bar, [f"{named(run.classes[index])}: {counted(int(counts[index]), 'training image')}"])
        _name_bars(axes, [named(run.classes[index], 12) for index in order], bars, counts[order])
    else:
        for group in SHOT_GROUPS:
            ranks = np.flatnonzero(groups[order] == group)
            if ranks.size:
                edges = np.arange(ranks[0], ranks[-1] + 2) + 0.5
                axes.stairs(counts[order][ranks], edges, fill=True, color=PALETTE[group], lw=0)
        axes.set_xlabel("classes, the largest first")
    axes.set_ylabel("training images")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.0f}"))
    axes.set_ylim(0, counts.max() * 1.08)
    axes.margins(x=0.015)
    axes.grid(axis="y")
    labels = [f"{group}: {group_range(group, run.borders)}" for group in SHOT_GROUPS]
    patches = [Patch(color=PALETTE[group]) for group in SHOT_GROUPS]
    axes.legend(patches, labels, loc="upper right", handlelength=0.9, handleheight=0.9)
    return drawing.svg("tail", "Training images of every class, the largest first")


@drawing_rules()
def class_accuracy(run: RunRecord) -> Markup:
    """Accuracy of every class against its training images; a bar marks the mean of each shot group."""
    drawing = Drawing(540, 300)
    axes, shares = drawing.axes, 100 * run.class_accuracy
    counts, groups = side_by_side(run.counts), np.array(run.groups)
    for group in SHOT_GROUPS:
        inside = np.flatnonzero((groups == group) & ~np.isnan(shares))
        if inside.size:
            size = 42 if len(shares) <= 200 else 12
            points = axes.scatter(
                counts[inside], shares[inside], s=size, color=PALETTE[group], alpha=0.8, lw=0, zorder=3
            )
            drawing.tip(points, [_class_in_words(run, index, shares[index]) for index in inside.tolist()])
            ends = [counts[inside].min() / 1.12, counts[inside].max() * 1.12]
            axes.plot(ends, [shares[inside].mean()] * 2, color=PALETTE[group], lw=3, alpha=0.5, zorder=4)
    accuracy_axes(axes, run.counts)
    if len(shares) <= MOST_NAMES:
        known = np.flatnonzero(~np.isnan(shares))
        worst_first = known[np.argsort(shares[known], kind="stable")]
        places = [(run.classes[index], (counts[index], shares[index])) for index in worst_first]
        name_points(drawing, axes, places)
    return drawing.svg("classes", "Accuracy of every class against its number of training images")


def accuracy_axes(axes: Axes, counts: ClassCounts) -> None:
    """Accuracy in percent over training images on a logarithmic scale."""
    axes.set_xscale("log")
    axes.set_xlim(counts.smallest / 1.35, counts.largest * 1.35)
    ticks = [tick for power in range(7) for tick in (10**power, 2 * 10**power, 5 * 10**power)]
    axes.set_xticks([tick for tick in ticks if counts.smallest <= tick <= counts.largest], minor=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.0f}"))
    axes.minorticks_off()
    axes.set_ylim(-4, 106)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("training images of the class")
    axes.set_ylabel("accuracy in percent")
    axes.grid(axis="y")


def name_points(drawing: Drawing, axes: Axes, points: list[tuple[str, tuple[float, float]]]) -> None:
    """Write classes' names above their points, except those that would cover an earlier name or leave the figure."""
    taken: list[Bbox] = []
    drawing.figure.draw_without_rendering()
    for name, at in points:
        text = axes.annotate(
            named(name, 12),
            at,
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9.5,
            color=PALETTE["soft"],
        )
        place = text.get_window_extent()
        if any(place.overlaps(other) for other in taken) or place.x1 > drawing.figure.bbox.x1:
            text.remove()
        else:
            taken.append(place)


def side_by_side(counts: ClassCounts) -> NDArray[np.float64]:
    """Where classes stand on the logarithmic scale of training images, (C,): equal counts a little apart."""
    x = np.array(counts.per_class, dtype=np.float64)
    for count in np.unique(x):
        equal = np.flatnonzero(x == count)
        apart = min(0.014, 0.12 / len(equal))
        x[equal] *= np.exp(apart * (np.arange(len(equal)) - (len(equal) - 1) / 2))
    return x


@drawing_rules()
def training_curves(run: RunRecord) -> Markup:
    """Loss of every epoch, the steps faint behind it, the learning rate below; stages follow one another."""
    drawing = Drawing(540, 300, heights=(3, 1))
    loss, rate = drawing.all_axes
    start = 0
    for number, stage in enumerate(run.config["stages"], start=1):
        epochs = [record for record in run.epochs if record["stage"] == number]
        x = start + np.array([record["epoch"] for record in epochs]) + 0.5
        _draw_steps(loss, run, number, start)
        loss.plot(x, [record["loss"] for record in epochs], color=PALETTE["many"], marker="." if len(x) < 3 else "")
        rate.plot(x, [record["lr"] for record in epochs], color=PALETTE["soft"], marker="." if len(x) < 3 else "")
        if start:
            loss.axvline(start, color=PALETTE["soft"], lw=1, ls=(0, (2, 2)))
            rate.axvline(start, color=PALETTE["soft"], lw=1, ls=(0, (2, 2)))
            _name_stage(loss, start, run, named(stage["name"], 28))
        start += stage["epochs"]
    loss.set_ylabel("loss")
    loss.set_xlim(0, start)
    loss.set_ylim(bottom=0)
    loss.grid(axis="y")
    rate.set_yscale("log")
    rate.minorticks_off()
    rate.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    rate.set_ylabel("learning rate")
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    drawing.figure.align_ylabels()
    return drawing.svg("curves", "Loss and learning rate of every epoch")


@drawing_rules()
def reliability(bars: Calibration) -> Markup:
    """Accuracy of the answers by their confidence, and below how many answers there are."""
    drawing = Drawing(540, 300, heights=(3, 1))
    axes, below = drawing.all_axes
    filled = np.flatnonzero(bars.share > 0)
    width = bars.edges[1]
    left = bars.edges[:-1][filled]
    columns = axes.bar(left, 100 * bars.accuracy[filled], width * 0.92, align="edge", color=PALETTE["many"], alpha=0.55)
    for column, index in zip(columns, filled, strict=True):
        said = f"confidence {percent(bars.confidence[index])}, right {percent(bars.accuracy[index])}"
        drawing.tip(column, [f"{said}, {percent(bars.share[index])} of the images"])
    axes.plot([0, 1], [0, 100], color=PALETTE["ink"], lw=1.2, ls=(0, (4, 3)))
    axes.set_ylim(0, 104)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("right, in percent")
    axes.grid(axis="y")
    below.bar(left, 100 * bars.share[filled], width * 0.92, align="edge", color=PALETTE["method-0"])
    below.set_ylabel("images, %")
    below.set_xlim(0, 1)
    below.yaxis.set_major_locator(MaxNLocator(2))
    below.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{100 * tick:.0f}"))
    below.set_xlabel("confidence of the answer in percent")
    drawing.figure.align_ylabels()
    return drawing.svg("reliability", "Accuracy of the answers by their confidence")


@drawing_rules()
def confusion(run: RunRecord, matrix: list[list[int]]) -> Markup:
    """Share of every class's test images by the answer they got; rows are true classes, the largest first."""
    cells = np.array(matrix, dtype=np.float64)
    order = np.argsort(-np.array(run.counts.per_class), kind="stable")
    shares = (cells / np.maximum(cells.sum(axis=1, keepdims=True), 1))[np.ix_(order, order)]
    side = 540 if len(order) <= MOST_WITH_NUMBERS else 860
    drawing = Drawing(side, side - 60)
    axes, names = drawing.axes, [named(run.classes[index], 12) for index in order]
    for row, column in np.argwhere(shares > 0):
        share, right = shares[row, column], row == column
        cell = Rectangle(
            (column - 0.48, row - 0.48), 0.96, 0.96, lw=0, alpha=0.12 + 0.88 * share,
            color=PALETTE["many" if right else "few"],
        )  # fmt: skip
        axes.add_patch(cell)
        images = counted(int(cells[order[row], order[column]]), "image")
        drawing.tip(cell, [f"{names[row]} taken for {names[column]}: {images}, {percent(share)}"])
        if len(order) <= MOST_WITH_NUMBERS and share >= 0.005:
            colour = PALETTE["paper" if share > 0.6 else "ink"]
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=10.5)
    axes.set_xlim(-0.5, len(order) - 0.5)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(order)), names, rotation=_rotation(names))
    axes.set_yticks(range(len(order)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    return drawing.svg("confusion", "Answers by true class, in percent of the class")


def _class_in_words(run: RunRecord, index: int, share: float) -> str:
    images = counted(run.counts.per_class[index], "training image")
    return f"{named(run.classes[index])}: {share:.1f} %, {images}"


def _name_bars(axes: Axes, names: list[str], bars: object, counts: object) -> None:
    axes.set_xticks(range(len(names)), names, rotation=_rotation(names))
    axes.tick_params(axis="x", length=0)
    if len(names) <= 20:
        axes.bar_label(bars, padding=2, color=PALETTE["soft"], fontsize=10)  # type: ignore[arg-type]


def _rotation(names: list[str]) -> float:
    """Upright where names are too long to stand side by side."""
    return 0 if max(map(len, names)) * len(names) <= 60 else 90


def _name_stage(axes: Axes, start: int, run: RunRecord, name: str) -> None:
    """On the side of the border where there is room."""
    late = start > sum(stage["epochs"] for stage in run.config["stages"]) / 2
    shift, side = (-6, "right") if late else (6, "left")
    axes.annotate(
        name,
        (start, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(shift, 0),
        textcoords="offset points",
        ha=side,
        va="top",
        fontsize=10,
        color=PALETTE["soft"],
    )


def _draw_steps(axes: Axes, run: RunRecord, number: int, start: int) -> None:
    steps = [record for record in run.steps if record["stage"] == number]
    if not steps:
        return
    an_epoch = max(record["step"] for record in steps) + 1
    every = max(1, len(steps) // MOST_STEPS)
    x = [start + record["epoch"] + (record["step"] + 0.5) / an_epoch for record in steps[::every]]
    losses = [record["loss"] for record in steps[::every]]
    axes.plot(x, losses, color=PALETTE["many"], lw=0.7, alpha=0.3)
