"""Tables of images: CSV, TSV, JSON lines, Parquet; each broken one has its sentence with file and line."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.errors import LongtailError

MakeFolder = Callable[..., Path]

HEADING = "path,label,part"
ROWS = [
    ("a/000.png", "ant", "train"),
    ("a/001.png", "ant", "train"),
    ("b/000.png", "bee, wild", "train"),
    ("b/001.png", "bee, wild", "test"),
    ("a/002.png", "ant", "val"),
]


@pytest.fixture
def root(make_folder: MakeFolder) -> Path:
    return make_folder({"a": 6, "b": 6})


def written(path: Path, form: str, rows: Sequence[tuple[str, ...]] = ROWS) -> Path:
    path = path / f"table.{form}"
    names = HEADING.split(",")
    if form == "jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows))
    elif form == "parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)
    else:
        separator = {"csv": ",", "tsv": "\t"}[form]
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=separator).writerows([names, *rows])
    return path


def told(images: ImageSet) -> dict[str, list[tuple[str, str]]]:
    return {
        name: [(identity, images.classes[label]) for identity, label in zip(part.identities, part.labels, strict=True)]
        for name, part in images.parts.items()
    }


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_says_path_label_and_part(root: Path, form: str) -> None:
    images = open_images(written(root, form))
    assert images.name == "table"
    assert images.classes == ("ant", "bee, wild")
    assert told(images) == {
        "train": [("a/000.png", "ant"), ("a/001.png", "ant"), ("b/000.png", "bee, wild")],
        "validation": [("a/002.png", "ant")],
        "test": [("b/001.png", "bee, wild")],
    }
    for part in images.parts.values():
        for index in range(len(part)):
            part.pixels.open(index).close()
    assert any("a table of 5 images of 2 classes (train 3, validation 1, test 1)" in note for note in images.notes)
    assert any("images in 'path', labels in 'label', parts in 'part'" in note for note in images.notes)


def test_paths_may_be_relative_to_another_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    table = written(tmp_path / "elsewhere", "csv")
    assert told(open_images(table, {"image_root": root})) == told(open_images(written(root, "csv")))
    with pytest.raises(LongtailError, match=r"table.csv, line 2: there is no a/000.png under .*elsewhere"):
        open_images(table)


def test_without_parts_a_test_part_is_taken_out(root: Path) -> None:
    path = root / "all.csv"
    path.write_text("label;File_Name\n" + "".join(f"{c};{c}/00{i}.png\n" for c in "ab" for i in range(6)))
    images = open_images(path)
    assert images.counts.per_class == (5, 5)
    assert images.test is not None
    assert any("images in 'File_Name'" in note for note in images.notes)


def test_numbers_as_labels_stand_in_their_order(root: Path) -> None:
    path = root / "all.jsonl"
    rows = [{"image": f"{c}/00{i}.png", "label": n} for c, n in (("a", 10), ("b", 9)) for i in range(6)]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert open_images(path).classes == ("9", "10")


def test_odd_names_survive(root: Path) -> None:
    names = ["with space.png", "quo\"te's.PNG", "ünï ☃.png", "new\nline.png", "a,b;c.png", "-dash.png", " lead.png"]
    for name in names:
        shutil.copy(root / "a" / "000.png", root / name)
    path = written(root, "csv", [*((name, "odd", "train") for name in names), ("b/000.png", "b", "train")])
    path.write_text(path.read_text() + "b/001.png,b,test\n")
    images = open_images(path)
    assert images.train.identities[:-1] == tuple(names)
    assert not images.unreadable


def test_a_file_that_is_gone_is_unreadable_and_named(root: Path) -> None:
    images = open_images(written(root, "csv", [*ROWS, ("a/gone.png", "ant", "train")]))
    assert images.unreadable == {"a/gone.png": "no such file or directory"}


BROKEN = {
    "empty": ("", "table.csv has no column of the images .* only none at all"),
    "heading only": (HEADING, "table.csv has no rows; give one for each image"),
    "no image column": ("where,label\na,b\n", "has no column of the images .* only where, label; rename one"),
    "no label column": ("path,what\na,b\n", "has no column of their labels .* only path, what"),
    "two of a name": ("path,label,path\na,b,c\n", "several columns called path"),
    "too many cells": (f"{HEADING}\na/000.png,ant,train\na/001.png,ant,train,x\n", "table.csv, line 3 has 4 cells"),
    "open quote": (
        f'{HEADING}\na/000.png,ant,train\n"a/001.png,ant,train\n',
        "table.csv, line .* is no line of a table",
    ),
    "no label": (f"{HEADING}\na/000.png,,train\n", "table.csv, line 2 has no label"),
    "blank label": (f"{HEADING}\na/000.png,  ,train\n", "table.csv, line 2 has no label"),
    "no path": (f"{HEADING}\n,ant,train\n", "table.csv, line 2: '' is no path"),
    "unknown part": (f"{HEADING}\na/000.png,ant,trian\n", "table.csv, line 2: 'trian' is no part"),
    "twice": (
        f"{HEADING}\na/000.png,ant,train\n./a/000.png,bee,test\n",
        "line 3: a/000.png stands at .* line 2 already",
    ),
    "unknown label": (
        f"{HEADING}\na/000.png,ant,train\nb/000.png,bee,train\nb/001.png,wasp,test\n",
        "table.csv, line 4: the label 'wasp' of the test part is on no training image; training has 2 classes",
    ),
    "no training": (f"{HEADING}\na/000.png,ant,test\n", "table has no training images"),
    "one class": (f"{HEADING}\na/000.png,ant,train\na/001.png,ant,test\n", "a classifier needs at least two"),
    "absolute": (f"{HEADING}\n/etc/hostname,ant,train\n", "table.csv, line 2: /etc/hostname leads out of"),
    "row after a newline in quotes": (f'{HEADING}\n"a\nb.png",ant,train\n../x.png,b,train\n', "table.csv, line 4: "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_table_has_its_sentence_and_line(root: Path, case: str) -> None:
    text, sentence = BROKEN[case]
    (root / "table.csv").write_text(text)
    with pytest.raises(LongtailError, match=sentence) as caught:
        open_images(root / "table.csv")
    assert "\n" not in str(caught.value)


JSON_BROKEN = {
    "no json": ("{", "table.jsonl, line 1 is no JSON"),
    "no object": ('["a/000.png", "ant"]', "table.jsonl, line 1 is no JSON object with a path and a label"),
    "deep": ("[" * 100_000, "table.jsonl, line 1 is no JSON"),
    "label of no kind": ('{"path": "a/000.png", "label": null}', "line 1: 'label' is null; give a text"),
    "label is a truth": ('{"path": "a/000.png", "label": true}', "line 1: 'label' is true; give a text"),
    "half a character": ('{"path": "a/000.png", "label": "\\ud800"}', "line 1 holds .* which is no text"),
}


@pytest.mark.parametrize("case", JSON_BROKEN)
def test_broken_json_lines_have_their_sentence(root: Path, case: str) -> None:
    text, sentence = JSON_BROKEN[case]
    (root / "table.jsonl").write_text(text)
    with pytest.raises(LongtailError, match=sentence):
        open_images(root / "table.jsonl")


def test_a_file_of_no_known_form_is_told_the_forms(root: Path) -> None:
    (root / "notes.docx").write_bytes(b"x")
    with pytest.raises(LongtailError, match=r"is a file; give a folder .* or a file of these forms: .csv"):
        open_images(root / "notes.docx")


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((12, 10, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def parquet(path: Path, columns: dict[str, Any], names: list[str] | None = None) -> Path:
    """A Parquet file; with `names` as Hugging Face writes class labels."""
    arrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table(columns)
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_table(table, path, row_group_size=3)
    return path


@pytest.mark.parametrize("form", ["struct", "plain"])
def test_images_in_parquet_are_read_from_it(tmp_path: Path, form: str) -> None:
    pictures: list[Any] = [png(20 * value) for value in range(10)]
    if form == "struct":
        pictures = [{"bytes": content, "path": None} for content in pictures]
    labels = [value % 2 for value in range(10)]
    path = parquet(tmp_path / "set.parquet", {"image": pictures, "label": labels, "camera": ["x"] * 10}, ["cat", "dog"])
    images = open_images(path)
    assert images.classes == ("cat", "dog")
    assert (images.kind, images.size) == ("small", (12, 10))
    assert set(images.columns) == {"camera"}
    assert images.test is not None
    for part in images.parts.values():
        for index, identity in enumerate(part.identities):
            value = int(identity.removeprefix("set.parquet/")) - 1
            assert part.labels[index] == value % 2
            with part.pixels.open(index) as image:
                assert image.getpixel((0, 0)) == (20 * value,) * 3
            assert part.pixels.content(index) == png(20 * value)


def test_a_folder_of_parquet_files_has_its_parts_by_name(tmp_path: Path) -> None:
    for name, values in {
        "train-00000-of-00002": (0, 1),
        "train-00001-of-00002": (2, 3),
        "test-00000-of-00001": (4, 5),
    }.items():
        columns = {"image": [png(value) for value in values], "label": ["even", "odd"]}
        parquet(tmp_path / "hub" / "data" / f"{name}.parquet", columns)
    images = open_images(tmp_path / "hub")
    assert {name: len(part) for name, part in images.parts.items()} == {"train": 4, "test": 2}
    assert images.name == "hub"


def test_a_row_without_bytes_is_unreadable(tmp_path: Path) -> None:
    rows = [{"bytes": None, "path": "/etc/hostname"}, *({"bytes": png(value), "path": None} for value in range(11))]
    path = parquet(tmp_path / "set.parquet", {"image": rows, "label": ["a", "b"] * 6})
    images = open_images(path)
    assert images.unreadable == {"set.parquet/1": "no bytes in the table"}


def test_what_is_no_parquet_file_is_said(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "set.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(LongtailError, match=r"set.parquet is no Parquet file that can be read"):
        open_images(tmp_path / "set.parquet")


def test_a_table_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set.parquet").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LongtailError, match=r"needs pyarrow: pip install 'longtail\[tables\]'"):
        open_images(tmp_path / "set.parquet")
