from __future__ import annotations

from pathlib import Path

import pytest

import longtail
from longtail.errors import LongtailError
from longtail.studies import train as job
from longtail.studies.compare import Study


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


def test_finished_runs_are_kept_when_a_later_one_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_into = job.train_into

    def interrupted(path: Path, images: object, recipe: str, *rest: object) -> object:
        if recipe == "gcl":
            raise KeyboardInterrupt
        return train_into(path, images, recipe, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("longtail.studies.compare.train_into", interrupted)
    with pytest.raises(KeyboardInterrupt):
        longtail.compare(out=tmp_path / "study", epochs=1)
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["ce-seed0"]
    with pytest.raises(KeyboardInterrupt):
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
