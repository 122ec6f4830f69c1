"""A run's probabilities under other class frequencies, file by file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import longtail
from longtail.cli import cli
from longtail.data.images.preprocessing import Preprocessing
from longtail.deploy.run import Run, save_model
from longtail.errors import LongtailError
from longtail.exits import answer
from longtail.models.classifier import Architecture
from longtail.priors import estimate_prior
from longtail.runs import RunFolder
from longtail.watching import Watcher
from written_runs import write_run

CLASSES = ("cat", "dog", "fox", "lynx")
COUNTS = np.array([500, 90, 60, 5])
LEARNT = COUNTS / COUNTS.sum()


def make_run(path: Path, prior: list[float] | None = None) -> Run:
    """A run that looks at the brightness: untrained weights, written as training writes them."""
    import torch

    folder = write_run(path, names=CLASSES)
    torch.manual_seed(0)
    architecture = Architecture("test_resnet", None, {"kind": "linear"}, CLASSES)
    classifier = architecture.build().eval()
    with torch.no_grad():
        classifier.head.weight.mul_(4)  # type: ignore[operator]
    save_model(classifier, architecture, Preprocessing((32, 32)), RunFolder(folder.path), prior=prior)
    return longtail.load(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "balanced-not", prior=LEARNT.tolist())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("new")
    draw = np.random.default_rng(0)
    for number in range(12):
        pixels = draw.integers(0, 256, (40, 50, 3), dtype=np.uint8) // draw.integers(1, 9, 3, dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number:02}.png")
    return sorted(root.iterdir())


def probabilities(run: Run, files: list[Path], **how: Any) -> NDArray[np.float64]:
    ranked = [dict(prediction.ranked) for prediction in run.predict(files, top=4, **how) if prediction.ranked]
    return np.array([[shares[name] for name in CLASSES] for shares in ranked])


def by_bayes(learnt: NDArray[np.float64], stands_for: Any, expected: Any) -> NDArray[np.float64]:
    joint = learnt * expected / stands_for
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def test_a_known_prior_is_bayes_rule_on_every_file(run: Run, files: list[Path], tmp_path: Path) -> None:
    learnt = probabilities(run, files)
    assert np.ptp(learnt, axis=0).max() > 0.05
    survey = tmp_path / "survey.csv"
    survey.write_text("class,share\nlynx,0.7\nfox,0.1\ndog,0.1\ncat,0.1\n")
    for words, expected in (
        ("train", LEARNT),
        ("uniform", np.full(4, 0.25)),
        (survey, np.array([0.1, 0.1, 0.1, 0.7])),
        (str(survey), np.array([0.1, 0.1, 0.1, 0.7])),
    ):
        shifted = probabilities(run, files, test_prior=words, batch_size=5)
        np.testing.assert_allclose(shifted, by_bayes(learnt, LEARNT, expected), atol=1e-7)


class Listener(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_an_estimate_is_made_from_all_files_that_can_be_read(run: Run, files: list[Path], tmp_path: Path) -> None:
    learnt = probabilities(run, files)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    listener = Listener()
    mixed = [broken, *files]
    told = list(run.predict(mixed, top=4, test_prior="estimate", batch_size=5, watcher=listener))
    assert [prediction.file for prediction in told] == list(map(str, mixed))
    assert told[0].reason == "not an image"
    shares = np.array([[dict(prediction.ranked)[name] for name in CLASSES] for prediction in told[1:]])
    expected = estimate_prior(learnt, LEARNT)
    np.testing.assert_allclose(shares, by_bayes(learnt, LEARNT, expected), atol=1e-6)
    (line,) = listener.lines
    first = CLASSES[int(np.argmax(expected))]
    assert line.startswith(f"Estimated from 12 images: {first} {expected.max():.1%}, ")
    assert [prediction.reason for prediction in run.predict([broken], test_prior="estimate")] == ["not an image"]


def test_a_balanced_model_stands_for_all_classes_alike(files: list[Path], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", prior=[0.25] * 4)
    learnt = probabilities(run, files)
    np.testing.assert_allclose(probabilities(run, files, test_prior="uniform"), learnt, atol=1e-12)
    np.testing.assert_allclose(
        probabilities(run, files, test_prior="train"), by_bayes(learnt, np.full(4, 0.25), LEARNT), atol=1e-7
    )


def test_an_older_run_says_what_to_do(files: list[Path], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    described = json.loads((run.path / "model.json").read_text())
    assert described["prior"] is None
    del described["prior"]  # as runs had it before
    (run.path / "model.json").write_text(json.dumps(described))
    assert probabilities(run, files).shape == (12, 4)
    with pytest.raises(LongtailError, match=r"model.json does not say .* add \"prior\" to it, a share for each class"):
        run.predict(files, test_prior="uniform")


def test_a_wrong_prior_is_told_before_anything_is_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("class,share\ncat,1\nemu,1\n")
    for words, sentence in ((tmp_path / "p.csv", "does not know: emu"), ("unform", "no file 'unform'")):
        with pytest.raises(LongtailError, match=sentence):
            run.predict([tmp_path / "gone.png"], test_prior=words)
    with pytest.raises(LongtailError, match="Device 'gpu' cannot be used here"):
        run.predict([tmp_path / "gone.png"], device="gpu")


def test_the_command_shifts_too(run: Run, files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(run.path), *map(str, files), "--format", "jsonl", "--top", "4", "--device", "cpu"]
    assert answer(cli, ["predict", *words, "--test-prior", "estimate"]) == 0
    shown = capsys.readouterr()
    tops = [json.loads(line)["top"] for line in shown.out.splitlines()]
    got = np.array([[{row["class"]: row["probability"] for row in top}[name] for name in CLASSES] for top in tops])
    np.testing.assert_allclose(got, probabilities(run, files, test_prior="estimate"), atol=1e-9)
    assert "Estimated from 12 images" in shown.err
