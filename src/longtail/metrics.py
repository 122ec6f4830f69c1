"""The numbers that are reported: pure functions of what a classifier said about N labelled images.

Two kinds of mean are kept apart: accuracy counts images, balanced accuracy and the shot groups count classes.
A class without a test image has no accuracy; it is left out of every mean over classes, and listed. A background class
(nothing of interest to see) is left out of every mean, with its images; what it costs is told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.counts import SHOT_GROUPS, ClassCounts, ShotBorders
from longtail.errors import LongtailError, unknown

CALIBRATION_BINS = 15
LARGEST_CONFUSION = 100  # classes; beyond it the matrix is larger than all the other results together
_ROWS_AT_ONCE = 4096  # a float64 copy of all logits of a large test part would not fit into memory


@dataclass(frozen=True)
class Outcomes:
    """What became of every image: all that the metrics look at, collected in one pass over the logits."""

    classes: int
    labels: NDArray[np.int64]  # (N,)
    predicted: NDArray[np.int64]  # (N,), the class with the largest logit, the first of equals
    confidence: NDArray[np.float64]  # (N,), the probability of `predicted`, in (0, 1]
    log_likelihood: NDArray[np.float64]  # (N,), log probability of the label, in nats

    @classmethod
    def of(cls, logits: ArrayLike, labels: ArrayLike) -> Outcomes:
        """Read the logits (N, C), which are never taken for probabilities, and labels (N,) in 0 .. C-1.

        Raises LongtailError for no image, shapes that do not fit, labels out of range, logits not finite.

        >>> Outcomes.of([[1.0, 3.0], [2.0, 2.0]], [1, 1]).predicted.tolist()
        [1, 0]
        """
        scores, targets = np.asarray(logits), np.asarray(labels)
        _check(scores, targets)
        targets = targets.astype(np.int64)
        starts = range(0, len(targets), _ROWS_AT_ONCE)
        chunks = [slice(start, start + _ROWS_AT_ONCE) for start in starts]
        parts = [_predict(scores[chunk], targets[chunk]) for chunk in chunks]
        predicted, confidence, log_likelihood = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(scores.shape[1], targets, predicted, confidence, log_likelihood)

    def without(self, label: int) -> Outcomes:
        """The outcomes of the images of all other classes. Raises LongtailError where there are none."""
        others = np.flatnonzero(self.labels != label)
        if not len(others):
            raise LongtailError("All test images are of the background class; there is nothing to measure.")
        return Outcomes(
            self.classes,
            self.labels[others],
            self.predicted[others],
            self.confidence[others],
            self.log_likelihood[others],
        )

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each image got its label, (N,)."""
        return np.equal(self.predicted, self.labels)


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy in M bins of equal width; empty bins have NaN means."""

    edges: NDArray[np.float64]  # (M + 1,), from 0 to 1
    share: NDArray[np.float64]  # (M,), part of the images, sums to 1
    confidence: NDArray[np.float64]  # (M,), mean
    accuracy: NDArray[np.float64]  # (M,), mean


def accuracy(outcomes: Outcomes) -> float:
    """Share of the images that got their label, in 0 .. 1."""
    return float(outcomes.correct.mean())


def images_per_class(outcomes: Outcomes) -> NDArray[np.int64]:
    """Test images of every class, (C,)."""
    return np.bincount(outcomes.labels, minlength=outcomes.classes)


def class_accuracy(outcomes: Outcomes) -> NDArray[np.float64]:
    """Share of each class's images that got their label (recall), (C,); NaN for a class without test images.

    >>> class_accuracy(Outcomes.of([[1, 0, 0], [0, 1, 0], [1, 0, 0]], [0, 1, 1])).tolist()
    [1.0, 0.5, nan]
    """
    hits = np.bincount(outcomes.labels[outcomes.correct], minlength=outcomes.classes)
    return _divide(hits, images_per_class(outcomes))


def balanced_accuracy(outcomes: Outcomes) -> float:
    """Mean of `class_accuracy` over the classes that have test images, in 0 .. 1."""
    return float(np.nanmean(class_accuracy(outcomes)))


def log_loss(outcomes: Outcomes) -> float:
    """Mean negative log probability of the labels, in nats."""
    return float(-outcomes.log_likelihood.mean())


def confusion(outcomes: Outcomes) -> NDArray[np.int64]:
    """Images by true class (rows) and predicted class (columns), (C, C)."""
    classes = outcomes.classes
    cells = np.bincount(outcomes.labels * classes + outcomes.predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def calibration(outcomes: Outcomes, bins: int = CALIBRATION_BINS) -> Calibration:
    """Mean confidence and accuracy in `bins` bins ((m - 1) / M, m / M] of the top-1 confidence.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    bin_of = np.searchsorted(edges[1:-1], outcomes.confidence, side="left")
    images = np.bincount(bin_of, minlength=bins)
    confidence = np.bincount(bin_of, outcomes.confidence, minlength=bins)
    correct = np.bincount(bin_of, outcomes.correct, minlength=bins)
    return Calibration(edges, images / images.sum(), _divide(confidence, images), _divide(correct, images))


def expected_calibration_error(outcomes: Outcomes, bins: int = CALIBRATION_BINS) -> float:
    """Gap between confidence and accuracy, averaged over images, in 0 .. 1 (Guo et al., 2017, equation 3).

    ECE = sum_m |B_m| / N * |accuracy(B_m) - confidence(B_m)|
    """
    bars = calibration(outcomes, bins)
    return float(np.nansum(bars.share * np.abs(bars.accuracy - bars.confidence)))


def evaluate(
    logits: ArrayLike,
    labels: ArrayLike,
    counts: ClassCounts,
    classes: Sequence[str],
    borders: ShotBorders | None = None,
    *,
    part: str = "test",
    background: str | None = None,
) -> dict[str, Any]:
    """Every number about one part of the data, as the run folder keeps it: JSON-able, fractions in 0 .. 1.

    Args:
        logits: (N, C) of any scale; their softmax are the probabilities.
        labels: (N,) class indices.
        counts: Training images per class, which decide the shot groups.
        classes: The C class names.
        borders: Of the shot groups; those that follow from the counts if not given.
        part: Which part of the data the images are.
        background: The class that is left out of every number, with its images, but for its row in `per_class`, the
            confusions, and the two rates of `background`.

    Raises:
        LongtailError: The numbers of classes differ, no class is called as the background is, or what `Outcomes.of`
            raises.
    """
    everything = Outcomes.of(logits, labels)
    if not everything.classes == len(counts) == len(classes):
        raise LongtailError(
            f"The logits have {everything.classes} classes, but there are {len(counts)} class counts "
            f"and {len(classes)} class names."
        )
    if background is not None and background not in classes:
        raise unknown("class", background, classes)
    outcomes = everything if background is None else everything.without(classes.index(background))
    rows = _rows(everything, counts, classes, borders)
    averaged = [row for row in rows if row["class"] != background]
    measured = [row for row in averaged if row["accuracy"] is not None]
    worst = min(measured, key=lambda row: row["accuracy"])
    result = {
        "part": part,
        "images": len(outcomes.labels),
        "accuracy": accuracy(outcomes),
        "balanced_accuracy": balanced_accuracy(outcomes),
        "groups": {group: _group([row for row in averaged if row["group"] == group]) for group in SHOT_GROUPS},
        "worst_class": {"class": worst["class"], "accuracy": worst["accuracy"]},
        "expected_calibration_error": expected_calibration_error(outcomes),
        "log_loss": log_loss(outcomes),
        "per_class": rows,
        "not_measured": [row["class"] for row in rows if row["accuracy"] is None],
        "background": None if background is None else _background(everything, background, classes.index(background)),
    }
    if everything.classes <= LARGEST_CONFUSION:
        result["confusion"] = confusion(everything).tolist()
    return result


@dataclass(frozen=True)
class Metric:
    """One reported number: where the result of `evaluate` keeps it, and how it is to be read."""

    name: str
    label: str
    meaning: str
    path: tuple[str, ...]
    unit: Literal["percent", "nats"] = "percent"  # percent: kept as a fraction, shown times 100
    higher_is_better: bool = True

    def read(self, result: Mapping[str, Any]) -> float | None:
        """The number in a result of `evaluate`; None if there was no image to measure it on."""
        value: Any = result
        for key in self.path:
            value = None if value is None else value[key]
        return None if value is None else float(value)


_ALL = (
    Metric("accuracy", "All", "share of the test images that got their label", ("accuracy",)),
    Metric("many", "Many", "mean over the classes with many training images", ("groups", "many", "accuracy")),
    Metric("medium", "Medium", "mean over the classes in between", ("groups", "medium", "accuracy")),
    Metric("few", "Few", "mean over the classes with few training images", ("groups", "few", "accuracy")),
    Metric("worst_class", "Worst class", "the class recognised least often", ("worst_class", "accuracy")),
    Metric("balanced_accuracy", "Balanced", "mean over all classes", ("balanced_accuracy",)),
    Metric(
        "expected_calibration_error",
        "ECE",
        "expected calibration error: the mean gap between confidence and accuracy",
        ("expected_calibration_error",),
        higher_is_better=False,
    ),
    Metric(
        "false_alarms",
        "False alarms",
        "share of the background's test images taken for another class",
        ("background", "false_alarm_rate"),
        higher_is_better=False,
    ),
    Metric(
        "misses",
        "Misses",
        "share of the other test images taken for background",
        ("background", "miss_rate"),
        higher_is_better=False,
    ),
    Metric("log_loss", "Log loss", "mean of -log p(label)", ("log_loss",), unit="nats", higher_is_better=False),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}


def summary(result: Mapping[str, Any]) -> dict[str, float | None]:
    """One number for each of `METRICS`, from what `evaluate` returned.

    >>> result = evaluate([[2.0, 1.0], [3.0, 0.0]], [0, 1], ClassCounts((500, 5)), ["cat", "lynx"])
    >>> {name: value for name, value in summary(result).items() if name in ("accuracy", "medium", "few")}
    {'accuracy': 0.5, 'medium': None, 'few': 0.0}
    """
    return {name: metric.read(result) for name, metric in METRICS.items()}


def _check(scores: NDArray[Any], targets: NDArray[Any]) -> None:
    if scores.ndim != 2 or targets.shape != scores.shape[:1] or scores.size == 0:
        shapes = f"{scores.shape} and {targets.shape}"
        raise LongtailError(f"Metrics need logits (N, C) and labels (N,) of at least one image, not {shapes}.")
    if not np.issubdtype(targets.dtype, np.integer):
        raise LongtailError(f"Labels must be class indices, whole numbers, not {targets.dtype}.")
    outside = (targets < 0) | (targets >= scores.shape[1])
    if outside.any():
        wrong = targets[outside][0]
        raise LongtailError(f"Label {wrong} is outside 0 .. {scores.shape[1] - 1}, the columns of the logits.")
    finite = np.isfinite(scores).all(axis=1)
    if not finite.all():
        raise LongtailError(f"The logits of image {int(np.argmin(finite))} are not finite; did the training diverge?")


def _predict(
    logits: NDArray[Any], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    scores = logits.astype(np.float64)
    predicted = scores.argmax(axis=1)
    rows = np.arange(len(scores))
    below_top = scores - scores[rows, predicted, None]
    log_sum = np.log(np.exp(below_top).sum(axis=1))
    return predicted, np.exp(-log_sum), below_top[rows, labels] - log_sum


def _rows(
    outcomes: Outcomes, counts: ClassCounts, classes: Sequence[str], borders: ShotBorders | None
) -> list[dict[str, Any]]:
    columns = zip(
        classes,
        counts.per_class,
        images_per_class(outcomes).tolist(),
        class_accuracy(outcomes).tolist(),
        counts.shot_groups(borders),
        strict=True,
    )
    return [
        {
            "class": name,
            "train_images": train_images,
            "test_images": test_images,
            "accuracy": share if test_images else None,
            "group": group,
        }
        for name, train_images, test_images, share, group in columns
    ]


def _group(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean of the classes' accuracies (classifier-balancing's `shot_acc`), and the test images behind it."""
    measured = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    return {
        "accuracy": float(np.mean(measured)) if measured else None,
        "classes": len(rows),
        "images": sum(row["test_images"] for row in rows),
    }


def _background(outcomes: Outcomes, name: str, label: int) -> dict[str, Any]:
    """What images of nothing cost, and what is taken for nothing; None where there is no image to tell by."""
    empty = outcomes.labels == label
    called_empty = outcomes.predicted == label
    return {
        "class": name,
        "images": int(empty.sum()),
        "false_alarm_rate": float((~called_empty[empty]).mean()) if empty.any() else None,
        "miss_rate": float(called_empty[~empty].mean()),
    }


def _divide(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Part over whole, NaN where the whole is 0."""
    share = np.full(len(whole), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
