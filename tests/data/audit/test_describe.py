"""A described data set: what training would see, and what it would stumble over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import longtail
from longtail.cli import cli
from longtail.errors import LongtailError
from longtail.exits import answer

MakeFolder = Callable[..., Path]


def test_the_embedded_digits() -> None:
    description = longtail.describe()
    assert description.counts.per_class == (139, 89, 58, 37, 24, 15, 10, 6, 4, 2)
    assert description.parts["train"] == description.counts.per_class
    assert sum(map(sum, description.parts.values())) == 1797
    assert "validation" not in description.parts
    assert description.looked == "pixels"
    assert not description.unreadable


def test_counts_of_every_part(make_folder: MakeFolder) -> None:
    folder = make_folder({"train/cat": 30, "train/dog": 4, "test/cat": 3, "test/dog": 2, "val/cat": 2, "val/dog": 1})
    description = longtail.describe(folder)
    assert description.classes == ("cat", "dog")
    assert description.parts == {"train": (30, 4), "validation": (2, 1), "test": (3, 2)}
    assert description.counts.ratio == 7.5


def test_shot_groups_follow_the_borders(make_folder: MakeFolder) -> None:
    folder = make_folder({"train/a": 9, "train/b": 5, "train/c": 2, "test/a": 1, "test/b": 1, "test/c": 1})
    description = longtail.describe(folder, shot_borders=(6, 3))
    assert description.groups == ("many", "medium", "few")
    assert longtail.describe(folder, shot_borders=longtail.ShotBorders(20, 10)).groups == ("few",) * 3


def test_unreadable_files_by_header_and_by_pixel(make_folder: MakeFolder) -> None:
    folder = make_folder({"train/cat": 6, "train/dog": 6, "test/cat": 1, "test/dog": 1})
    (folder / "train/cat/text.jpg").write_text("no image")
    cut = folder / "train/dog/001.png"
    cut.write_bytes(cut.read_bytes()[:-60])
    by_header = longtail.describe(folder)
    assert (by_header.looked, list(by_header.unreadable)) == ("headers", ["train/cat/text.jpg"])
    by_pixel = longtail.describe(folder, full=True)
    assert by_pixel.looked == "pixels"
    assert by_pixel.unreadable.keys() == {"train/cat/text.jpg", "train/dog/001.png"}
    assert "truncated" in by_pixel.unreadable["train/dog/001.png"]


def test_nothing_is_written(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = make_folder({"cat": 8, "dog": 5})
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    longtail.describe(folder, full=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not list(here.iterdir())


def test_json_says_the_same(make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder({"train/cat": 30, "train/dog": 4, "test/cat": 3, "test/dog": 2})
    (folder / "train/cat/text.jpg").write_text("no image")
    assert answer(cli, ["describe", str(folder), "--json", "--shot-borders", "10,5"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(json.dumps(longtail.describe(folder, shot_borders=(10, 5)).as_dict()))
    assert told["images"] == {"train": 35, "test": 5}
    assert told["classes"][1] == {"class": "dog", "group": "few", "train": 4, "test": 2}
    assert told["imbalance_ratio"] == 31 / 4
    assert told["groups"] == {"many": 1, "medium": 0, "few": 1}
    assert told["unreadable"] == {"train/cat/text.jpg": "not an image"}


def test_words_and_picture(make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder({"train/cat": 30, "train/dog": 4, "test/cat": 3, "test/dog": 2})
    (folder / "train/cat/text.jpg").write_text("no image")
    assert answer(cli, ["describe", str(folder)]) == 2
    out = capsys.readouterr().out
    for words in ("2 classes", "35 training, 5 test images", "imbalance ratio 7.75", "cat █", "1 unreadable file"):
        assert words in out
    assert "train/cat/text.jpg: not an image" in out


def test_what_training_could_not_use_is_told(make_folder: MakeFolder, tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match="nowhere"):
        longtail.describe(tmp_path / "nowhere")
    with pytest.raises(LongtailError, match="few 9 and many 3"):
        longtail.describe(make_folder({"cat": 8, "dog": 5}), shot_borders=(3, 9))
