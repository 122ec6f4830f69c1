"""Image sets of Hugging Face's `datasets`, saved and built; the network is never asked unless a hub set is named."""

from __future__ import annotations

import importlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.errors import LongtailError

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _nothing_is_fetched_or_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    yield
    assert not cache.exists()


def picture(value: int) -> Image.Image:
    return Image.fromarray(np.full((12, 10, 3), value, np.uint8))


def rows(start: int, count: int, label: str = "label") -> Any:
    """Grey images whose level says their number; the class is whether it is odd."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            label: datasets.ClassLabel(names=["even", "odd"]),
            "camera": datasets.Value("string"),
        }
    )
    numbers = range(start, start + count)
    content = {
        "image": [picture(number) for number in numbers],
        label: [number % 2 for number in numbers],
        "camera": [f"camera {number // 4}" for number in numbers],
    }
    return datasets.Dataset.from_dict(content, features=features)


def check(images: ImageSet, first: dict[str, int]) -> None:
    assert images.classes == ("even", "odd")
    for part in images.parts.values():
        for index, identity in enumerate(part.identities):
            split, row = identity.split("/")
            number = first[split] + int(row)
            assert part.labels[index] == number % 2
            with part.pixels.open(index) as image:
                assert image.getpixel((0, 0)) == (number,) * 3


def test_a_saved_set_with_parts(tmp_path: Path) -> None:
    saved = datasets.DatasetDict({"train": rows(0, 30), "test": rows(30, 10), "extra": rows(40, 2)})
    saved.save_to_disk(tmp_path / "pets")
    images = open_images(tmp_path / "pets")
    assert {name: len(part) for name, part in images.parts.items()} == {"train": 30, "test": 10}
    assert (images.name, images.kind, images.size) == ("pets", "small", (12, 10))
    check(images, {"train": 0, "test": 30})
    assert "Left out, splits that are no parts: extra" in images.notes
    assert set(images.columns) == {"camera"}


def test_a_saved_set_without_parts_is_split(tmp_path: Path) -> None:
    rows(0, 40).save_to_disk(tmp_path / "pets")
    images = open_images(tmp_path / "pets", {"group_by": "camera"})
    assert images.test is not None
    check(images, {"train": 0})
    cameras = images.columns["camera"]
    assert not {cameras[each] for each in images.train.identities} & {cameras[each] for each in images.test.identities}


def test_a_builders_folder(tmp_path: Path) -> None:
    """What `download_and_prepare` writes: Arrow files named by builder, split and number, beside dataset_info.json."""
    writer_of = importlib.import_module("datasets.arrow_writer").ArrowWriter
    folder = tmp_path / "built"
    folder.mkdir()
    for name, start in {"pets-train-00000-of-00002": 0, "pets-train-00001-of-00002": 10, "pets-test": 20}.items():
        source = rows(start, 10).cast_column("image", datasets.Image(decode=False))
        with writer_of(features=rows(0, 1).features, path=str(folder / f"{name}.arrow")) as writer:
            for row in source:
                writer.write(row)
            writer.finalize()
    (folder / "dataset_info.json").write_text("{}")
    images = open_images(folder)
    assert {name: len(part) for name, part in images.parts.items()} == {"train": 20, "test": 10}
    check(images, {"train": 0, "test": 20})


def test_a_path_in_a_row_does_not_lead_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(0).save(tmp_path / "secret.png")
    kept = io.BytesIO()
    picture(3).save(kept, "PNG")
    content: list[dict[str, Any]] = [{"bytes": None, "path": str(tmp_path / "secret.png")}]
    content += [{"bytes": kept.getvalue(), "path": "/elsewhere/x.png"}] * 11
    features = datasets.Features({"image": datasets.Image(decode=False), "label": datasets.Value("string")})
    found = datasets.Dataset.from_dict({"image": content, "label": ["a", "b"] * 6}, features=features)
    monkeypatch.setattr(datasets, "load_from_disk", lambda folder: found.cast_column("image", datasets.Image()))
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "state.json").touch()  # written by hand: `save_to_disk` would take the file's bytes in
    images = open_images(tmp_path / "pets")
    assert "leads out of" in images.unreadable["train/0"]


def test_what_is_no_image_set_is_said(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"image": ["x"], "label": [0]}).save_to_disk(tmp_path / "texts")
    with pytest.raises(LongtailError, match="The column 'image' of texts holds no images"):
        open_images(tmp_path / "texts")
    datasets.DatasetDict({"first": rows(0, 3)}).save_to_disk(tmp_path / "odd")
    with pytest.raises(LongtailError, match="odd has the splits first, but no train among them"):
        open_images(tmp_path / "odd")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "state.json").write_text("{")
    with pytest.raises(LongtailError, match="broken is no whole folder of Hugging Face's datasets"):
        open_images(tmp_path / "broken")


def test_a_hub_set_is_loaded_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def load(*args: object, **kwargs: object) -> object:
        assert not kwargs
        asked.append(args)
        if args[0] == "nobody/none":
            raise ConnectionError("no network here")
        return datasets.DatasetDict({"train": rows(0, 20), "test": rows(20, 10)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    images = open_images("hub:anna/pets:small")
    assert asked == [("anna/pets", "small")]
    assert images.name == "pets"
    check(images, {"train": 0, "test": 20})
    with pytest.raises(LongtailError, match="nobody/none cannot be loaded from the hub: no network here"):
        open_images("hub:nobody/none")
