"""Class weights: what every rule has to keep, whatever the counts; published numbers are golden values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, strategies as st

from longtail import weighting
from longtail.counts import ClassCounts
from longtail.errors import LongtailError

RULES: list[Callable[[ClassCounts], weighting.Weights]] = [
    weighting.instance,
    weighting.balanced,
    weighting.square_root,
    weighting.reversed_,
    weighting.inverse_frequency,
    weighting.effective_number,
    weighting.cben,
]
every_rule = pytest.mark.parametrize("rule", RULES)
some_counts = st.lists(st.integers(1, 10**7), min_size=2, max_size=12).map(lambda counts: ClassCounts(tuple(counts)))


@pytest.mark.parametrize("rule", RULES[:-1])  # CBEN's beta spans its range however close the counts are
@given(counts=some_counts)
def test_rarer_classes_never_weigh_less(rule: Callable[[ClassCounts], weighting.Weights], counts: ClassCounts) -> None:
    weights = rule(counts)
    assert weights.dtype == np.float64
    assert weights.shape == (len(counts),)
    assert np.all(weights > 0)
    from_largest = weights[np.argsort(counts.per_class)[::-1]]
    assert np.all(np.diff(from_largest) >= -1e-15)


@every_rule
@given(counts=some_counts)
def test_weights_follow_their_class(rule: Callable[[ClassCounts], weighting.Weights], counts: ClassCounts) -> None:
    mirrored = rule(ClassCounts(counts.per_class[::-1]))
    np.testing.assert_array_equal(mirrored[::-1], rule(counts))


@given(counts=some_counts)
def test_class_probabilities(counts: ClassCounts) -> None:
    images = np.array(counts.per_class)
    for rule, expected in (
        (weighting.instance, images / images.sum()),
        (weighting.balanced, np.full(len(images), 1 / len(images))),
        (weighting.square_root, np.sqrt(images) / np.sqrt(images).sum()),
        (weighting.reversed_, (1 / images) / (1 / images).sum()),
    ):
        np.testing.assert_allclose(weighting.class_probability(counts, rule(counts)), expected, rtol=1e-12)


def test_effective_number_between_images_and_classes() -> None:
    counts = ClassCounts((900, 30, 1))
    np.testing.assert_array_equal(weighting.effective_number(counts, beta=0.0), weighting.instance(counts))
    nearly_one = weighting.effective_number(counts, beta=1 - 1e-9)
    np.testing.assert_allclose(nearly_one, weighting.balanced(counts), rtol=1e-5)


@pytest.mark.parametrize("beta", [1.0, -0.1, float("nan"), np.array([0.9, 1.0])])
def test_beta_out_of_range(beta: float | weighting.Weights) -> None:
    with pytest.raises(LongtailError, match="beta from 0 to below 1"):
        weighting.effective_number(ClassCounts((2, 1)), beta)


def test_equal_counts_weigh_equally() -> None:
    for rule in RULES:
        assert len(set(rule(ClassCounts((7, 7, 7))).tolist())) == 1
