"""No split takes a class its last training image, whatever the counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from longtail.data.splits.splitting import MEASURABLE, share_taken, split
from longtail.errors import LongtailError

FRACTIONS = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.1, 0.2, 0.5, 0.9, 0.999])


@given(images=st.integers(1, 10_000), fraction=FRACTIONS)
def test_a_share_leaves_a_training_image(images: int, fraction: float) -> None:
    taken = share_taken(images, fraction)
    assert 0 <= taken < images
    if images >= MEASURABLE:
        assert taken >= 1
    assert abs(taken - images * fraction) < 1 + 1e-5


@settings(max_examples=60)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=8), fraction=FRACTIONS, seed=st.integers(0, 99))
def test_a_split_parts_every_class_by_its_share(counts: list[int], fraction: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    identities = [f"{label}/{index}" for index, label in enumerate(labels)]
    left, taken = split(labels, identities, fraction, "test")
    np.testing.assert_array_equal(np.sort(np.concatenate([left, taken])), np.arange(len(labels)))
    expected = [share_taken(count, fraction) for count in counts]
    np.testing.assert_array_equal(np.bincount(labels[taken], minlength=len(counts)), expected)
    assert np.bincount(labels[left], minlength=len(counts)).min() >= 1


def test_a_split_depends_on_identities_alone() -> None:
    labels, identities = np.repeat([0, 1], 40), [f"image {index}" for index in range(80)]
    order = np.random.default_rng(1).permutation(80)
    _, taken = split(labels, identities, 0.25, "test")
    _, again = split(labels[order], [identities[index] for index in order], 0.25, "test")
    assert {identities[index] for index in taken} == {identities[order[index]] for index in again}
    _, other = split(labels, identities, 0.25, "validation")
    assert set(taken) != set(other)


def test_a_new_image_moves_at_most_one_other() -> None:
    labels, identities = np.zeros(50, dtype=np.int64), [f"image {index}" for index in range(50)]
    _, before = split(labels, identities, 0.2, "test")
    _, after = split(np.zeros(51, dtype=np.int64), [*identities, "new"], 0.2, "test")
    assert len(set(before.tolist()) ^ set(after.tolist())) <= 2


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(LongtailError, match="at least 0 and below 1"):
        split(np.array([0, 1]), ["a", "b"], fraction, "validation")
