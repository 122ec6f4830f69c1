"""Metrics against scikit-learn, loops written by hand, and the laws that they must obey."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import assume, given, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from longtail import metrics
from longtail.counts import ClassCounts, ShotBorders
from longtail.errors import LongtailError
from longtail.metrics import METRICS, Outcomes, evaluate, summary

COUNTS = ClassCounts((10, 500, 90, 3, 101, 19, 20, 100))  # unsorted, and on both sides of both borders
CLASSES = tuple("abcdefgh")


@pytest.fixture
def answers() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits (400, 8) that know something, labels (400,) of every class."""
    draw = np.random.default_rng(3)
    labels = np.concatenate([np.arange(8), draw.integers(0, 8, 392)])
    logits = draw.normal(size=(400, 8)) * 2
    logits[np.arange(400), labels] += 1.5
    return logits, labels


def softmax_by_hand(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def ece_by_loop(logits: NDArray[np.float64], labels: NDArray[np.int64], bins: int) -> float:
    probabilities = softmax_by_hand(logits)
    error = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [
            (row.max(), int(row.argmax() == label))
            for row, label in zip(probabilities, labels, strict=True)
            if low < row.max() <= high
        ]
        if inside:
            gap = abs(sum(hit for _, hit in inside) - sum(sure for sure, _ in inside)) / len(inside)
            error += gap * len(inside) / len(labels)
    return error


def test_equal_to_scikit_learn(answers: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    logits, labels = answers
    predicted = logits.argmax(axis=1)
    outcomes = Outcomes.of(logits, labels)
    recall = sklearn.metrics.recall_score(labels, predicted, average=None)
    assert metrics.accuracy(outcomes) == sklearn.metrics.accuracy_score(labels, predicted)
    assert metrics.balanced_accuracy(outcomes) == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, predicted), abs=1e-15
    )
    assert metrics.log_loss(outcomes) == pytest.approx(
        sklearn.metrics.log_loss(labels, softmax_by_hand(logits)), abs=1e-12
    )
    np.testing.assert_allclose(metrics.class_accuracy(outcomes), recall, rtol=1e-15)
    np.testing.assert_array_equal(metrics.confusion(outcomes), sklearn.metrics.confusion_matrix(labels, predicted))


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_calibration_error_equals_the_loop(answers: tuple[NDArray[np.float64], NDArray[np.int64]], bins: int) -> None:
    logits, labels = answers
    error = metrics.expected_calibration_error(Outcomes.of(logits, labels), bins)
    assert error == pytest.approx(ece_by_loop(logits, labels, bins), abs=1e-12)
    assert error > 0.01


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    bars = metrics.calibration(Outcomes.of([[0.0, 0.0]], [0]), bins=2)
    assert bars.share.tolist() == [1.0, 0.0]
    assert bars.confidence[0] == 0.5
    assert math.isnan(bars.accuracy[1])


def test_shot_groups_equal_the_loop(answers: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    logits, labels = answers
    found = evaluate(logits, labels, COUNTS, CLASSES)["groups"]
    for group, members in {"many": [1, 4], "medium": [2, 6, 7], "few": [0, 3, 5]}.items():
        shares = []
        for member in members:
            hits = [int(row.argmax() == member) for row in logits[labels == member]]
            shares.append(sum(hits) / len(hits))
        assert found[group]["accuracy"] == pytest.approx(sum(shares) / len(shares))
        assert found[group]["classes"] == len(members)
        assert found[group]["images"] == sum(int((labels == member).sum()) for member in members)


def test_given_borders_move_classes() -> None:
    borders = ShotBorders(many_above=499, few_below=4)
    rows = evaluate(np.eye(8), np.arange(8), COUNTS, CLASSES, borders)["per_class"]
    assert [row["class"] for row in rows if row["group"] == "many"] == ["b"]
    assert [row["class"] for row in rows if row["group"] == "few"] == ["d"]


def test_classes_without_test_images_are_left_out_and_listed() -> None:
    labels = np.array([1, 1, 4, 2])
    logits = np.eye(8)[[1, 0, 4, 3]]
    result = evaluate(logits, labels, COUNTS, CLASSES)
    assert result["not_measured"] == ["a", "d", "f", "g", "h"]
    assert result["balanced_accuracy"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert result["groups"]["few"] == {"accuracy": None, "classes": 3, "images": 0}
    assert result["groups"]["many"]["accuracy"] == 0.75
    assert result["worst_class"] == {"class": "c", "accuracy": 0.0}
    assert result["per_class"][0] == {
        "class": "a",
        "train_images": 10,
        "test_images": 0,
        "accuracy": None,
        "group": "few",
    }
    assert summary(result)["few"] is None


def test_a_background_class_is_out_of_every_mean(
    answers: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    logits, labels = answers
    others = labels != 2
    result = evaluate(logits, labels, COUNTS, CLASSES, background=CLASSES[2])
    without = evaluate(logits[others], labels[others], COUNTS, CLASSES)
    for name in ("images", "accuracy", "balanced_accuracy", "expected_calibration_error", "log_loss", "worst_class"):
        assert result[name] == pytest.approx(without[name]), name
    for group in result["groups"]:
        assert result["groups"][group]["accuracy"] == without["groups"][group]["accuracy"]
    predicted = logits.argmax(axis=1)
    assert summary(result)["false_alarms"] == pytest.approx(
        1 - sklearn.metrics.accuracy_score(labels[~others], predicted[~others])
    )
    assert summary(result)["misses"] == pytest.approx((predicted[others] == 2).mean())
    assert sum(group["classes"] for group in result["groups"].values()) == len(CLASSES) - 1
    with pytest.raises(LongtailError, match="Unknown class 'nothing'"):
        evaluate(logits, labels, COUNTS, CLASSES, background="nothing")
    with pytest.raises(LongtailError, match="All test images are of the background class"):
        evaluate(logits[~others], labels[~others], COUNTS, CLASSES, background=CLASSES[2])


def test_the_result_is_json_and_every_metric_reads_from_it(
    answers: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    logits, labels = answers
    result = evaluate(logits.astype(np.float32), labels, COUNTS, CLASSES)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    numbers = summary(result)
    assert list(numbers) == list(METRICS)
    assert numbers["accuracy"] == result["accuracy"]
    assert numbers["worst_class"] == min(row["accuracy"] for row in result["per_class"])
    assert numbers["few"] == result["groups"]["few"]["accuracy"]
    assert {name for name, metric in METRICS.items() if not metric.higher_is_better} == {
        "expected_calibration_error",
        "log_loss",
        "false_alarms",
        "misses",
    }


def test_confusion_only_where_it_is_small() -> None:
    def keys(classes: int) -> set[str]:
        return set(evaluate(np.eye(classes), range(classes), ClassCounts((1,) * classes), ["x"] * classes))

    assert "confusion" in keys(100)
    assert "confusion" not in keys(101)


def test_many_images_are_read_in_chunks_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    logits, labels = draw.normal(size=(50, 4)), draw.integers(0, 4, 50)
    whole = Outcomes.of(logits, labels)
    monkeypatch.setattr(metrics, "_ROWS_AT_ONCE", 7)
    chunked = Outcomes.of(logits, labels)
    np.testing.assert_array_equal(chunked.predicted, whole.predicted)
    np.testing.assert_array_equal(chunked.log_likelihood, whole.log_likelihood)


def test_huge_logits_stay_exact() -> None:
    outcomes = Outcomes.of([[1e4, -1e4, 0.0], [1e4, 0.0, 0.0]], [0, 1])
    assert outcomes.confidence.tolist() == [1.0, 1.0]
    assert metrics.log_loss(outcomes) == 5e3
    assert metrics.expected_calibration_error(outcomes) == 0.5


def test_ties_go_to_the_first_class() -> None:
    outcomes = Outcomes.of(np.zeros((3, 4)), [0, 1, 3])
    assert outcomes.predicted.tolist() == [0, 0, 0]
    assert outcomes.confidence.tolist() == [0.25] * 3


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "at least one image"),
        (np.zeros(3), [0], "logits (N, C)"),
        (np.zeros((2, 3)), [0], "(2, 3) and (1,)"),
        (np.zeros((2, 3)), [0, 3], "Label 3 is outside 0 .. 2"),
        (np.zeros((2, 3)), [0, -1], "Label -1 is outside 0 .. 2"),
        (np.zeros((2, 3)), [0.0, 1.0], "whole numbers"),
        ([[0.0, 1.0], [np.nan, 1.0]], [0, 0], "image 1 are not finite"),
        ([[0.0, np.inf], [1.0, 1.0]], [0, 0], "image 0 are not finite"),
    ],
)
def test_bad_input_is_told(logits: Any, labels: Any, words: str) -> None:
    with pytest.raises(LongtailError) as caught:
        Outcomes.of(logits, labels)
    assert words in str(caught.value)


def test_counts_names_and_logits_must_agree() -> None:
    with pytest.raises(LongtailError, match=r"3 classes, but there are 8 class counts and 8 class names"):
        evaluate(np.eye(3), [0, 1, 2], COUNTS, CLASSES)


@st.composite
def any_answers(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits and labels of any size, with ties, missing classes, one sample, one class, logits up to 1e4."""
    images, classes = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    values = st.one_of(st.sampled_from([0.0, 1.0, -1e4, 1e4]), st.floats(-1e4, 1e4))
    logits = draw(arrays(np.float64, (images, classes), elements=values))
    labels = draw(arrays(np.int64, images, elements=st.integers(0, classes - 1)))
    return logits, labels


@given(any_answers())
def test_laws_hold_for_any_answers(answers: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    logits, labels = answers
    classes = logits.shape[1]
    outcomes = Outcomes.of(logits, labels)
    result = evaluate(logits, labels, ClassCounts(tuple(range(1, classes + 1))), ["x"] * classes)
    json.dumps(result, allow_nan=False)
    for name, value in summary(result).items():
        assert value is None or 0 <= value <= (math.inf if METRICS[name].unit == "nats" else 1 + 1e-12)
    matrix = metrics.confusion(outcomes)
    assert matrix.sum() == len(labels)
    assert np.trace(matrix) == pytest.approx(result["accuracy"] * len(labels))
    assert metrics.calibration(outcomes).share.sum() == pytest.approx(1)
    assert len(result["not_measured"]) == classes - len(np.unique(labels))


@given(any_answers(), st.floats(-1e3, 1e3))
def test_adding_a_constant_to_the_logits_changes_no_probability(
    answers: tuple[NDArray[np.float64], NDArray[np.int64]], constant: float
) -> None:
    logits, labels = answers
    moved, still = Outcomes.of(logits + constant, labels), Outcomes.of(logits, labels)
    np.testing.assert_allclose(moved.confidence, still.confidence, atol=1e-9)
    np.testing.assert_allclose(moved.log_likelihood, still.log_likelihood, rtol=1e-9, atol=1e-9)


@given(any_answers())
def test_permuting_the_classes_permutes_the_class_accuracies(
    answers: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    logits, labels = answers
    logits = logits + np.arange(logits.shape[1]) * 1e-3  # the first of equals wins: permuting needs no ties
    logits = logits[[len(set(row)) == len(row) for row in logits]]
    labels = labels[: len(logits)]
    assume(len(logits) > 0)
    order = np.random.default_rng(len(logits)).permutation(logits.shape[1])
    new_index = np.argsort(order)
    there = metrics.class_accuracy(Outcomes.of(logits[:, order], new_index[labels]))
    np.testing.assert_array_equal(there, metrics.class_accuracy(Outcomes.of(logits, labels))[order])
