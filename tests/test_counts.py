from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from longtail.counts import ClassCounts, ShotBorders
from longtail.errors import LongtailError

COUNTS = st.lists(st.integers(1, 5000), min_size=1, max_size=30)


@given(COUNTS)
def test_every_form_of_the_same_counts_is_the_same(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    by_name = {f"class {index}": count for index, count in enumerate(counts)}
    forms: list[Any] = [
        counts,
        tuple(counts),
        np.array(counts),
        torch.tensor(counts),
        by_name,
        ClassCounts(tuple(counts)),
        labels,
    ]
    assert {ClassCounts.of(form).per_class for form in forms} == {tuple(counts)}
    assert ClassCounts.from_labels(labels).per_class == tuple(counts)


@pytest.mark.parametrize("wrong", [[], [5, -1], [[5, 3]], [2.5, 1], {"cat": 3, "dog": 0}, [0, 2]])
def test_what_are_no_counts_is_refused(wrong: object) -> None:
    with pytest.raises(LongtailError):
        ClassCounts.of(wrong)  # type: ignore[arg-type]


def test_a_class_that_the_labels_lack_is_named() -> None:
    with pytest.raises(LongtailError, match="Class 2 has 0 training images"):
        ClassCounts.from_labels([0, 1, 1], classes=3)


def test_large_sets_have_the_borders_of_the_field() -> None:
    counts = ClassCounts((5000, 101, 100, 20, 19))
    assert counts.shot_borders() == ShotBorders(100, 20)
    assert counts.shot_groups() == ("many", "many", "medium", "medium", "few")


def test_the_digits_borders_are_thirds_of_the_log_scale() -> None:
    counts = ClassCounts((139, 89, 58, 37, 24, 15, 10, 6, 4, 2))
    borders = counts.shot_borders()
    logs = np.log([139, borders.many_above, borders.few_below, 2])
    np.testing.assert_allclose(np.diff(logs), np.log(2 / 139) / 3)
    assert counts.shot_groups() == ("many",) * 4 + ("medium",) * 3 + ("few",) * 3


@given(COUNTS)
def test_the_largest_class_is_never_few_and_the_smallest_never_many(counts: list[int]) -> None:
    known = ClassCounts(tuple(counts))
    groups = known.shot_groups()
    assert groups[counts.index(known.largest)] != "few" or known.largest < 20
    assert groups[counts.index(known.smallest)] != "many" or known.smallest > 100


def test_borders_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(LongtailError, match="0 < few <= many"):
        ShotBorders(many_above=10, few_below=20)
