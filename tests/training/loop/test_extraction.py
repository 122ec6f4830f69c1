"""Kept features: what they are, that an image is seen once a view, and that a view is a function of the image."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.data.augmenting.augmentation import Augmentation, CropFlip, RandomResizedCropFlip
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.loader import Loader
from longtail.data.open import open_images
from longtail.data.parts import Part
from longtail.data.sources.digits import digits
from longtail.training.loop.extraction import VIEWS, Cache, Extraction
from longtail.watching import Watcher
from tiny_training import DIGITS, FLOAT32, Counting, Listener, classifier, coloured

MOVED = CropFlip(padding=1)


@pytest.fixture(scope="module")
def part() -> Part:
    return digits().train


def extraction(root: Path, views: int | None = None, watcher: Watcher | None = None) -> Extraction:
    Counting.calls.clear()

    def loader(part: Part, augmentation: Augmentation | None, batch_size: int) -> Loader:
        return Loader(part, DIGITS, augmentation, batch_size=batch_size)

    return Extraction(Cache(root, views), FLOAT32, DIGITS, loader, watcher or Watcher())


def seen() -> int:
    number = sum(Counting.calls)
    Counting.calls.clear()
    return number


def backbone() -> Counting:
    model = classifier().backbone.eval()
    assert isinstance(model, Counting)
    return model


def by_the_network(part: Part) -> NDArray[np.float32]:
    batch = next(iter(Loader(part, DIGITS, batch_size=len(part)).batches()))
    with torch.no_grad():
        return np.asarray(backbone()(DIGITS.normalise(batch.images)).numpy())


def test_features_are_those_of_the_network(part: Part, tmp_path: Path) -> None:
    expected, found = by_the_network(part), extraction(tmp_path)
    np.testing.assert_allclose(found.plain(backbone(), part).numpy(), expected, rtol=1e-3, atol=1e-4)
    (view,) = found.views(backbone(), part, augmentation=None)
    np.testing.assert_allclose(view, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("augmentation", "asked", "views"),
    [(None, None, 1), (None, 4, 1), (MOVED, None, VIEWS), (MOVED, 3, 3), (MOVED, 1, 1)],
)
def test_as_many_views_as_they_are_worth(
    augmentation: Augmentation | None, asked: int | None, views: int, part: Part, tmp_path: Path
) -> None:
    found = extraction(tmp_path, asked).views(backbone(), part, augmentation)
    assert [len(view) for view in found] == [len(part)] * views
    assert seen() == views * len(part)
    if views == 1:
        np.testing.assert_allclose(found[0], by_the_network(part), rtol=1e-3, atol=1e-4)
    for one, other in pairwise(found):
        assert (one != other).any(axis=1).mean() > 0.8  # two of nine places are the same by chance


def test_nothing_is_computed_twice(part: Part, tmp_path: Path) -> None:
    first = extraction(tmp_path).views(backbone(), part, MOVED)
    assert seen() == VIEWS * len(part)
    again = extraction(tmp_path).views(backbone(), part, MOVED)
    assert seen() == 0
    np.testing.assert_array_equal(first, again)
    extraction(tmp_path, 4).views(backbone(), part, MOVED)
    assert seen() == 0  # fewer views are some of them
    changed = backbone()
    changed.convolution.weight.data[0, 0, 0, 0] += 1e-6
    extraction(tmp_path, 2).views(changed, part, MOVED)
    assert seen() == 2 * len(part)
    other = replace(extraction(tmp_path, 2), preprocessing=replace(DIGITS, mean=(0.4, 0.4, 0.4)))
    other.views(backbone(), part, MOVED)
    assert seen() == 2 * len(part)


def test_training_and_validation_images_share_a_folder_with_larger_sets(part: Part, tmp_path: Path) -> None:
    some = part.subset(np.arange(0, len(part), 2))
    first = extraction(tmp_path).plain(backbone(), some)
    assert seen() == len(some)
    whole = extraction(tmp_path).plain(backbone(), part)
    assert seen() == len(part) - len(some)
    assert torch.equal(whole[::2], first)


def test_what_was_cut_off_is_gone_on_with(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = extraction(tmp_path / "whole").views(backbone(), part, MOVED)
    last_step = nn.Flatten.forward

    def power_cut(self: nn.Flatten, maps: Tensor) -> Tensor:
        if sum(Counting.calls) >= 1000:
            raise KeyboardInterrupt
        return last_step(self, maps)

    monkeypatch.setattr(nn.Flatten, "forward", power_cut)
    with pytest.raises(KeyboardInterrupt):
        extraction(tmp_path / "cut").views(backbone(), part, MOVED)
    before = seen()
    monkeypatch.setattr(nn.Flatten, "forward", last_step)
    rest = extraction(tmp_path / "cut").views(backbone(), part, MOVED)
    assert before >= 1000
    assert seen() == VIEWS * len(part) - before
    np.testing.assert_array_equal(rest, whole)


def test_a_view_is_a_function_of_the_image_alone(part: Part, tmp_path: Path) -> None:
    whole = extraction(tmp_path / "whole").views(backbone(), part, MOVED)
    rows = np.random.default_rng(0).permutation(len(part))[:100]
    some = extraction(tmp_path / "some").views(backbone(), part.subset(rows), MOVED)
    for view, mine in zip(whole, some, strict=True):
        np.testing.assert_allclose(view[rows], mine, rtol=1e-3, atol=1e-4)  # batches of another size


def test_a_view_of_a_file_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    here = coloured(tmp_path / "here", {"train/ant": 6, "train/bee": 4, "test/ant": 2, "test/bee": 2})
    there = shutil.copytree(here, tmp_path / "elsewhere/pictures")
    for file in there.rglob("*.png"):
        os.utime(file, (1e9, 1e9))
    found = [
        replace(extraction(tmp_path / f"{number}"), preprocessing=Preprocessing((16, 16))).views(
            backbone(), open_images(folder).train, RandomResizedCropFlip()
        )
        for number, folder in enumerate((here, there))
    ]
    np.testing.assert_array_equal(found[0], found[1])


def test_place_and_size_are_said_before(part: Part, tmp_path: Path) -> None:
    listener = Listener()
    extraction(tmp_path / "kept", watcher=listener).views(backbone(), part, MOVED)
    (line,) = listener.lines
    assert "3,072 views of images x 8 numbers" in line
    assert str(tmp_path / "kept") in line
    stored = sum(
        file.stat().st_size for file in (tmp_path / "kept").rglob("*") if file.suffix in {".float16", ".digests"}
    )
    assert f"{stored / 2**20:.1f} MiB" in line
    extraction(tmp_path / "kept", watcher=listener).views(backbone(), part, MOVED)
    assert len(listener.lines) == 1


def test_features_of_another_precision_are_others(part: Part, tmp_path: Path) -> None:
    fine = extraction(tmp_path, 1)
    coarse = replace(fine, engine=replace(FLOAT32, precision=torch.bfloat16))
    (exact,), (rough,) = (each.views(backbone(), part, MOVED) for each in (fine, coarse))
    assert seen() == 2 * len(part)
    assert 0 < np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()
    assert torch.equal(fine.plain(backbone(), part), coarse.plain(backbone(), part))  # one tests in float32
    assert seen() == 0
