"""Cached features: what is read is what was written, whatever was cut off, shared or broken in between."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from longtail.data.loading import features
from longtail.data.loading.features import FeatureStore, planned_bytes
from longtail.data.parts import Part
from longtail.data.pixels import Files, InMemory
from longtail.errors import LongtailError

KEY: dict[str, Any] = {"weights": "ab" * 32, "preprocessing": {"size": [32, 32]}, "augmentation": None, "view": 0}
D = 5


def digests(first: int, last: int) -> NDArray[np.uint8]:
    """A digest an image, and images `first` .. `last` - 1; some of them end in zero bytes."""
    numbers = np.arange(first, last, dtype=">u4")
    return np.repeat(numbers[:, None], 4, axis=1).view(np.uint8)[:, ::-1].copy()


def values(first: int, last: int) -> NDArray[np.float16]:
    return (np.arange(first, last)[:, None] + np.arange(D) / 8).astype(np.float16)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.open(tmp_path, KEY, D)


def test_what_is_read_is_what_was_written_in_the_order_asked(store: FeatureStore, tmp_path: Path) -> None:
    store.write(digests(0, 3), values(0, 3))
    store.write(digests(3, 300), values(3, 300).astype(np.float32))
    order = np.random.default_rng(0).permutation(300)
    again = FeatureStore.open(tmp_path, KEY, D)
    assert again.rows == 300
    got = again.read(digests(0, 300)[order])
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, values(0, 300)[order])
    assert again.read(digests(0, 0)).shape == (0, D)


def test_missing_are_those_not_stored_each_once(store: FeatureStore) -> None:
    store.write(digests(2, 4), values(2, 4))
    asked = digests(0, 6)[[5, 2, 0, 5, 3, 4, 0]]
    assert store.missing(asked).tolist() == [0, 2, 5]
    with pytest.raises(LongtailError, match="lacks the features of 5 images"):
        store.read(asked)


def test_equal_images_share_a_row_and_the_first_stays(store: FeatureStore) -> None:
    store.write(digests(0, 2)[[0, 1, 0]], values(0, 3))
    store.write(digests(0, 2), values(10, 12))
    assert store.rows == 2
    np.testing.assert_array_equal(store.read(digests(0, 2)[[1, 0, 0]]), values(0, 2)[[1, 0, 0]])


def test_every_key_has_its_folder_and_says_what_it_is(store: FeatureStore, tmp_path: Path) -> None:
    others = [{**KEY, "view": 1}, {**KEY, "weights": "cd" * 32}, {**KEY, "preprocessing": {"size": [32, 33]}}]
    folders = {FeatureStore.open(tmp_path, key, D).path for key in others} | {FeatureStore.open(tmp_path, KEY, 6).path}
    assert len(folders | {store.path}) == 5
    assert FeatureStore.open(tmp_path, dict(reversed(KEY.items())), D).path == store.path
    assert json.loads((store.path / "key.json").read_text())["key"] == KEY


def test_a_cut_off_writer_loses_unfinished_rows_only(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after every number of bytes that one write puts on the disk."""
    store.write(digests(0, 2), values(0, 2))
    before = {path.name: path.read_bytes() for path in store.path.iterdir()}
    whole = 3 * (2 * D + 16)
    for stop in range(whole + 1):
        for name, content in before.items():
            (store.path / name).write_bytes(content)
        left = [stop]

        def torn(path: Path, end: int, content: bytes, left: list[int] = left) -> None:
            written, left[0] = content[: left[0]], left[0] - len(content)
            with path.open("r+b") as file:
                file.seek(end)
                file.write(written)
            if left[0] < 0:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(features, "write_behind", torn)
            try:
                FeatureStore.open(store.path.parent, KEY, D).write(digests(2, 5), values(2, 5))
                assert stop == whole
            except KeyboardInterrupt:
                assert stop < whole
        resumed = FeatureStore.open(store.path.parent, KEY, D)
        finished = resumed.rows
        assert finished == 2 + min(3, max(0, stop - 3 * 2 * D) // 16)
        np.testing.assert_array_equal(resumed.read(digests(0, finished)), values(0, finished))
        resumed.write(digests(0, 8)[resumed.missing(digests(0, 8))], values(finished, 8))
        np.testing.assert_array_equal(resumed.read(digests(0, 8)), values(0, 8))


def write_few_at_a_time(root: Path, first: int) -> None:
    store = FeatureStore.open(root, KEY, D)
    for start in range(first, first + 120, 4):
        store.write(digests(start, start + 4), values(start, start + 4))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_several_processes_share_a_folder(store: FeatureStore, tmp_path: Path) -> None:
    """Each writes some rows of its own and some that another writes as well."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_few_at_a_time, args=(tmp_path, first)) for first in (0, 60, 120)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert store.rows == 240
    assert (store.path / "images.digests").stat().st_size == 240 * 16
    np.testing.assert_array_equal(store.read(digests(0, 240)), values(0, 240))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: os.truncate(path / "values.float16", 4 * 2 * D - 1), "values.float16 is shorter than the 4 rows"),
        (lambda path: (path / "values.float16").unlink(), "values.float16 is shorter than the 4 rows"),
        (lambda path: (path / "key.json").write_text("{}"), "key.json is not what was written"),
        (lambda path: os.truncate(path / "images.digests", 40), "images.digests became shorter"),
    ],
)
def test_damage_names_the_folder_to_remove(store: FeatureStore, damage: Any, what: str) -> None:
    store.write(digests(0, 4), values(0, 4))
    assert store.rows == 4
    damage(store.path)
    look = store.missing if "became" in what else lambda images: FeatureStore.open(store.path.parent, KEY, D)
    with pytest.raises(LongtailError, match=what) as caught:
        look(digests(0, 1))
    assert f"{store.path} are damaged" in str(caught.value)
    assert "remove this folder" in str(caught.value)


def test_a_feature_that_float16_cannot_hold_is_an_error(store: FeatureStore) -> None:
    large = np.full((1, D), 65504.0)
    store.write(digests(0, 1), large)
    for wrong, what in ((np.full((1, D), 70000.0), "beyond 65504.* exact form"), (large * np.nan, "not a number")):
        with pytest.raises(LongtailError, match=what):
            store.write(digests(1, 2), wrong)
    assert store.rows == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LongtailError, match="Cannot make the folder"):
        FeatureStore.open(tmp_path / "file", KEY, D)


def test_the_planned_size_is_what_lies_on_the_disk(store: FeatureStore) -> None:
    store.write(digests(0, 50), values(0, 50))
    lies = sum(path.stat().st_size for path in store.path.iterdir() if path.name != "key.json")
    assert lies == planned_bytes(50, views=1, size=D)


def test_the_digest_of_a_file_follows_its_place_size_and_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4), "red").save(tmp_path / name)
    part = Part(
        np.zeros(2, np.int64), ("a.png", "b.png"), Files(tmp_path, ("a.png", "b.png"), np.zeros(2, np.int64), None)
    )
    first = part.digests()
    assert first.shape == (2, 16)
    assert first.dtype == np.uint8
    assert bytes(first[0]) != bytes(first[1])
    reversed_part = part.subset(np.array([1, 0]))
    np.testing.assert_array_equal(reversed_part.digests(), first[::-1])
    time = (tmp_path / "a.png").stat().st_mtime_ns
    os.utime(tmp_path / "a.png", ns=(time, time + 1))
    assert (part.digests() == first).all(axis=1).tolist() == [False, True]
    (tmp_path / "b.png").unlink()
    assert not (part.digests() == first).all(axis=1).any()
    assert part.subset(np.zeros(0, np.int64)).digests().shape == (0, 16)


def test_the_digest_of_pixels_follows_them_alone() -> None:
    images = torch.arange(2 * 3 * 2 * 4, dtype=torch.uint8).reshape(2, 3, 2, 4)
    same = InMemory(images.contiguous(memory_format=torch.channels_last))
    assert [same.digest(row) for row in range(2)] == [InMemory(images).digest(row) for row in range(2)]
    assert InMemory(images).digest(0) != InMemory(images).digest(1)
    assert InMemory(images).digest(0) != InMemory(images.reshape(2, 3, 4, 2)).digest(0)
