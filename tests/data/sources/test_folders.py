"""The user's own folders: what counts, what is left out and said, and a sentence for every folder that cannot be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import numpy as np
import pytest
from PIL import Image

from longtail.data.asked import Reading
from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.data.pixels import Files
from longtail.errors import LongtailError

MakeFolder = Callable[..., Path]


def opened(folder: Path | str, **reading: Unpack[Reading]) -> ImageSet:
    return open_images(folder, reading)


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything beneath, with size and time of change."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in [folder, *sorted(folder.rglob("*"))]
    }


def test_class_folders_are_split_and_every_image_is_accounted_for(make_folder: MakeFolder) -> None:
    root = make_folder({"dog": 10, "cat": 23, "ant": 3})
    before = state_of(root)
    images = opened(root)
    assert images.classes == ("ant", "cat", "dog")
    assert images.name == "photos"
    assert images.counts.per_class == (3, 19, 8)
    assert images.counts_before_split is not None
    assert images.counts_before_split.per_class == (3, 23, 10)
    assert images.test is not None
    assert images.validation is None
    everything = [*images.train.identities, *images.test.identities]
    assert sorted(everything) == sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    for part in images.parts.values():
        assert [images.classes[label] for label in part.labels] == [name.split("/")[0] for name in part.identities]
    text = "\n".join(images.notes)
    assert "3, 23, 10 before, 3, 19, 8 after" in text
    assert "Not measured, since they have fewer than 5 images: ant" in text
    assert state_of(root) == before


def test_parts_beneath_are_taken_as_they_are(make_folder: MakeFolder) -> None:
    root = make_folder({"Train/a": 4, "Train/b": 2, "test/b": 3, "valid/a": 1, "extra/c": 2})
    images = opened(root)
    assert images.counts.per_class == (4, 2)
    assert images.counts_before_split is None
    assert images.test is not None
    assert images.test.labels.tolist() == [1, 1, 1]
    assert images.validation is not None
    assert images.validation.identities == ("valid/a/000.png",)
    assert "Left out, beside the folders of the parts: extra" in images.notes


def test_train_among_other_folders_is_a_class(make_folder: MakeFolder) -> None:
    assert opened(make_folder({"train": 6, "bus": 6, "tram": 6})).classes == ("bus", "train", "tram")


def test_train_without_test_is_split(make_folder: MakeFolder) -> None:
    images = opened(make_folder({"train/a": 10, "train/b": 5, "val/a": 2}))
    assert images.counts.per_class == (8, 4)
    assert images.validation is not None
    assert len(images.validation) == 2
    assert opened(make_folder({}), val=0).validation is None


def test_nested_folders_hidden_files_and_loose_images(make_folder: MakeFolder) -> None:
    root = make_folder(
        {
            "cat/siam/old": ["1.JPG"],
            "cat": ["2.png", "3.Tiff"],
            "dog": 5,
            "__MACOSX/cat": 1,
            ".cache/x": 1,
            "": ["a.png"],
        }
    )
    (root / "cat" / ".DS_Store").write_bytes(b"x")
    (root / "cat" / "notes.txt").write_text("x")
    (root / "cat" / "new.heic").write_bytes(b"x")
    images = opened(root)
    every = [*images.train.identities, *(images.test.identities if images.test else ())]
    assert sorted(every)[:3] == ["cat/2.png", "cat/3.Tiff", "cat/siam/old/1.JPG"]
    assert len(every) == 8
    text = "\n".join(images.notes)
    assert "Left out, in no class folder: 1 image (a.png)" in text
    assert "Left out, no images by their suffix: 2 files (.heic 1, .txt 1)" in text


@pytest.mark.parametrize("name", ["with space", "quo'te\"s", "ünï ☃", "new\nline", "-dash", "a&b;c", "c:d"])
def test_odd_names_survive(make_folder: MakeFolder, name: str) -> None:
    images = opened(make_folder({name: [f"{name}.png", *(f"{i}.png" for i in range(6))], "other": 5}))
    assert name in images.classes
    parts = images.parts.values()
    assert f"{name}/{name}.png" in [identity for part in parts for identity in part.identities]
    for part in parts:
        for index in range(len(part)):
            with part.pixels.open(index) as image:
                assert image.size == (20, 16)


def test_names_that_are_no_text_are_escaped_and_still_open(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 5, "b": 5})
    source = os.fsencode(root / "a" / "000.png")
    shutil.copy(source, os.fsencode(root / "a") + b"/\xff\xfe.png")
    images = opened(root)
    found = [
        (part, index) for part in images.parts.values() for index, name in enumerate(part.identities) if "xff" in name
    ]
    ((part, index),) = found
    assert part.identities[index] == r"a/\xff\xfe.png"
    part.identities[index].encode()
    part.pixels.open(index).close()
    images.fingerprint()


def test_kind_follows_from_the_headers(make_folder: MakeFolder, tmp_path: Path) -> None:
    assert (opened(make_folder({"a": 5, "b": 5})).kind, opened(make_folder({})).size) == ("small", (16, 20))
    large = make_folder({"a": 5, "b": 5}, tmp_path / "large", (65, 20))
    assert opened(large).kind == "photographs"
    mixed = make_folder({"a": 5, "b": 5}, tmp_path / "mixed")
    make_folder({"a": ["z.png"]}, mixed, (21, 16))
    assert (opened(mixed).kind, opened(mixed).size) == ("photographs", None)


def test_headers_find_what_is_no_image(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 8, "b": 8})
    (root / "a" / "text.jpg").write_text("no image")
    (root / "b" / "empty.png").write_bytes(b"")
    images = opened(root)
    assert images.unreadable == {"a/text.jpg": "not an image", "b/empty.png": "empty file"}
    assert images.kind == "small"
    left = images.without(images.unreadable)
    assert sum(map(len, left.parts.values())) == 16
    assert not left.unreadable
    assert "Left out, unreadable: a/text.jpg (not an image)" in left.notes


def test_threads_read_the_same_headers(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"a": 30, "b": 30})
    for name in ("a/003.png", "b/017.png"):
        (root / name).write_text("no image")
    expected = opened(root)
    monkeypatch.setattr("longtail.data.images.headers._BLOCK", 4)
    monkeypatch.setattr("longtail.data.images.headers._WAITING", 0)
    threaded = opened(root)
    assert threaded.unreadable == expected.unreadable == {"a/003.png": "not an image", "b/017.png": "not an image"}
    assert threaded.size == expected.size == (16, 20)


def test_dropping_the_last_training_image_of_a_class_is_an_error(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 8, "b": 1})
    (root / "b" / "000.png").write_text("no image")
    images = opened(root)
    with pytest.raises(LongtailError, match="No readable training image in class b of photos"):
        images.without(images.unreadable)


def test_imbalance_on_a_folder(make_folder: MakeFolder) -> None:
    images = opened(make_folder({"a": 20, "b": 20, "c": 20}), imbalance=16)
    assert images.counts.per_class == (16, 4, 1)
    assert images.test is not None
    assert np.bincount(images.test.labels).tolist() == [4, 4, 4]
    with pytest.raises(LongtailError, match="16 is the most"):
        opened(make_folder({}), imbalance=17)
    uneven = make_folder({"a": 20, "b": 3}, make_folder({}).parent / "uneven")
    with pytest.raises(LongtailError, match="Class b has 3 training images, but imbalance ratio 2 asks 8 of it"):
        opened(uneven, imbalance=2)


def test_validation_as_fraction_folder_or_none(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 20, "b": 20})
    assert opened(root).validation is None
    share = opened(root, val=0.25)
    assert share.validation is not None
    assert (len(share.train), len(share.validation)) == (24, 8)
    own = make_folder({"a": 2}, tmp_path / "own")
    given = opened(root, val=own)
    assert given.validation is not None
    assert given.validation.identities == ("validation/a/000.png", "validation/a/001.png")
    assert isinstance(given.validation.pixels, Files)
    given.validation.pixels.open(1).close()
    assert len(given.train) == 32
    with pytest.raises(LongtailError, match="at least 0 and below 1"):
        opened(root, val=1.5)
    with pytest.raises(LongtailError, match="There is no folder"):
        opened(root, val=tmp_path / "none")
    with pytest.raises(LongtailError, match="has classes that the training part has not: zebra"):
        opened(root, val=make_folder({"zebra": 1}, own))
    with_folder = make_folder({"train/a": 5, "train/b": 5, "test/a": 1, "val/a": 1}, tmp_path / "three")
    with pytest.raises(LongtailError, match="has a validation folder; leave --val away"):
        opened(with_folder, val=0.1)


BAD = {
    "empty": ({"": 0}, "holds no images"),
    "loose images only": ({"": 3}, "holds 3 images but no class folders"),
    "one class": ({"cat": 3}, "has one class folder only, cat; a classifier needs at least two"),
    "classes one level down": (
        {"images/cat": 3, "images/dog": 3},
        "if its folders cat, dog are the classes, give .*images",
    ),
    "class without images": ({"cat": 3, "dog": 0}, "No images in the class folders dog"),
    "unknown test label": ({"train/a": 3, "train/b": 3, "test/zebra": 1}, "training part has not: zebra"),
    "unknown validation label": ({"train/a": 3, "train/b": 3, "val/z": 1, "test/a": 1}, "training part has not: z"),
    "no train": ({"test/a": 3, "val/b": 3}, "has test/ and val/ but no train/ beside it"),
    "two validations": ({"train/a": 1, "val/a": 1, "valid/a": 1}, "both val/ and valid/"),
    "empty validation": ({"train/a": 3, "train/b": 3, "val": 0, "test/a": 1}, "val holds no images; put the images"),
    "test images without classes": (
        {"train/a": 3, "train/b": 3, "test": 2},
        "test holds 2 images but no class folders; put the images .*, or move test/ away",
    ),
    "nothing to test on": ({"a": 4, "b": 2}, "No class of photos has the 5 images"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_folder_that_cannot_be_has_a_sentence(make_folder: MakeFolder, case: str) -> None:
    content, message = BAD[case]
    root = make_folder(content)
    with pytest.raises(LongtailError, match=message) as caught:
        opened(root)
    assert "\n" not in str(caught.value)
    assert "photos" in str(caught.value)


def test_the_working_folder_itself(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"train/a": 5, "train/b": 5, "test/a": 1})
    expected = opened(root)
    monkeypatch.chdir(root)
    for here in (".", Path(), "../photos"):
        images = opened(here)
        assert images.name == "photos"
        assert images.fingerprint() == expected.fingerprint()


def test_what_is_no_folder_has_a_sentence(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "image.png")
    with pytest.raises(LongtailError, match="is a file; give a folder"):
        opened(tmp_path / "image.png")
    with pytest.raises(LongtailError, match="There is no folder"):
        opened(tmp_path / "absent")
    with pytest.raises(LongtailError, match="Unknown folder or data set 'cifar11'; did you mean cifar1"):
        opened("cifar11")


def test_links_inside_are_followed_and_links_outside_refused(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 5, "b": 5})
    (root / "a" / "link.png").symlink_to(root / "b" / "000.png")
    assert sum(map(len, opened(root).parts.values())) == 11
    outside = tmp_path / "secret.png"
    Image.new("RGB", (20, 16)).save(outside)
    for link, target in {
        root / "a" / "out.png": outside,
        root / "c": tmp_path,
        root / "a" / "up": root,
        root / "a" / "dangling.png": tmp_path / "nothing.png",
    }.items():
        link.symlink_to(target)
        with pytest.raises(LongtailError, match="is a link that leads"):
            opened(root)
        link.unlink()


def test_a_link_to_nothing_is_named_as_unreadable(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 5, "b": 5})
    (root / "a" / "gone.png").symlink_to(root / "a" / "nothing.png")
    assert opened(root).unreadable == {"a/gone.png": "no such file or directory"}


def test_fingerprint_knows_the_split_and_not_the_place(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 12, "b": 6})
    first = opened(root)
    copy = tmp_path / "elsewhere" / "photos"
    shutil.copytree(root, copy)
    assert opened(copy).fingerprint() == first.fingerprint()
    others = [opened(root, val=0.2), opened(root, imbalance=5)]
    (copy / "a" / "000.png").write_bytes((copy / "a" / "000.png").read_bytes() + b" ")
    others.append(opened(copy))
    (copy / "a" / "000.png").rename(copy / "b" / "new.png")
    others.append(opened(copy))
    assert len({first.fingerprint(), *(images.fingerprint() for images in others)}) == 5
