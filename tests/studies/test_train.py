"""The whole job on the embedded digits, and on folders that the tests make."""

from __future__ import annotations

import getpass
import json
import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score

import longtail
from longtail.deploy.run import Run
from longtail.errors import LongtailError
from longtail.training.planning.wishes import Wishes
from longtail.watching import Watcher


class Listener(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return longtail.train(out=tmp_path_factory.mktemp("runs") / "digits", epochs=2, device="cpu")


def photographs(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Colour pictures of mixed sizes; each class has its own colour, so that a label can be checked by looking."""
    generator = np.random.default_rng(seed)
    for index, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            height, width = generator.integers(70, 140, 2)
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[..., index % 3] = 200
            pixels += generator.integers(0, 40, pixels.shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return root


QUICK: Wishes = {"backbone": "test_resnet", "weights": "none", "epochs": 1, "image_size": 32, "workers": 0}


def test_the_default_is_the_digits_of_the_readme(run: Run) -> None:
    config = run.folder.config
    assert config["data"]["counts"] == [139, 89, 58, 37, 24, 15, 10, 6, 4, 2]
    assert config["data"]["test_images"] == 1797 - 384
    assert [stage["name"] for stage in config["stages"]] == ["training", "classifier re-training"]
    assert 463_504 <= config["model"]["parameters"] <= 464_154


def test_metrics_are_those_of_the_stored_predictions(run: Run) -> None:
    predictions, metrics = run.folder.predictions, run.metrics
    assert predictions is not None
    assert metrics is not None
    predicted = predictions.logits.argmax(axis=1)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(predictions.labels, predicted))
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(predictions.labels, predicted))


def test_the_loaded_model_repeats_the_test_predictions(run: Run) -> None:
    from longtail.data.sources.digits import digits

    predictions, test = run.folder.predictions, digits().test
    assert predictions is not None
    assert test is not None
    images = torch.stack([run.model.transform(test.pixels.open(index)) for index in range(64)])
    with torch.no_grad():
        again = run.model(images).softmax(dim=1)
    expected = torch.from_numpy(predictions.logits[:64]).softmax(dim=1)
    torch.testing.assert_close(again, expected, rtol=0, atol=1e-5)
    assert run.model.classes == tuple("0123456789")


def test_every_step_and_epoch_has_its_line(run: Run) -> None:
    config = run.folder.config
    for number, stage in enumerate(config["stages"], start=1):
        epochs = [record for record in run.folder.epochs if record["stage"] == number]
        steps = [record for record in run.folder.steps if record["stage"] == number]
        assert [record["epoch"] for record in epochs] == list(range(stage["epochs"]))
        assert len(steps) == stage["epochs"] * (384 // stage["batch_size"])
        for record in epochs:
            own = [step["loss"] for step in steps if step["epoch"] == record["epoch"]]
            assert record["loss"] == pytest.approx(np.mean(own))


def test_the_split_lists_every_image_once(run: Run) -> None:
    rows = run.folder.split
    assert len({row["identity"] for row in rows}) == len(rows) == 1797
    train = [row for row in rows if row["part"] == "train"]
    counts = [sum(row["class"] == str(digit) for row in train) for digit in range(10)]
    assert counts == run.folder.config["data"]["counts"]


def test_nothing_in_the_folder_tells_who_or_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "host-of-anna")
    monkeypatch.setattr(getpass, "getuser", lambda: "user-anna")
    for name in ("USER", "LOGNAME", "HOSTNAME"):
        monkeypatch.setenv(name, "user-anna")
    data = photographs(tmp_path / "home-of-anna/photos", {"ant": 12, "bee": 6})
    run = longtail.train(data, out=tmp_path / "home-of-anna/run", recipe="ce", **QUICK)
    for path in run.path.iterdir():
        content = path.read_bytes()
        for secret in ("anna", str(tmp_path), str(Path.home()) + "/"):
            assert secret.encode() not in content, (path.name, secret)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    runs = [longtail.train(out=tmp_path / name, epochs=1, recipe="gcl", device="cpu") for name in "ab"]
    first, again = ((run.path / "model.safetensors").read_bytes() for run in runs)
    assert first == again


def test_photographs_train_with_a_timm_backbone(tmp_path: Path) -> None:
    data = photographs(tmp_path / "photos", {"ant": 24, "bee": 12, "cat": 6})
    listener = Listener()
    run = longtail.train(
        data,
        out=tmp_path / "run",
        backbone="test_resnet",
        weights="none",
        epochs=2,
        workers=2,
        watcher=listener,
    )
    assert run.metrics is not None
    assert run.folder.config["data"]["kind"] == "photographs"
    assert run.preprocessing.size == (160, 160)  # timm's own for this network
    assert any("24, 12, 6 before, 20, 10, 5 after" in line for line in listener.lines)
    assert {path.name for path in data.rglob("*")} == {
        path.name for path in photographs(tmp_path / "again", {"ant": 24, "bee": 12, "cat": 6}).rglob("*")
    }

    weights = run.folder.weights
    tuned = longtail.train(
        data,
        out=tmp_path / "tuned",
        backbone="test_resnet",
        weights=str(weights),
        recipe="ce",
        epochs=1,
        workers=0,
    )
    assert tuned.folder.config["model"]["weights"] == "model.safetensors"


def test_weights_that_cannot_be_had_are_an_error_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    data = photographs(tmp_path / "photos", {"ant": 6, "bee": 6})
    with pytest.raises(LongtailError, match=r"cannot be had.*--weights none.*FILE.safetensors"):
        longtail.train(data, out=tmp_path / "run", backbone="resnet18")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def with_a_broken_image(tmp_path: Path) -> Path:
    data = photographs(tmp_path / "photos", {"train/ant": 12, "train/bee": 6, "test/ant": 4, "test/bee": 4})
    whole = (data / "train/bee/3.jpg").read_bytes()
    (data / "train/bee/3.jpg").write_bytes(whole[: len(whole) // 2])
    return data


def test_a_broken_image_is_named_and_no_folder_is_left(with_a_broken_image: Path, tmp_path: Path) -> None:
    with pytest.raises(
        LongtailError, match=r"(?s)1 image cannot be read.*--bad-images drop.*train/bee/3.jpg: .*truncated"
    ):
        longtail.train(with_a_broken_image, out=tmp_path / "out/run", recipe="ce", **QUICK)
    assert not (tmp_path / "out").exists()


def test_dropping_gives_what_the_folder_without_the_image_gives(with_a_broken_image: Path, tmp_path: Path) -> None:
    listener = Listener()
    dropped = longtail.train(
        with_a_broken_image, out=tmp_path / "dropped", watcher=listener, recipe="ce", **(QUICK | {"bad_images": "drop"})
    )
    assert dropped.folder.config["data"]["counts"] == [12, 5]
    assert any("ant 12, bee 5" in line for line in listener.lines)
    assert any("3.jpg" in note for note in dropped.folder.config["data"]["notes"])
    (with_a_broken_image / "train/bee/3.jpg").unlink()
    removed = longtail.train(with_a_broken_image, out=tmp_path / "removed", recipe="ce", **QUICK)
    assert (dropped.path / "model.safetensors").read_bytes() == (removed.path / "model.safetensors").read_bytes()
    assert dropped.folder.config["data"]["fingerprint"] == removed.folder.config["data"]["fingerprint"]


def test_a_broken_test_image_loses_no_training(with_a_broken_image: Path, tmp_path: Path) -> None:
    (with_a_broken_image / "train/bee/3.jpg").unlink()
    whole = (with_a_broken_image / "test/ant/1.jpg").read_bytes()
    (with_a_broken_image / "test/ant/1.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LongtailError, match=r"test/ant/1.jpg: .*truncated"):
        longtail.train(with_a_broken_image, out=tmp_path / "run", recipe="ce", **QUICK)
    run = longtail.load(tmp_path / "run")
    assert run.metrics is not None
    assert run.metrics["images"] == 7
    assert "test/ant/1.jpg" in json.dumps(run.folder.config["data"]["notes"])


def test_ones_own_recipe_is_a_file_with_a_function(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from longtail import losses\n"
        "from longtail.models.heads import Linear\n"
        "from longtail.training.stage import Recipe, Stage\n\n"
        "def balanced(counts, setting):\n"
        "    loss = losses.balanced_softmax(counts)\n"
        "    return Recipe(Linear, (Stage('mine', loss, setting.epochs, setting.batch_size, setting.lr),))\n"
    )
    run = longtail.train(recipe=f"{tmp_path / 'mine.py'}:balanced", epochs=1, out=tmp_path / "run")
    assert [stage["name"] for stage in run.folder.config["stages"]] == ["mine"]
    assert run.model.head.description()["kind"] == "linear"
