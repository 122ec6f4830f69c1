"""The embedded set: its counts, its pixels, and the way of a digit through a PNG file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from longtail.data.images.preprocessing import Preprocessing
from longtail.data.pixels import InMemory
from longtail.data.sources.digits import digits
from longtail.errors import LongtailError


def test_counts_and_parts() -> None:
    images = digits()
    assert images.counts.per_class == (139, 89, 58, 37, 24, 15, 10, 6, 4, 2)
    assert images.validation is None
    assert images.test is not None
    assert len(images.train) + len(images.test) == 1797
    assert not set(images.train.identities) & set(images.test.identities)
    assert np.bincount(images.test.labels).min() >= 35
    assert images.size == (8, 8)


def test_labels_and_pixels_are_scikit_learns() -> None:
    source = load_digits()
    for part in digits().parts.values():
        original = np.array([int(identity.removeprefix("digits/")) for identity in part.identities])
        np.testing.assert_array_equal(part.labels, source.target[original])
        assert isinstance(part.pixels, InMemory)
        seen = part.pixels.images.numpy()
        assert (seen[:, 0] == seen[:, 1]).all()
        assert (seen[:, 0] == seen[:, 2]).all()
        np.testing.assert_array_equal(np.rint(seen[:, 0] * (16 / 255)), source.images[original])
        assert (seen.min(), seen.max()) == (0, 255)


def test_a_digit_survives_a_png_file(tmp_path: Path) -> None:
    images = digits()
    assert images.test is not None
    assert isinstance(images.test.pixels, InMemory)
    preprocessing = Preprocessing.native(images)
    for index in (0, 700, 1412):
        pixels = images.test.pixels.images[index]
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "colour.png")
        Image.fromarray(pixels[0].numpy()).save(tmp_path / "grey.png")
        assert torch.equal(preprocessing.pixels(tmp_path / "colour.png"), pixels)
        assert torch.equal(preprocessing.pixels(tmp_path / "grey.png"), pixels)


def test_another_ratio() -> None:
    assert digits({"imbalance": 1}).counts.per_class == (139,) * 10
    assert digits({"imbalance": 139}).counts.smallest == 1
    with pytest.raises(LongtailError, match="139 is the most"):
        digits({"imbalance": 140})
