"""A run measured again: its own test images give its own numbers, other images are mapped by the names of classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import longtail
from longtail.cli import cli
from longtail.deploy.run import Run
from longtail.errors import LongtailError
from longtail.exits import answer
from longtail.watching import Watcher

CLASSES = ("ant", "bee", "crab")
CPU: dict[str, Any] = {"device": "cpu"}


def paint(folder: Path, colour: int, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for number in range(count):
        pixels = draw.integers(0, 200, (24, 24, 3), dtype=np.uint8)
        pixels[..., colour] += 55
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for colour, (name, count) in enumerate(zip(CLASSES, (20, 10, 5), strict=True)):
        paint(root / "train" / name, colour, count, seed=colour)
        paint(root / "test" / name, colour, 8, seed=10 + colour)
    return root


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    wishes: dict[str, Any] = {"backbone": "resnet32", "image_size": 16, "workers": 0, "batch_size": 8}
    return longtail.train(photos, recipe="ce", epochs=2, out=out, **wishes, **CPU)


class Listener(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_its_own_test_images_give_its_own_numbers(run: Run, photos: Path) -> None:
    listener = Listener()
    before = sorted(path.name for path in run.path.iterdir())
    evaluation = longtail.evaluate(run, photos, watcher=listener, batch_size=5, **CPU)
    trained = run.metrics
    assert trained is not None
    for name, number in longtail.metrics.summary(trained).items():
        assert longtail.metrics.summary(evaluation.metrics)[name] == pytest.approx(number, abs=1e-5)
    assert evaluation.metrics["confusion"] == trained["confusion"]
    assert evaluation.metrics["measured"]["fingerprint"] == run.folder.config["data"]["fingerprint"]
    assert not any("may have seen" in line for line in listener.lines)
    assert sorted(path.name for path in run.path.iterdir()) == before


def test_its_own_split_is_taken_where_none_is_asked_for(photos: Path, tmp_path: Path) -> None:
    """Else another fifth of the images would be tested on, and most of it learnt by heart."""
    images = photos / "train"
    wishes: dict[str, Any] = {"backbone": "resnet32", "image_size": 16, "workers": 0, "batch_size": 8, "epochs": 1}
    split = tmp_path / "split.csv"
    lines = [f"{'test' if n < 2 else 'train'},{name}/{n}.png" for name in CLASSES for n in range(5)]
    split.write_text("\n".join(["part,identity", *lines]))
    trained = longtail.train(images, recipe="ce", split=split, background="ant", out=tmp_path / "run", **wishes, **CPU)
    fair = longtail.rebalance(trained.path, images, how="ncm", out=tmp_path / "fair", workers=0, **CPU)
    again = longtail.evaluate(trained, images, **CPU).metrics
    own = trained.folder.config["data"]
    assert fair.folder.config["data"]["fingerprint"] == again["measured"]["fingerprint"] == own["fingerprint"]
    assert fair.folder.config["data"]["background"] == own["background"] == "ant"
    listener = Listener()
    longtail.evaluate(trained, images, val=0.2, part="train", watcher=listener, **CPU)
    assert any("may have seen" in line and "split.csv" in line for line in listener.lines)


def test_classes_are_found_by_name_and_some_may_be_missing(run: Run, photos: Path, tmp_path: Path) -> None:
    """A folder without the first class, so that every index is another one."""
    for part in ("train", "test"):
        for name in CLASSES[1:]:
            paint(tmp_path / part / name, CLASSES.index(name), 8, seed=10 + CLASSES.index(name))
    listener = Listener()
    some = longtail.evaluate(run.path, tmp_path, watcher=listener, **CPU).metrics
    every = longtail.evaluate(run, photos, **CPU).metrics
    assert some["not_measured"] == ["ant"]
    assert [row["accuracy"] for row in some["per_class"]] == [
        None,
        *(row["accuracy"] for row in every["per_class"][1:]),
    ]
    assert [row["train_images"] for row in some["per_class"]] == [20, 10, 5]
    assert any("may have seen" in line for line in listener.lines)


def test_an_unknown_class_is_an_error(run: Run, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("ant", "dove", "eel"):
            paint(tmp_path / part / name, 0, 1, seed=0)
    with pytest.raises(LongtailError, match=r"classes that .*run does not know: dove, eel"):
        longtail.evaluate(run, tmp_path, **CPU)


def test_the_parts_add_up(run: Run, photos: Path) -> None:
    images = {
        part: longtail.evaluate(run, photos, part=part, **CPU).metrics["images"] for part in ("train", "test", "all")
    }
    assert images == {"train": 35, "test": 24, "all": 59}
    with pytest.raises(LongtailError, match="has no validation part; it has train, test"):
        longtail.evaluate(run, photos, part="validation", **CPU)


def test_a_prior_moves_the_predictions(run: Run, photos: Path, tmp_path: Path) -> None:
    survey = tmp_path / "survey.json"
    survey.write_text(json.dumps({"crab": 1.0, "ant": 1e-200, "bee": 1e-200}))
    measured = longtail.evaluate(run, photos, test_prior=survey, **CPU).metrics
    assert [row["accuracy"] for row in measured["per_class"]] == [0, 0, 1]
    assert measured["measured"]["test_prior"] == "survey.json"
    plain = longtail.evaluate(run, photos, **CPU).metrics
    assert longtail.evaluate(run, photos, test_prior="train", **CPU).metrics["log_loss"] == plain["log_loss"]
    uniform = longtail.evaluate(run, photos, test_prior="uniform", **CPU).metrics
    assert uniform["log_loss"] != pytest.approx(plain["log_loss"], abs=1e-3)
    estimated = longtail.evaluate(run, photos, test_prior="estimate", **CPU).metrics
    assert sum(estimated["measured"]["expected"].values()) == pytest.approx(1)
    assert list(estimated["measured"]["expected"]) == list(CLASSES)
    assert estimated["log_loss"] not in (plain["log_loss"], uniform["log_loss"])


def test_broken_images_are_named_or_left_out(run: Run, photos: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for colour, name in enumerate(CLASSES):
            paint(tmp_path / part / name, colour, 3, seed=colour)
    (tmp_path / "test" / "bee" / "1.png").write_bytes(b"nothing")
    with pytest.raises(LongtailError, match=r"1 image cannot be read(.|\n)*test/bee/1.png"):
        longtail.evaluate(run, tmp_path, **CPU)
    listener = Listener()
    left = longtail.evaluate(run, tmp_path, bad_images="drop", watcher=listener, **CPU).metrics
    assert left["images"] == 8
    assert "Left out 1 image that cannot be read: test/bee/1.png" in listener.lines


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"part": "tests"}, "Unknown part 'tests'; did you mean test"),
        ({"batch_size": 0}, "--batch-size must be at least 1"),
        ({"workers": -1}, "--workers must be at least 0"),
        ({"bad_images": "ignore"}, "Unknown policy for bad images 'ignore'"),
        ({"device": "gpu"}, "Device 'gpu' cannot be used here"),
        ({"test_prior": "unform"}, "no file 'unform'"),
        ({"out": "."}, "exists already"),
        ({"out": "gone/numbers.json"}, "There is no folder gone to write numbers.json to"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run: Run, photos: Path, how: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LongtailError, match=sentence):
        longtail.evaluate(run, photos, **how)


def test_a_folder_is_asked_for_where_none_is_known(run: Run) -> None:
    with pytest.raises(LongtailError, match="Which images"):
        longtail.evaluate(run, **CPU)


def test_the_command_shows_the_table_or_json_and_writes_where_told(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(run.path), str(photos), "--device", "cpu"]
    assert answer(cli, words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Recipe All Many Medium Few" in shown
    assert "24 test images" in shown
    assert f"Measured on {photos.name}, test images" in shown
    out = tmp_path / "numbers.json"
    assert answer(cli, [*words, "--json", "--out", str(out), "--test-prior", "uniform"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(out.read_text())
    assert told["measured"]["test_prior"] == "uniform"
    assert answer(cli, [*words, "--out", str(out)]) == 2
