"""Kept images give the pixels that their files give, whoever writes beside, and are never older than the file."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from longtail.data.augmenting.augmentation import RandomResizedCropFlip
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import UnreadableImages
from longtail.data.loading.advice import advice
from longtail.data.loading.cache import Kept
from longtail.data.loading.loader import Loader
from longtail.data.parts import Part
from longtail.data.pixels import Files
from longtail.draws import Key
from longtail.errors import LongtailError

PREPROCESSING = Preprocessing((48, 48), crop_fraction=0.875)
KEY = Key.of_seed(1)


def photographs(folder: Path, count: int = 6, size: tuple[int, int] = (320, 240)) -> Part:
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(f"{index}.jpg" for index in range(count))
    for index, name in enumerate(names):
        picture(index, size).save(folder / name, quality=95)
    return part_of(folder, names)


def part_of(folder: Path, names: tuple[str, ...]) -> Part:
    lengths = np.array([(folder / name).stat().st_size for name in names])
    return Part(np.arange(len(names)), names, Files(folder, names, lengths, None))


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def images_of(part: Part, cache: Path | None, workers: int = 0) -> torch.Tensor:
    loader = Loader(part, PREPROCESSING, None, batch_size=4, cache=cache, workers=workers, loading="decode")
    images = torch.cat([batch.images for batch in loader.batches()])
    loader.close()
    return images


@pytest.mark.parametrize("workers", [0, 2])
def test_kept_images_give_the_pixels_of_the_files(tmp_path: Path, workers: int) -> None:
    part, cache = photographs(tmp_path / "photos"), tmp_path / "cache"
    expected = images_of(part, None)
    assert torch.equal(images_of(part, cache, workers), expected)
    for name in part.identities:  # the same length and time, other bytes: nobody opens them again
        path = tmp_path / "photos" / name
        status = path.stat()
        path.write_bytes(b"x" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert torch.equal(images_of(part, cache, workers), expected)


def test_nothing_but_arrays_and_lines_of_json_is_written(tmp_path: Path) -> None:
    part, cache = photographs(tmp_path / "photos"), tmp_path / "cache"
    before = sorted(path.name for path in (tmp_path / "photos").rglob("*"))
    images_of(part, cache)
    assert sorted(path.name for path in (tmp_path / "photos").rglob("*")) == before
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert {path.name for path in files if path.suffix != ".npy"} == {"index.jsonl"}
    for path in files:
        if path.suffix == ".npy":
            assert np.load(path, allow_pickle=False).shape == (54, 72, 3)


def test_a_changed_file_is_decoded_anew_and_a_moved_one_is_not(tmp_path: Path) -> None:
    part, cache = photographs(tmp_path / "photos"), tmp_path / "cache"
    first = images_of(part, cache)
    picture(99, (300, 300)).save(tmp_path / "photos" / "2.jpg")
    changed = images_of(part_of(tmp_path / "photos", part.identities), cache)
    assert not torch.equal(changed[2], first[2])
    assert torch.equal(changed, images_of(part, None))
    shutil.copytree(tmp_path / "photos", tmp_path / "copied")
    arrays = len(list(cache.rglob("*.npy")))
    assert torch.equal(images_of(part_of(tmp_path / "copied", part.identities), cache), changed)
    assert len(list(cache.rglob("*.npy"))) == arrays


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00garbage", None])
def test_a_damaged_array_or_index_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    part, cache = photographs(tmp_path / "photos"), tmp_path / "cache"
    expected = images_of(part, cache)
    for path in cache.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    (index,) = cache.rglob("index.jsonl")
    index.write_bytes(b'not json\n{"image": 3}\n' + index.read_bytes()[:-20])
    assert torch.equal(images_of(part, cache), expected)
    assert torch.equal(images_of(part, cache), expected)
    assert all(np.load(path).shape == (54, 72, 3) for path in cache.rglob("*.npy"))


def test_a_pickled_array_is_never_loaded(tmp_path: Path) -> None:
    part, cache = photographs(tmp_path / "photos", 2), tmp_path / "cache"
    expected = images_of(part, cache)
    for path in cache.rglob("*.npy"):
        np.save(path, np.array([{"a": 1}], dtype=object))
    assert torch.equal(images_of(part, cache), expected)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_several_processes_share_a_folder_and_one_may_be_killed(tmp_path: Path) -> None:
    part, cache = photographs(tmp_path / "photos", 40), tmp_path / "cache"
    expected = images_of(part, None)
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=images_of, args=(part, cache)) for _ in range(3)]
    for run in runs:
        run.start()
    while not list(cache.rglob("*.npy")):
        assert any(run.is_alive() for run in runs)
    runs[0].kill()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs[1:]] == [0, 0]
    assert torch.equal(images_of(part, cache), expected)


def test_windows_for_training_are_cut_from_the_kept_image(tmp_path: Path) -> None:
    part, cache = photographs(tmp_path / "photos"), tmp_path / "cache"

    def epoch(cache: Path | None) -> torch.Tensor:
        loader = Loader(part, PREPROCESSING, RandomResizedCropFlip((0.5, 1.0)), batch_size=6, cache=cache)
        return next(iter(loader.batches(key=KEY))).images

    first = epoch(cache)
    assert torch.equal(epoch(cache), first)
    from_files = epoch(None)
    near = (first.float() - from_files.float()).abs().mean()
    assert (
        near < 0.3 * (first.flip(0).float() - from_files.float()).abs().mean()
    )  # the same windows of smaller pictures


def test_unreadable_images_are_named_and_not_kept(tmp_path: Path) -> None:
    part, cache = photographs(tmp_path / "photos"), tmp_path / "cache"
    (tmp_path / "photos" / "3.jpg").write_bytes((tmp_path / "photos" / "3.jpg").read_bytes()[:-300])
    for _ in range(2):
        with pytest.raises(UnreadableImages) as caught:
            images_of(part, cache)
        assert caught.value.reasons == {"3.jpg": "image file is truncated"}
    assert len(list(cache.rglob("*.npy"))) == 5


def test_a_folder_that_cannot_be_written_has_a_sentence(tmp_path: Path) -> None:
    part = photographs(tmp_path / "photos", 2)
    (tmp_path / "file").write_text("")
    with pytest.raises(LongtailError, match="cannot be written"):
        images_of(part, tmp_path / "file")


def test_a_full_disk_costs_the_kept_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, cache = photographs(tmp_path / "photos"), tmp_path / "cache"
    expected = images_of(part, None)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert torch.equal(images_of(part, cache), expected)
    assert {path.name for path in cache.rglob("*") if path.is_file()} == {"index.jsonl"}


def test_a_file_that_changes_while_it_is_decoded_is_not_kept(tmp_path: Path) -> None:
    part = photographs(tmp_path / "photos", 2)
    kept = Kept.at(tmp_path / "cache", part.pixels, PREPROCESSING)
    before = part.pixels.digest(1)
    picture(7, (200, 200)).save(tmp_path / "photos" / "1.jpg")
    kept.store.put(part.pixels, 1, before, np.zeros((54, 72, 3), np.uint8))
    assert kept.store.get(part.pixels, 1) is None


def test_subsets_keep_their_images(tmp_path: Path) -> None:
    part, cache = photographs(tmp_path / "photos"), tmp_path / "cache"
    kept = Kept.at(cache, part.pixels, PREPROCESSING)
    shown = kept.subset(np.array([4, 1]))
    assert len(shown) == 2
    assert np.array_equal(np.asarray(shown.open(0)), np.asarray(kept.open(4)))
    assert shown.digest(1) == part.pixels.digest(1)


def test_advice_names_size_and_time_where_it_pays(tmp_path: Path) -> None:
    large = photographs(tmp_path / "large", 3, (2000, 1500))
    names = large.identities * 20_000
    many = Part(
        np.zeros(len(names), np.int64), names, Files(tmp_path / "large", names, np.ones(len(names), np.int64), None)
    )
    sentence = advice(many, PREPROCESSING)
    assert sentence is not None
    assert "--cache DIR" in sentence
    assert "0.7 GB" in sentence  # 60,000 images of 72 x 54 pixels
    assert advice(large, PREPROCESSING) is None
    assert list(tmp_path.iterdir()) == [tmp_path / "large"]
