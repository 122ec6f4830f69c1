"""The sets of the papers: their counts, their lists, and what is said where a list is not theirs."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from longtail.data.open import open_images
from longtail.data.sources.catalogue import Entry
from longtail.data.sources.inside import Inside
from longtail.data.sources.lists import names_of_folders, read_list
from longtail.data.sources.published import IMAGENET_LT, INATURALIST_2018, PLACES_LT, Published, read_lists
from longtail.data.splits.imbalance import PROFILES, SELECTIONS, Cut, exponential
from longtail.errors import LongtailError
from longtail.options import PROFILE, SELECTION

MakeFolder = Callable[..., Path]

TOTALS = {
    (5000, 10): {10: 20_431, 50: 13_996, 100: 12_406, 200: 11_203},
    (500, 100): {10: 19_573, 50: 12_608, 100: 10_847, 200: 9_502},
}
"""Images of CIFAR-10-LT and CIFAR-100-LT by ratio, as the papers' tables give them."""


@pytest.mark.parametrize(("size", "ratio"), [(size, ratio) for size, ratios in TOTALS.items() for ratio in ratios])
def test_totals_are_those_of_the_papers(size: tuple[int, int], ratio: int) -> None:
    largest, classes = size
    labels = np.repeat(np.arange(classes), largest)
    names = [str(index) for index in range(classes)]
    chosen = Cut(ratio).indices(labels, names)
    assert len(chosen) == TOTALS[size][ratio]
    counts = np.bincount(labels[chosen])
    assert (counts[0], counts[-1]) == (largest, largest // ratio)


def test_selections_take_what_the_codes_take() -> None:
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(4), 50))
    wanted = exponential(50, 4, 10)
    for name, seed in {"ldam-drw": 0, "kps": 666}.items():
        np.random.seed(seed)  # noqa: NPY002  (what the published code does)
        expected: list[int] = []
        for label, count in enumerate(wanted):
            indices = np.where(labels == label)[0]
            np.random.shuffle(indices)  # noqa: NPY002
            expected.extend(indices[:count])
        np.testing.assert_array_equal(Cut(10, selection=name).indices(labels, "abcd"), expected)
    first = [index for label, count in enumerate(wanted) for index in np.flatnonzero(labels == label)[:count]]
    np.testing.assert_array_equal(Cut(10, selection="shike").indices(labels, "abcd"), first)


def test_the_command_line_knows_every_profile_and_selection() -> None:
    for option, known in ((PROFILE, PROFILES), (SELECTION, SELECTIONS)):
        (parameter,) = click.command(option(lambda: None)).params
        assert isinstance(parameter.type, click.Choice)
        assert list(parameter.type.choices) == list(known)


def test_what_cannot_be_cut_is_said() -> None:
    with pytest.raises(LongtailError, match="--profile says how data are cut down; give --imbalance"):
        open_images("cifar10", {"profile": "step"})
    with pytest.raises(LongtailError, match="Unknown selection 'seed1'"):
        Cut(10, selection="seed1")
    assert open_images(None, {"profile": "step"}).counts.per_class == (139,) * 5 + (2,) * 5


SAMPLE = """train/airfield/00004851.jpg 0
train/airfield/00004596.jpg 0
train/airfield/00001417.jpg 0
train/airplane_cabin/00000012.jpg 1
"""


@pytest.fixture
def tiny(tmp_path: Path, make_folder: MakeFolder) -> Published:
    """Two classes in the form of Places-LT, with images, lists and the published numbers to match."""
    content = {"train/b": 4, "train/a": 2, "val/b": 2, "val/a": 2}
    make_folder(content, tmp_path / "tiny")
    for part, lines in {"train": ("train/b", "train/a"), "test": ("val/b", "val/a")}.items():
        rows = [
            f"{folder}/{index:03}.png {label}\n"
            for label, folder in enumerate(lines)
            for index in range(content[folder])
        ]
        (tmp_path / "tiny" / f"tiny_{part}.txt").write_text("".join(rows))
    lists = {"train": ("tiny_train.json", "tiny_train.txt"), "test": ("tiny_test.txt",)}
    return Published("tiny", lists, {"train": 6, "test": 4}, classes=2, largest=4, smallest=2)


@pytest.fixture
def places(tiny: Published, monkeypatch: pytest.MonkeyPatch) -> Published:
    monkeypatch.setattr("longtail.data.sources.published.PLACES_LT", replace(tiny, name="places-lt"))
    return tiny


def test_a_published_set_opens_from_its_lists(places: Published, tmp_path: Path) -> None:
    images = open_images("places-lt", {"image_root": tmp_path / "tiny"})
    assert images.classes == ("b", "a")  # in the order of the numbers, by the names of the folders
    assert images.counts.per_class == (4, 2)
    assert images.test is not None
    assert images.test.identities == ("val/b/000.png", "val/b/001.png", "val/a/000.png", "val/a/001.png")
    assert (images.kind, images.size) == ("small", (16, 20))
    for index in range(len(images.train)):
        images.train.pixels.open(index).close()
    assert any("places-lt, 2 classes (train 6, test 4)" in note for note in images.notes)


def test_lists_may_lie_apart_from_the_images(places: Published, tmp_path: Path) -> None:
    home = tmp_path / "data" / "places-lt"
    home.mkdir(parents=True)
    for path in (tmp_path / "tiny").glob("*.txt"):
        path.rename(home / path.name)
    images = open_images("places-lt", {"image_root": tmp_path / "tiny", "data_root": tmp_path / "data"})
    assert len(images.train) == 6
    with pytest.raises(LongtailError, match="name the folder that they are in with --image-root"):
        open_images("places-lt", {"data_root": tmp_path / "data"})


def test_inaturalists_json_is_a_list(places: Published, tmp_path: Path) -> None:
    rows = read_list(tmp_path / "tiny" / "tiny_train.txt", "train", Inside(tmp_path / "tiny"))
    content: dict[str, list[dict[str, Any]]] = {
        "images": [{"id": 10 + index, "file_name": row.image} for index, row in enumerate(rows)],
        "annotations": [
            {"id": 0, "image_id": 10 + index, "category_id": int(row.label)} for index, row in enumerate(rows)
        ],
        "categories": [{"id": 0, "name": "b"}],
    }
    path = tmp_path / "tiny" / "tiny_train.json"
    path.write_text(json.dumps(content))
    images = open_images("places-lt", {"image_root": tmp_path / "tiny"})
    assert images.train.identities == tuple(row.image for row in rows)
    for broken, sentence in {
        "[]": "is no list of images in iNaturalist's form",
        "{": "is no list of images in iNaturalist's form",
        json.dumps({**content, "annotations": content["annotations"][1:]}): "has 1 images without an annotation",
        json.dumps({**content, "images": content["images"][1:]}): "annotation 1: there is no image 10",
    }.items():
        path.write_text(broken)
        with pytest.raises(LongtailError, match=sentence):
            open_images("places-lt", {"image_root": tmp_path / "tiny"})


BROKEN = {
    "shorter": (SAMPLE, r"tiny_train.txt has 4 images, not the published 6"),
    "empty": ("\n\n", "tiny_train.txt lists no image"),
    "no label": ("train/b/000.png\n", r"tiny_train.txt, line 1: a line is a path and a label"),
    "climbing": ("train/b/000.png 0\n../secret.png 1\n", r"tiny_train.txt, line 2: ../secret.png leads out of"),
    "other labels": (
        "".join(f"train/b/00{index}.png {index}\n" for index in range(6)),
        "has labels 0 to 1, but its training list has '2'",
    ),
    "other counts": (
        "".join(f"train/b/00{index}.png {index % 2}\n" for index in range(6)),
        "has 3 to 3 images a class, not the published 4 to 2",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_list_that_is_not_the_published_one_is_refused(places: Published, tmp_path: Path, case: str) -> None:
    text, sentence = BROKEN[case]
    (tmp_path / "tiny" / "tiny_train.txt").write_text(text)
    with pytest.raises(LongtailError, match=sentence) as caught:
        open_images("places-lt", {"image_root": tmp_path / "tiny"})
    assert "\n" not in str(caught.value)


def test_a_missing_list_and_a_ratio_are_said(places: Published, tmp_path: Path) -> None:
    (tmp_path / "tiny" / "tiny_test.txt").unlink()
    with pytest.raises(LongtailError, match=r"needs its public list tiny_test.txt, which is neither in"):
        open_images("places-lt", {"image_root": tmp_path / "tiny"})
    with pytest.raises(LongtailError, match="is long-tailed already; leave --imbalance away"):
        open_images("places-lt", {"image_root": tmp_path / "tiny", "imbalance": 10})


def test_lines_of_the_public_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "Places_LT_train.txt"
    path.write_text("\ufeff" + SAMPLE.replace("\n", "\r\n"), encoding="utf-8")
    rows = read_list(path, "train", Inside(tmp_path))
    assert [row.label for row in rows] == ["0", "0", "0", "1"]
    assert rows[3].where == "Places_LT_train.txt, line 4"
    assert names_of_folders(rows) == {"0": "airfield", "1": "airplane_cabin"}
    shared = [Entry("train/x/1.jpg", "0", "train", "", 1), Entry("train/x/2.jpg", "1", "train", "", 2)]
    assert names_of_folders(shared) == {"0": "0", "1": "1"}


SPLITS = Path(__file__).parents[4] / "shared" / "splits" / "lt-splits.tar.xz"


@pytest.mark.skipif(not SPLITS.exists(), reason="the public list files are not at ../shared/splits")
def test_the_real_lists_have_the_published_sizes(tmp_path: Path) -> None:
    with tarfile.open(SPLITS) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            assert content is not None
            (tmp_path / Path(member.name).name).write_bytes(content.read())
    inside = Inside(tmp_path)
    places = read_lists(PLACES_LT, tmp_path, (tmp_path,))
    counts = Counter(row.label for row in places if row.part == "train")
    assert (len(counts), counts.total(), max(counts.values()), min(counts.values())) == (365, 62_500, 4980, 5)
    assert Counter(row.part for row in places) == {"train": 62_500, "validation": 7_300, "test": 36_500}
    names = names_of_folders(places)
    assert (names["0"], len(set(names.values()))) == ("airfield", 365)
    for published, part in ((IMAGENET_LT, "validation"), (IMAGENET_LT, "test"), (INATURALIST_2018, "test")):
        (name,) = (name for name in published.lists[part] if (tmp_path / name).exists())
        rows = read_list(tmp_path / name, part, inside)
        assert len(rows) == published.images[part]
        assert len({row.label for row in rows}) == published.classes
