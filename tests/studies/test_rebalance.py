"""A trained classifier made fair: what it was is not touched, its classes go by name, features are computed once."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import longtail
from longtail.cli import cli
from longtail.data.open import open_images
from longtail.data.parts import Part
from longtail.deploy.run import Run
from longtail.errors import LongtailError
from longtail.exits import MISTAKE, answer
from longtail.report.records import RunRecord
from longtail.report.tables import run_table
from tiny_training import Listener, coloured, counting

QUICK: dict[str, Any] = {"epochs": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Cross-entropy on the digits, good at common classes alone."""
    return longtail.train(recipe="ce", epochs=6, out=tmp_path_factory.mktemp("runs") / "digits-ce", device="cpu")


@pytest.fixture(autouse=True)
def _without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page takes two seconds to draw."""
    monkeypatch.setattr("longtail.report.page.write_run_page", lambda path: None)
    monkeypatch.setattr("longtail.report.page.write_study_page", lambda path: None)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() + str(path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def groups(metrics: dict[str, Any] | None) -> dict[str, float]:
    assert metrics is not None
    return {"all": metrics["accuracy"], **{name: group["accuracy"] for name, group in metrics["groups"].items()}}


def test_it_was_and_it_is_now(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # here a page is drawn
    before = contents(run.path)
    made = longtail.rebalance(run.path, how="ncm", out=tmp_path / "made", **QUICK)
    assert contents(run.path) == before
    was, now = groups(made.folder.before), groups(made.metrics)
    assert was == pytest.approx(groups(run.metrics), abs=2e-3)  # features are kept in float16
    assert now["few"] > was["few"]
    assert now != was

    rows = run_table(RunRecord.read(made.folder)).rows
    assert [row[0].text for row in rows] == ["before", "ncm"]
    assert [row[1].text for row in rows] == [f"{100 * was['all']:.1f}", f"{100 * now['all']:.1f}"]
    assert float(rows[1][1].change.replace("\N{MINUS SIGN}", "-")) == pytest.approx(
        100 * (now["all"] - was["all"]), abs=0.11
    )
    page = made.folder.page.read_text(encoding="utf-8")
    assert "re-balanced by ncm" in page
    assert "before" in page


def test_the_head_changes_and_the_backbone_does_not(run: Run, tmp_path: Path) -> None:
    made = longtail.rebalance(run.path, how="crt", out=tmp_path / "made", **QUICK)
    old, new = run.model.state_dict(), longtail.load(made.path).model.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old if name.startswith("backbone."))
    assert not torch.equal(old["head.weight"], new["head.weight"])
    assert made.folder.config["rebalanced"] == run.path.name
    assert made.folder.config["steps"] == ["classifier re-training"]


def test_a_run_on_the_digits_knows_its_own_data(tmp_path: Path) -> None:
    cut = longtail.train(recipe="ce", epochs=1, imbalance=20, val=0.2, out=tmp_path / "cut", device="cpu")
    listener = Listener()
    made = longtail.rebalance(cut.path, how="tau-norm", out=tmp_path / "made", watcher=listener, **QUICK)
    again = longtail.rebalance(made.path, how="ncm", out=tmp_path / "again", watcher=listener, **QUICK)
    for key in ("counts", "fingerprint", "validation_images", "asked"):
        for each in (made, again):
            assert each.folder.config["data"][key] == cut.folder.config["data"][key]
    assert not any("not the images" in line for line in listener.lines)
    wishes: dict[str, Any] = {"how": "tau-norm", "watcher": listener, **QUICK}
    named = longtail.rebalance(cut.path, "digits", out=tmp_path / "named", imbalance=20, val=0.2, **wishes)
    assert named.folder.config["data"]["fingerprint"] == cut.folder.config["data"]["fingerprint"]
    other = longtail.rebalance(cut.path, "digits", out=tmp_path / "other", imbalance=50, **wishes)
    assert other.folder.config["data"]["fingerprint"] != cut.folder.config["data"]["fingerprint"]
    assert any("These are not the images of cut, or not its split" in line for line in listener.lines)


def test_the_exact_form_and_kept_features_agree_where_nothing_is_random(run: Run, tmp_path: Path) -> None:
    kept = longtail.rebalance(run.path, how="ncm", out=tmp_path / "kept", **QUICK)
    anew = longtail.rebalance(run.path, how="ncm", out=tmp_path / "anew", views=0, **QUICK)
    assert not (anew.path / "features").exists()
    assert groups(kept.metrics) == pytest.approx(groups(anew.metrics), abs=2e-3)


def test_several_ways_look_at_an_image_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, before = counting(monkeypatch), contents(run.path)
    study = longtail.compare_rebalanced(
        run.path, how=("crt", "lws", "tau-norm", "ncm"), sampler=("cben", "instance"), seeds=2, views=2,
        out=tmp_path / "study", **QUICK,
    )  # fmt: skip
    # two views of the training images, they themselves for the class means, the test images
    assert sum(seen) == 2 * 384 + 384 + 1413
    assert contents(run.path) == before
    rows = [(row["recipe"], row["seed"]) for row in study.comparison["rows"]]
    learnt = [f"{how}-{sampler}" for how in ("crt", "lws") for sampler in ("cben", "instance")]
    assert rows == [("before", 0), *((name, seed) for name in learnt for seed in (0, 1)), ("tau-norm", 0), ("ncm", 0)]
    assert study.comparison["recipes"] == ["before", *learnt, "tau-norm", "ncm"]
    alone = longtail.rebalance(run.path, how="lws", sampler="cben", seed=1, views=2, out=tmp_path / "alone", **QUICK)
    together = study.folder.run("lws-cben", 1)
    assert alone.folder.weights.read_bytes() == together.weights.read_bytes()
    assert json.dumps(groups(alone.metrics)) == json.dumps(groups(together.metrics))


def test_a_shared_folder_serves_the_next_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longtail.rebalance(run.path, how="lws", views=2, features=tmp_path / "kept", out=tmp_path / "one", **QUICK)
    seen = counting(monkeypatch)
    longtail.rebalance(run.path, how="crt", views=2, features=tmp_path / "kept", out=tmp_path / "two", **QUICK)
    assert sum(seen) == 0


@pytest.mark.parametrize(
    ("recipe", "how"), [("gcl_ride", "tau-norm"), ("gcl_ride", "posthoc"), ("bbn", "crt"), ("tde", "lws")]
)
def test_systems_are_rebalanced_too(recipe: str, how: str, tmp_path: Path) -> None:
    given = longtail.train(recipe=recipe, epochs=1, out=tmp_path / "given", device="cpu")
    made = longtail.rebalance(given.path, how=how, out=tmp_path / "made", **QUICK)
    assert groups(made.folder.before) == pytest.approx(groups(given.metrics), abs=5e-3)
    old, new = (longtail.load(folder).model.state_dict() for folder in (given.path, made.path))
    assert all(torch.equal(old[name], new[name]) for name in old if name.startswith("backbone."))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"how": "crtt"}, "Unknown way to re-balance 'crtt'; did you mean crt"),
        ({"sampler": "cbne"}, "Unknown sampler"),
        ({"loss": "gc"}, "Unknown loss"),
        ({"how": "lws", "loss": "ldam"}, "takes cosines, and the classifier has a linear head"),
        ({"views": -1}, "--views must be a whole number of at least 0"),
    ],
)
def test_what_cannot_be_is_said_before_anything_slow(
    asked: dict[str, Any], sentence: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counting(monkeypatch)
    with pytest.raises(LongtailError, match=sentence):
        longtail.rebalance(run.path, out=tmp_path / "deep/made", **{**QUICK, **asked})
    several = {key: [value] if key in {"how", "sampler"} else value for key, value in asked.items()}
    with pytest.raises(LongtailError, match=sentence):
        longtail.compare_rebalanced(run.path, out=tmp_path / "deep/study", **{**QUICK, **several})
    assert not (tmp_path / "deep").exists()
    assert seen == []


@pytest.mark.parametrize("ways", [(), ("ncm", "ncm")])
def test_different_ways_are_compared(ways: tuple[str, ...], run: Run, tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match="Give different ways to compare"):
        longtail.compare_rebalanced(run.path, how=ways, out=tmp_path / "study", **QUICK)
    assert not (tmp_path / "study").exists()


def test_what_fails_leaves_no_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: object) -> None:
        raise RuntimeError("the machine is on fire")

    before = contents(run.path)
    monkeypatch.setattr("longtail.training.loop.trainer.Trainer.fit", failing)
    with pytest.raises(RuntimeError):
        longtail.rebalance(run.path, out=tmp_path / "deep/made", **QUICK)
    assert not (tmp_path / "deep").exists()
    assert contents(run.path) == before


def test_there_is_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"There is no run folder and no file of weights .*nothing"):
        longtail.rebalance(tmp_path / "nothing", out=tmp_path / "made")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(LongtailError, match=r"What network is .*model.safetensors.*--backbone"):
        longtail.rebalance(tmp_path / "model.safetensors", out=tmp_path / "made")


ORDER = ("cat", "ant", "bee")  # in which the network outside was trained


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"train/ant": 40, "train/bee": 12, "train/cat": 6, "test/ant": 8, "test/bee": 8, "test/cat": 8}
    return coloured(tmp_path_factory.mktemp("photographs"), counts)


def tensors_of(part: Part, classes: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """All images as a plain loop sees them, 32 pixels a side, with labels by `ORDER`."""
    side = torch.stack(
        [
            torch.from_numpy(np.array(part.pixels.open(index).convert("RGB").resize((32, 32)))).permute(2, 0, 1) / 255
            for index in range(len(part))
        ]
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    labels = torch.tensor([ORDER.index(classes[label]) for label in part.labels])
    return (side - mean[:, None, None]) / std[:, None, None], labels


@pytest.fixture(scope="module")
def foreign(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """timm's ResNet-18, trained without longtail, its outputs in another order than the folders."""
    torch.manual_seed(0)
    images = open_images(photographs)
    inputs, labels = tensors_of(images.train, images.classes)
    network = timm.create_model("resnet18", num_classes=3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    for _ in range(8):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of what follows
    with torch.no_grad():
        network(inputs)
    path = tmp_path_factory.mktemp("elsewhere") / "insects.safetensors"
    save_file(network.state_dict(), path)
    return path


def named(folder: Path, names: tuple[str, ...]) -> Path:
    path = folder / "classes.txt"
    path.write_text("\n".join(names) + "\n")
    return path


def test_a_network_from_elsewhere_by_the_command_line(
    foreign: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = contents(foreign.parent), tmp_path / "made"
    words = ["rebalance", str(foreign), str(photographs), "--backbone", "resnet18", "--image-size", "32"]
    words += ["--classes", str(named(tmp_path, ORDER)), "--how", "ncm", "--workers", "0", "--out", str(out)]
    assert answer(cli, words) == 0
    shown = capsys.readouterr()
    assert "before" in shown.out
    assert "Whether insects has seen the test images before is not known" in shown.err
    assert contents(foreign.parent) == before
    made = longtail.load(out)
    assert made.model.classes == ORDER
    assert made.folder.config["data"]["counts"] == [6, 40, 12]

    network = timm.create_model("resnet18", num_classes=3)
    network.load_state_dict(load_file(foreign))
    images = open_images(photographs)
    assert images.test is not None
    inputs, labels = tensors_of(images.test, images.classes)
    with torch.no_grad():
        right = network.eval()(inputs).argmax(dim=1) == labels
    was = made.folder.before
    assert was is not None
    assert right.float().mean() > 0.6  # so that another order would show
    assert was["accuracy"] == pytest.approx(float(right.float().mean()), abs=0.1)  # resized by another library
    made_metrics = made.metrics
    assert made_metrics is not None
    assert made_metrics["balanced_accuracy"] >= was["balanced_accuracy"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (None, "does not (say|name)|order"),
        (("ant", "bee"), "3"),
        (("ant", "bee", "cow"), "'cat'|'cow'"),
    ],
)
def test_classes_that_are_not_known_are_refused(
    names: tuple[str, ...] | None, sentence: str, foreign: Path, photographs: Path, tmp_path: Path
) -> None:
    classes = named(tmp_path, names) if names else None
    with pytest.raises(LongtailError, match=sentence):
        longtail.rebalance(
            foreign, photographs, classes=classes, backbone="resnet18", image_size=32, workers=0, out=tmp_path / "made"
        )
    assert not (tmp_path / "made").exists()


def test_folders_in_another_order_are_mapped_by_name(tmp_path: Path) -> None:
    """The same pictures under names that sort the other way round: nothing but the names decides."""
    data = coloured(tmp_path / "data", {"train/ant": 24, "train/bee": 8, "test/ant": 6, "test/bee": 6})
    quick: dict[str, Any] = {"backbone": "test_resnet", "weights": "none", "image_size": 32, "workers": 0, **QUICK}
    given = longtail.train(data, recipe="ce", out=tmp_path / "given", **quick)
    model = json.loads((given.path / "model.json").read_text())
    turned = shutil.copytree(given.path, tmp_path / "turned")
    model["classes"] = model["classes"][::-1]
    (turned / "model.json").write_text(json.dumps(model))
    listener = Listener()
    plain = longtail.rebalance(given.path, data, how="ncm", out=tmp_path / "plain", watcher=listener, workers=0)
    other = longtail.rebalance(turned, data, how="ncm", out=tmp_path / "other", workers=0)
    was, mirrored = plain.folder.before, other.folder.before
    assert was is not None
    assert mirrored is not None
    assert mirrored["accuracy"] == pytest.approx(1 - was["accuracy"])  # two classes: every answer is turned round
    assert other.metrics is not None
    assert plain.metrics is not None
    assert other.metrics["accuracy"] == pytest.approx(plain.metrics["accuracy"])
    assert not any("not the images" in line for line in listener.lines)


def test_other_classes_are_refused(run: Run, photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"is no class of the (images|classifier)"):
        longtail.rebalance(run.path, photographs, out=tmp_path / "made", workers=0)
    assert not (tmp_path / "made").exists()


def test_a_run_on_ones_own_folder_does_not_know_where_it_is(tmp_path: Path) -> None:
    data = coloured(tmp_path / "data", {"ant": 12, "bee": 6})
    quick: dict[str, Any] = {"backbone": "test_resnet", "weights": "none", "image_size": 32, "workers": 0, **QUICK}
    given = longtail.train(data, recipe="ce", out=tmp_path / "given", **quick)
    with pytest.raises(LongtailError, match=r"Which images.*given does not say where its own are"):
        longtail.rebalance(given.path, out=tmp_path / "made")
    made = longtail.rebalance(given.path, data, out=tmp_path / "made", workers=0, **QUICK)
    for path in made.path.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path.name


def test_a_mistake_on_the_command_line_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(cli, ["rebalance", str(tmp_path / "absent"), "--out", str(tmp_path / "made")]) == MISTAKE
    shown = capsys.readouterr()
    assert "There is no run folder" in shown.err
    assert "Traceback" not in shown.err


def test_what_would_be_ignored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match="--loss is for crt, crt-warm, lws; ncm would not look at it"):
        longtail.rebalance(tmp_path, how="ncm", loss="gcl")
    (tmp_path / "run").mkdir()
    with pytest.raises(LongtailError, match="is a run, which knows its network and classes; leave --backbone away"):
        longtail.rebalance(tmp_path / "run", backbone="resnet18")
