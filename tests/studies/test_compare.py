from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import longtail
from longtail.data.parts import ImageSet
from longtail.errors import LongtailError
from longtail.studies import carrying_out as job
from longtail.studies.compare import Study
from longtail.studies.sitting import Sitting
from longtail.training.planning.wishes import Wishes
from tiny_training import counting


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return longtail.compare(out=tmp_path_factory.mktemp("studies") / "digits", epochs=1, seeds=2, device="cpu")


def test_every_recipe_meets_every_seed_on_one_split(study: Study) -> None:
    rows = study.comparison["rows"]
    assert {(row["recipe"], row["seed"]) for row in rows} == {("ce", 0), ("gcl", 0), ("ce", 1), ("gcl", 1)}
    runs = [longtail.load(study.path / row["run"]) for row in rows]
    assert len({run.folder.config["data"]["fingerprint"] for run in runs}) == 1


def test_rows_are_the_runs_own_metrics(study: Study) -> None:
    for row in study.comparison["rows"]:
        metrics = longtail.load(study.path / row["run"]).metrics
        assert metrics is not None
        assert row["accuracy"] == metrics["accuracy"]
        assert row["few"] == metrics["groups"]["few"]["accuracy"]


def test_a_comparison_is_its_runs_side_by_side(study: Study, tmp_path: Path) -> None:
    alone = longtail.train(recipe="gcl", seed=1, epochs=1, out=tmp_path / "alone", device="cpu")
    together = study.folder.run("gcl", 1)
    assert alone.folder.weights.read_bytes() == together.weights.read_bytes()


def test_on_a_frozen_backbone_no_image_is_seen_twice(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counting(monkeypatch)
    monkeypatch.setattr("longtail.report.page.write_run_page", lambda path: None)  # two seconds of drawing
    weights = str(study.folder.run("ce", 0).weights)
    names = ("ce", "balanced_softmax", "gcl")
    frozen = longtail.compare(
        recipes=names, freeze=True, weights=weights, epochs=1, views=3, out=tmp_path / "study", device="cpu"
    )
    assert sum(seen) == 3 * 384 + 1413
    assert [row["recipe"] for row in frozen.comparison["rows"]] == list(names)
    given = state_of(study.folder.run("ce", 0).path)
    for row in frozen.comparison["rows"]:
        tensors = state_of(frozen.path / row["run"])
        assert all(torch.equal(tensors[name], given[name]) for name in given if name.startswith("backbone."))
        assert any(not torch.equal(tensors[name], given[name]) for name in tensors if name.startswith("head."))
        assert not (frozen.path / row["run"] / "features").exists()


def state_of(path: Path) -> dict[str, Tensor]:
    return {**longtail.load(path).model.state_dict()}


def test_finished_runs_are_kept_when_a_later_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_into = job.train_into

    def failing(sitting: Sitting, images: ImageSet, recipe: str, seed: int, wishes: Wishes) -> object:
        if recipe == "gcl":
            raise RuntimeError("the machine is on fire")
        return train_into(sitting, images, recipe, seed, wishes)

    monkeypatch.setattr("longtail.studies.part.train_into", failing)
    with pytest.raises(RuntimeError) as error:
        longtail.compare(out=tmp_path / "study", epochs=1)
    assert error.value.__notes__ == [f"Go on with: longtail compare --resume {tmp_path / 'study'}"]
    assert {path.name for path in (tmp_path / "study").iterdir()} == {"ce-seed0", "unfinished"}
    with pytest.raises(RuntimeError):
        longtail.compare(out=tmp_path / "other", epochs=1, recipes=("gcl", "ce"))
    assert not (tmp_path / "other").exists()


def test_ones_own_recipe_from_elsewhere_stays_in_the_study(tmp_path: Path) -> None:
    own = tmp_path / "elsewhere"
    own.mkdir()
    (own / "mine.py").write_text("from longtail.training.recipes import ce as plain\n")
    recipes = ("ce", f"{own / 'mine.py'}:plain")
    study = longtail.compare(recipes=recipes, epochs=1, out=tmp_path / "study", device="cpu")
    folders = {path.name for path in study.path.iterdir() if path.is_dir()}
    assert folders == {"ce-seed0", "plain-seed0"}
    assert {path.name for path in own.iterdir()} <= {"mine.py", "__pycache__"}
    assert study.comparison["recipes"] == ["ce", "plain"]
    for path in study.path.rglob("*.*"):
        assert str(tmp_path).encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"recipes": ["gcl"]}, "at least two different recipes"),
        ({"recipes": ["ce", "ce"]}, "at least two different recipes"),
        ({"recipes": ["gcl", "mine.py:gcl"]}, "at least two different recipes"),
        ({"recipes": ["ce", "gcll"]}, "did you mean gcl"),
        ({"seeds": 0}, "--seeds must be at least 1"),
    ],
)
def test_what_cannot_be_compared_is_said(asked: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=sentence):
        longtail.compare(out=tmp_path / "study", **asked)  # type: ignore[arg-type]
    assert not (tmp_path / "study").exists()
