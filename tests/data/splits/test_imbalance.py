"""Counts are the published ones and the choice is LDAM-DRW's; what cannot be is refused in a sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from longtail.data.splits.imbalance import Profile, exponential, long_tailed, step
from longtail.errors import LongtailError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "class_counts.json").read_text())["cases"]
PROFILES: dict[str, Profile] = {"exp": exponential, "step": step}


@pytest.mark.parametrize("case", GOLDEN, ids=[case["id"] for case in GOLDEN])
def test_counts_equal_the_official_generator(case: dict[str, Any]) -> None:
    params = case["params"]
    counts = PROFILES[params["type"]](params["n_max"], params["classes"], params["ratio"])
    assert list(counts) == case["expected"]["counts"]


def test_choice_is_the_one_of_the_global_seed_0_shuffle() -> None:
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(5), 60))
    np.random.seed(0)  # noqa: NPY002  (what the published code does)
    expected: list[int] = []
    for label, wanted in enumerate(exponential(60, 5, 10)):
        indices = np.where(labels == label)[0]
        np.random.shuffle(indices)  # noqa: NPY002
        expected.extend(indices[:wanted])
    np.testing.assert_array_equal(long_tailed(labels, "abcde", 10), expected)


@given(
    available=st.lists(st.integers(1, 80), min_size=2, max_size=12),
    ratio=st.floats(1, 100) | st.integers(1, 80).map(float),
)
def test_a_choice_has_the_counts_of_its_profile_or_is_refused(available: list[int], ratio: float) -> None:
    labels = np.repeat(np.arange(len(available)), available)
    names = [f"class {index}" for index in range(len(available))]
    largest = max(available)
    fits = ratio <= largest and all(
        math.floor(largest / ratio ** (index / (len(available) - 1))) <= has for index, has in enumerate(available)
    )
    try:
        chosen = long_tailed(labels, names, ratio)
    except LongtailError:
        assert not fits
        return
    assert fits
    counts = np.bincount(labels[chosen], minlength=len(available))
    assert counts.min() >= 1
    assert len(set(chosen.tolist())) == len(chosen)
    np.testing.assert_array_equal(counts, exponential(largest, len(available), ratio))


@pytest.mark.parametrize("classes", [2, 3, 7, 10, 100])
def test_the_largest_ratio_leaves_one_image(classes: int) -> None:
    for largest in range(1, 600):
        assert min(exponential(largest, classes, float(largest))) == 1


@pytest.mark.parametrize("ratio", [0, 0.5, -1, math.nan, math.inf, -math.inf])
def test_a_ratio_below_1_or_none_is_refused(ratio: float) -> None:
    with pytest.raises(LongtailError, match="at least 1"):
        long_tailed(np.array([0, 0, 1, 1]), "ab", ratio)


def test_a_ratio_beyond_the_largest_class_names_the_most() -> None:
    with pytest.raises(LongtailError, match="the largest class has 4 training images, so 4 is the most"):
        long_tailed(np.array([0, 0, 0, 0, 1]), "ab", 5)


def test_a_class_with_too_few_images_is_named() -> None:
    with pytest.raises(LongtailError, match="Class dog has 2 training images, but imbalance ratio 2 asks 5 of it"):
        long_tailed(np.repeat([0, 1], [10, 2]), ["cat", "dog"], 2)
