"""Predictions on files: the run's own, a row a file, harmless cells."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import longtail
from longtail.cli import cli
from longtail.deploy.predict import Prediction, find_files
from longtail.deploy.run import Run, predict
from longtail.deploy.table import write_predictions
from longtail.errors import LongtailError
from longtail.exits import answer

CLASSES = ("=cat", "dog", "lynx")  # one of them would be a formula in a spreadsheet


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of mixed sizes, a colour a class, with a test part."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for part, counts in {"train": (12, 6, 3), "test": (5, 5, 5)}.items():
        for colour, (name, count) in enumerate(zip(CLASSES, counts, strict=True)):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 120, (*generator.integers(66, 120, 2), 3), dtype=np.uint8)
                pixels[..., colour] += 120
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "photos"
    wishes = {"backbone": "test_resnet", "weights": "none", "image_size": 32, "workers": 0, "device": "cpu"}
    return longtail.train(photos, epochs=3, out=out, **wishes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tested(photos: Path, run: Run) -> tuple[list[Path], np.ndarray]:
    """The files of the test part and the probabilities that the run itself gave them."""
    told = run.folder.predictions
    assert told is not None
    return [photos / identity for identity in told.identities], softmax(told.logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
    return shares


def probabilities(predictions: list[Prediction], classes: tuple[str, ...]) -> np.ndarray:
    by_name = [dict(prediction.ranked) for prediction in predictions]
    return np.array([[shares[name] for name in classes] for shares in by_name])


@pytest.mark.parametrize(("batch_size", "workers"), [(64, 0), (4, 0), (1, 0), (4, 2)])
def test_the_runs_own_predictions(
    run: Run, tested: tuple[list[Path], np.ndarray], batch_size: int, workers: int
) -> None:
    files, expected = tested
    predictions = list(predict(run, files, top=3, batch_size=batch_size, workers=workers))
    assert [prediction.file for prediction in predictions] == [str(file) for file in files]
    np.testing.assert_allclose(probabilities(predictions, run.model.classes), expected, atol=1e-5)
    assert [p.class_name for p in predictions] == [run.model.classes[label] for label in expected.argmax(axis=1)]


def test_a_loaded_run_predicts_the_same(run: Run, tested: tuple[list[Path], np.ndarray]) -> None:
    files, expected = tested
    for same in (longtail.load(run.path), run.path, str(run.path)):
        predictions = list(longtail.predict(same, files, top=3))
        np.testing.assert_allclose(probabilities(predictions, CLASSES), expected, atol=1e-5)
    assert [p.class_name for p in run.predict(files)] == [p.class_name for p in predictions]


def test_the_model_alone_predicts_the_same(run: Run, tested: tuple[list[Path], np.ndarray]) -> None:
    import torch

    files, expected = tested
    with Image.open(files[3]) as image, torch.no_grad():
        shares = run.model(run.model.transform(image.convert("RGB"))[None]).softmax(dim=1)
    np.testing.assert_allclose(shares[0], expected[3], atol=1e-5)


def test_ranks_fall_and_sum_to_one(run: Run, tested: tuple[list[Path], np.ndarray]) -> None:
    for prediction in predict(run, tested[0], top=99):
        shares = [share for _, share in prediction.ranked]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert len(shares) == len(CLASSES)


def test_an_unreadable_file_changes_no_other(run: Run, tested: tuple[list[Path], np.ndarray], tmp_path: Path) -> None:
    files, expected = tested
    text, cut = tmp_path / "text.jpg", tmp_path / "cut.png"
    text.write_text("no picture")
    cut.write_bytes(files[0].read_bytes()[:200])
    mixed = [text, *files[:2], cut, tmp_path / "missing.png", *files[2:]]
    predictions = list(predict(run, mixed, top=3, batch_size=4))
    assert [p.file for p in predictions] == [str(file) for file in mixed]
    unread = {Path(p.file).name: p.reason for p in predictions if not p.ranked}
    assert unread.keys() == {"text.jpg", "cut.png", "missing.png"}
    for name, reason in (("text.jpg", "not an image"), ("cut.png", "truncated"), ("missing.png", "no such file")):
        assert reason in unread[name]
    assert all(p.class_name is None and p.probability is None for p in predictions if not p.ranked)
    np.testing.assert_allclose(probabilities([p for p in predictions if p.ranked], CLASSES), expected, atol=1e-5)


def test_folders_are_searched_in_order(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / ".hidden").mkdir()
    picture = photos / "test" / "dog" / "0.png"
    for name in ("2.PNG", "1.jpg", "deep/0.webp", ".0.png", ".hidden/1.png", "notes.txt"):
        (tmp_path / "a" / name).write_bytes(picture.read_bytes())
    found = find_files([picture, tmp_path / "a", "missing.jpg"])
    names = [str(Path(file).relative_to(tmp_path)) for file in found[1:-1]]
    assert names == ["a/1.jpg", "a/2.PNG", "a/deep/0.webp"]
    assert found[0] == str(picture)
    assert found[-1] == "missing.jpg"


def test_mistakes_are_told_at_once(run: Run, tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match="no image in the folder"):
        predict(run, [tmp_path])
    for wrong in ({"top": 0}, {"batch_size": 0}, {"workers": -1}):
        with pytest.raises(LongtailError, match="at least"):
            predict(run, [], **wrong)  # type: ignore[arg-type]
    with pytest.raises(LongtailError, match="did you mean jsonl"):
        write_predictions([], io.StringIO(), "json")  # type: ignore[arg-type]


PREDICTIONS = (
    Prediction("a,b.png", (("=cat", 0.75), ("dog", 0.25))),
    Prediction("=2+5.png", (("dog", 0.625), ("=cat", 0.375))),
    Prediction("\x1b[2J\u202egnp.png", (), "not an image"),
)


def test_csv_cells_are_harmless_in_spreadsheet_and_terminal() -> None:
    file = io.StringIO()
    assert write_predictions(PREDICTIONS, file, "csv", top=2) == 1
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert list(rows[0]) == ["file", "class", "probability", "class_2", "probability_2", "reason"]
    assert rows[0]["file"] == "a,b.png"
    assert rows[0]["class"] == "'=cat"
    assert [float(rows[0][name]) for name in ("probability", "probability_2")] == [0.75, 0.25]
    assert rows[1]["file"] == "'=2+5.png"
    assert rows[2]["class"] == rows[2]["probability"] == ""
    assert rows[2]["reason"] == "not an image"
    assert file.getvalue().replace("\n", "").isprintable()
    assert "\u202e" not in file.getvalue()


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_begins_as_a_formula(first: str) -> None:
    file = io.StringIO()
    write_predictions([Prediction(f"{first}1", ((f"{first}c", 1.0),), f"{first}r")], file)
    row = list(csv.reader(io.StringIO(file.getvalue())))[1]
    assert all(cell.startswith("'") for cell in (row[0], row[1], row[3]))


def test_json_lines_hold_names_exactly() -> None:
    file = io.StringIO()
    odd = Prediction("caf\u00e9 \U0001f431 \ud800.png", (("dog", 1.0),))
    assert write_predictions([*PREDICTIONS, odd], file, "jsonl", top=2) == 1
    lines = file.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    records = [json.loads(line) for line in lines]
    assert [record["file"] for record in records] == [p.file for p in (*PREDICTIONS, odd)]
    assert records[0] == {
        "file": "a,b.png",
        "class": "=cat",
        "probability": 0.75,
        "top": [{"class": "=cat", "probability": 0.75}, {"class": "dog", "probability": 0.25}],
        "reason": None,
    }
    assert records[2]["class"] is None
    assert records[2]["top"] == []


def test_rows_come_as_they_are_ready() -> None:
    file = io.StringIO()

    def slowly() -> object:
        for number, prediction in enumerate(PREDICTIONS):
            assert file.getvalue().count("\n") == number
            yield prediction

    write_predictions(slowly(), file, "jsonl")  # type: ignore[arg-type]


def test_the_command_writes_every_file_and_then_fails(
    run: Run, tested: tuple[list[Path], np.ndarray], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files, expected = tested
    assert answer(cli, ["predict", str(run.path), *map(str, files)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == [str(file) for file in files]
    np.testing.assert_allclose([float(row["probability"]) for row in rows], expected.max(axis=1), atol=1e-5)

    (tmp_path / "bad.png").write_bytes(b"nothing")
    words = ["predict", str(run.path), str(tmp_path / "bad.png"), str(files[0]), "--format", "jsonl"]
    assert answer(cli, words) == 1
    shown = capsys.readouterr()
    assert [json.loads(line)["reason"] for line in shown.out.splitlines()] == ["not an image", None]
    assert shown.err.splitlines()[-1] == "1 file could not be read; the reason stands in its row."


def test_a_list_on_standard_input(run: Run, tested: tuple[list[Path], np.ndarray], tmp_path: Path) -> None:
    files, _ = tested
    odd = tmp_path / "odd name \u00fc.png"
    odd.write_bytes(files[0].read_bytes())
    names = [*map(str, files[:3]), str(odd)]
    done = subprocess.run(
        [sys.executable, "-m", "longtail", "predict", str(run.path), "-", "--format", "jsonl"],
        input="".join(f"{name}\n" for name in names),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == names
    assert done.stderr.startswith("predicting: 4 images in ")


def test_what_does_not_fit_into_memory_goes_in_parts(run: Run, tested: tuple[list[Path], np.ndarray]) -> None:
    files, expected = tested

    def has_room(network: object, images: tuple[torch.Tensor]) -> None:
        if len(images[0]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = run.model.backbone.register_forward_pre_hook(has_room)
    try:
        best = [prediction.ranked[0][1] for prediction in run.predict(files)]
    finally:
        hook.remove()
    assert best == pytest.approx(expected.max(axis=1).tolist(), abs=1e-5)
