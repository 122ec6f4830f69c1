"""Splits that do not lie: no group on two sides, whatever the groups; and splits as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

import longtail
from longtail.data.open import open_images
from longtail.data.parts import ImageSet, Part
from longtail.data.pixels import InMemory
from longtail.data.splits.dividing import divided
from longtail.data.splits.groups import groups_file, groups_of
from longtail.data.splits.splitting import MEASURABLE, split
from longtail.errors import LongtailError
from longtail.watching import Watcher

MakeFolder = Callable[..., Path]
FRACTIONS = st.sampled_from([0.1, 0.2, 0.3, 0.5])


def part_of(labels: list[int], start: int = 0) -> Part:
    names = tuple(f"{start + index}" for index in range(len(labels)))
    return Part(np.array(labels, dtype=np.int64), names, InMemory(torch.zeros(len(labels), 3, 1, 1, dtype=torch.uint8)))


def sides(images: ImageSet, groups: Mapping[str, str]) -> list[set[str]]:
    return [{groups.get(each, f"alone {each}") for each in part.identities} for part in images.parts.values()]


LABELS_AND_GROUPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=2, max_size=90)


@settings(max_examples=200, deadline=None)
@given(
    rows=LABELS_AND_GROUPS,
    given_test=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), max_size=8),
    val=FRACTIONS,
)
def test_no_group_is_on_two_sides(rows: list[tuple[int, int]], given_test: list[tuple[int, int]], val: float) -> None:
    """Over generated sets with groups across classes, with and without a test part that was given."""
    classes = sorted({label for label, _ in rows})
    train = part_of([classes.index(label) for label, _ in rows])
    tested = [(label, group) for label, group in given_test if label in classes]
    test = part_of([classes.index(label) for label, _ in tested], 1000) if tested else None
    groups = {f"{index}": f"g{group}" for index, (_, group) in enumerate(rows) if group}
    groups |= {f"{1000 + index}": f"g{group}" for index, (_, group) in enumerate(tested) if group}
    names = tuple(f"class {label}" for label in classes)
    try:
        images = ImageSet("set", "small", names, train, None, test, columns={"burst": groups})
        images = divided(images, {"group_by": "burst", "val": val}, Watcher(), is_cut=True)
    except LongtailError:
        return
    seen = sides(images, groups)
    assert sum(map(len, seen)) == len(set.union(*seen))
    assert images.counts.smallest >= 1
    lost = len(rows) + len(tested) - sum(map(len, images.parts.values()))
    assert lost == 0 or any("Left out of" in note for note in images.notes)


@settings(max_examples=200, deadline=None)
@given(rows=LABELS_AND_GROUPS, fraction=FRACTIONS)
def test_a_class_of_one_group_stays_and_others_are_measured_if_they_can_be(
    rows: list[tuple[int, int]], fraction: float
) -> None:
    labels = np.array([label for label, _ in rows], dtype=np.int64)
    own = np.array([13 * label + group for label, group in rows], dtype=np.int64)  # groups within classes
    _, taken = split(labels, [str(index) for index in range(len(rows))], fraction, "test", own)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        tested = np.intersect1d(members, taken)
        if len(np.unique(own[members])) == 1:
            assert not len(tested)
        elif len(members) >= MEASURABLE:
            assert 0 < len(tested) < len(members)


def test_groups_of_one_image_are_the_plain_split() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 200)
    names = [str(index) for index in range(200)]
    _, plain = split(labels, names, 0.2, "test")
    _, grouped = split(labels, names, 0.2, "test", np.random.default_rng(1).permutation(200))
    np.testing.assert_array_equal(plain, grouped)


def test_folders_are_groups(make_folder: MakeFolder) -> None:
    root = make_folder({f"cat/patient {index}": 4 for index in range(5)} | {"dog/only": 8, "bird": 9})
    images = open_images(root, {"group_by": "folder"})
    assert images.test is not None
    folders = [{each.rpartition("/")[0] for each in part.identities} for part in (images.train, images.test)]
    assert not folders[0] & folders[1]
    assert len(folders[1]) == 1
    text = "\n".join(images.notes)
    assert "Groups by folder: 7 groups, none in two parts" in text
    assert "Not measured, since all of their images are one group: bird, dog" in text


def test_a_column_groups_and_an_unknown_one_is_named(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 12, "b": 12})
    rows = [f"{label}/{index:03}.png,{label},patient {index // 3}\n" for label in "ab" for index in range(12)]
    (root / "table.csv").write_text("path,label,patient\n" + "".join(rows))
    images = open_images(root / "table.csv", {"group_by": "patient", "val": 0.3})
    patients = [{images.columns["patient"][each] for each in part.identities} for part in images.parts.values()]
    assert [len(part) for part in patients] == [2, 1, 1]
    assert len(set.union(*patients)) == 4
    with pytest.raises(LongtailError, match="Unknown column, file or rule to group by 'patent'; did you mean patient"):
        open_images(root / "table.csv", {"group_by": "patent"})


def bursts(root: Path, frames: int = 6) -> Path:
    """Pictures in bursts: frames of one burst differ by a little noise."""
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for burst in range(6):
            coarse = Image.fromarray(draw.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            scene = np.asarray(coarse.resize((48, 48), Image.Resampling.BICUBIC)).astype(int)
            for frame in range(frames):
                noisy = np.clip(scene + draw.integers(-4, 5, scene.shape), 0, 255).astype(np.uint8)
                Image.fromarray(noisy).save(root / name / f"{draw.integers(1 << 40):x}-{burst}-{frame}.png")
    return root


def test_near_duplicates_are_groups_and_may_be_kept_in_a_file(tmp_path: Path) -> None:
    root = bursts(tmp_path / "photos")
    images = open_images(root, {"group_by": "near-duplicate"})
    scenes = [{each.split("/")[0] + each.split("-")[1] for each in part.identities} for part in images.parts.values()]
    assert not scenes[0] & scenes[1]
    plain = open_images(root)
    groups = groups_of(plain, "near-duplicate", Watcher())
    assert len(groups) == 72
    (tmp_path / "groups.csv").write_text(groups_file(groups))
    again = open_images(root, {"group_by": str(tmp_path / "groups.csv")})
    assert again.fingerprint() == images.fingerprint() != plain.fingerprint()
    (tmp_path / "groups.csv").write_text("group,identity\n1,cat/a.png\n2,cat/a.png\n")
    with pytest.raises(LongtailError, match=r"groups.csv, line 3: cat/a.png is in group '1' already"):
        open_images(root, {"group_by": str(tmp_path / "groups.csv")})


def test_training_images_that_show_a_given_test_image_are_left_out(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"train/a": 6, "train/b": 6, "test/a": 3, "val/b": 3})
    rows = ["group,identity", "1,train/a/000.png", "1,test/a/001.png", "2,val/b/000.png", "2,train/b/003.png"]
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    images = open_images(root, {"group_by": str(tmp_path / "groups.csv")})
    assert images.counts.per_class == (5, 5)
    assert images.test is not None
    assert len(images.test) == 3
    text = "\n".join(images.notes)
    assert (
        "Left out of training, since a later part has images of their group: 2 images (train/a/000.png, train/b" in text
    )
    rows += [f"1,train/a/{index:03}.png" for index in range(1, 6)]
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    with pytest.raises(LongtailError, match="All training images of class a share a group"):
        open_images(root, {"group_by": str(tmp_path / "groups.csv")})


def test_a_split_is_given_back(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 14, "b": 9})
    run = longtail.train(
        root, recipe="ce", epochs=1, val=0.2, out=tmp_path / "run", backbone="resnet32", weights="none", image_size=8
    )
    file = tmp_path / "run" / "split.csv"
    again = open_images(root, {"split": file})
    assert again.fingerprint() == run.folder.config["data"]["fingerprint"]
    rows = run.folder.split
    assert list(again.train.identities) == [row["identity"] for row in rows if row["part"] == "train"]
    file.write_text("part,identity\ntrain,a/000.png\ntrain,b/000.png\ntest,a/001.png\n")
    images = open_images(root, {"split": file})
    assert images.validation is None
    assert "Left out, not named by the split: 20 images" in "\n".join(images.notes)
    for index, name in enumerate(("a/000.png", "b/000.png")):
        with images.train.pixels.open(index) as one, Image.open(root / name) as other:
            assert one.tobytes() == other.tobytes()


def test_a_split_of_a_named_set_is_given_back(tmp_path: Path) -> None:
    images = open_images(None, {"val": 0.2})
    rows = [f"{name},{identity}\n" for name, part in images.parts.items() for identity in part.identities]
    (tmp_path / "split.csv").write_text("part,identity\n" + "".join(rows))
    again = open_images("digits", {"split": tmp_path / "split.csv"})
    assert again.fingerprint() == images.fingerprint()
    assert isinstance(again.train.pixels, InMemory)
    assert again.size == (8, 8)


BROKEN = {
    "no part": ("identity\na/000.png\n", "split.csv has no column of parts"),
    "no identity": ("part,x\ntrain,a/000.png\n", "split.csv has no column of images"),
    "unknown part": ("part,identity\ntrian,a/000.png\n", "split.csv, line 2: 'trian' is no part"),
    "twice": ("part,identity\ntrain,a/000.png\ntest,a/000.png\n", "line 3: a/000.png stands in line 2 already"),
    "missing": ("part,identity\ntrain,a/000.png\ntest,a/gone.png\n", "names 1 image that photos has not: a/gone.png"),
    "another class": (
        "part,class,identity\ntrain,b,a/000.png\n",
        "line 2: a/000.png is of class 'b' there, but of 'a'",
    ),
    "no training": ("part,identity\ntest,a/000.png\n", "has no image of the part train"),
    "a class without training": ("part,identity\ntrain,a/000.png\n", "No readable training image in class b"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_split_has_its_sentence(make_folder: MakeFolder, tmp_path: Path, case: str) -> None:
    text, sentence = BROKEN[case]
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(LongtailError, match=sentence):
        open_images(make_folder({"a": 6, "b": 6}), {"split": tmp_path / "split.csv"})


def test_what_a_split_settles_cannot_be_asked_for(make_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("part,identity\n")
    with pytest.raises(LongtailError, match="leave --imbalance and --val away"):
        open_images(make_folder({"a": 6, "b": 6}), {"split": tmp_path / "split.csv", "imbalance": 2, "val": 0.2})
    with pytest.raises(LongtailError, match=r"absent.csv cannot be read: No such file"):
        open_images(make_folder({}), {"split": tmp_path / "absent.csv"})


def test_a_background_class_has_rates_of_its_own(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"empty": 30, "fox": 12, "lynx": 6})
    with pytest.raises(LongtailError, match="Unknown class 'emty'; did you mean empty"):
        open_images(root, {"background": "emty"})
    run = longtail.train(
        root,
        recipe="ce",
        epochs=1,
        background="empty",
        out=tmp_path / "run",
        backbone="resnet32",
        weights="none",
        image_size=8,
    )
    assert run.metrics is not None
    predictions = run.folder.predictions
    assert predictions is not None
    predicted, labels = predictions.logits.argmax(axis=1), predictions.labels
    empty = labels == 0
    assert run.metrics["background"] == {
        "class": "empty",
        "images": int(empty.sum()),
        "false_alarm_rate": pytest.approx((predicted[empty] != 0).mean()),
        "miss_rate": pytest.approx((predicted[~empty] == 0).mean()),
    }
    assert run.metrics["accuracy"] == pytest.approx((predicted == labels)[~empty].mean())
    shares = [(predicted == labels)[labels == label].mean() for label in (1, 2)]
    assert run.metrics["balanced_accuracy"] == pytest.approx(np.mean(shares))
    assert json.loads((run.path / "config.json").read_text())["data"]["background"] == "empty"
    page = (run.path / "report.html").read_text()
    assert "False alarms" in page
    assert "Images of empty, the background, are in the last two columns alone." in page
