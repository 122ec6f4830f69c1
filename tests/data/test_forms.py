"""Training runs on data in every form, and its split is given back."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import longtail
from longtail.data.open import open_images


def png(number: int) -> bytes:
    """Red pictures of class 0, green ones of class 1."""
    pixels = np.random.default_rng(number).integers(0, 60, (10, 12, 3), dtype=np.uint8)
    pixels[..., number % 2] += 150
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


NUMBERS = range(30)
NAMES = ("red", "green")


def files(root: Path) -> list[tuple[str, str]]:
    (root / "pictures").mkdir()
    for number in NUMBERS:
        (root / "pictures" / f"{number}.png").write_bytes(png(number))
    return [(f"pictures/{number}.png", NAMES[number % 2]) for number in NUMBERS]


def table(root: Path) -> Path:
    (root / "set.csv").write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in files(root)))
    return root / "set.csv"


def json_lines(root: Path) -> Path:
    rows = [json.dumps({"image": path, "class": label}) + "\n" for path, label in files(root)]
    (root / "set.jsonl").write_text("".join(rows))
    return root / "set.jsonl"


def plain_list(root: Path) -> Path:
    (root / "set.txt").write_text("".join(f"{path} {label}\n" for path, label in files(root)))
    return root / "set.txt"


def parquet(root: Path) -> Path:
    arrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    content = {"image": [png(number) for number in NUMBERS], "label": [NAMES[number % 2] for number in NUMBERS]}
    writer.write_table(arrow.table(content), root / "set.parquet")
    return root / "set.parquet"


def shards(root: Path) -> Path:
    for start in (0, 15):
        with tarfile.open(root / f"set-{start}.tar", "w") as archive:
            for number in range(start, start + 15):
                for name, content in ((f"{number}.png", png(number)), (f"{number}.cls", NAMES[number % 2].encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return root


def hub(root: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    content = {"image": [{"bytes": png(n), "path": None} for n in NUMBERS], "label": [n % 2 for n in NUMBERS]}
    datasets.Dataset.from_dict(content, features=features).save_to_disk(root / "set")
    return root / "set"


@pytest.mark.parametrize("form", [table, json_lines, plain_list, parquet, shards, hub])
def test_training_runs_on_every_form(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    (tmp_path / "data").mkdir()
    data = form(tmp_path / "data")
    run = longtail.train(data, recipe="ce", epochs=2, out=tmp_path / "run", device="cpu", val=0.2)
    config = run.folder.config["data"]
    assert sorted(config["classes"]) == sorted(NAMES)
    assert (config["train_images"], config["validation_images"], config["test_images"]) == (20, 4, 6)
    again = open_images(data, {"split": tmp_path / "run" / "split.csv"})
    assert again.fingerprint() == config["fingerprint"]
    for part in again.parts.values():
        for index, label in enumerate(part.labels):
            with part.pixels.open(index) as image:
                red, green, _ = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))  # type: ignore[misc]
            assert again.classes[label] == NAMES[int(green > red)]
        assert len(part.digests()) == len(part)
    assert not [path for path in data.rglob("*") if path.suffix in {".json", ".draft"} and form is not hub]
