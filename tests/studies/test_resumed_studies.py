"""Comparisons and second stages that were stopped: what is finished stays as it is, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import longtail
from longtail.errors import LongtailError
from longtail.interrupts import Interrupted
from longtail.studies.compare import Study
from stopping import signalled
from tiny_runs import WISHES, differing, outcome, photographs, prepared, to_the_end

FIRST: dict[str, Any] = {**WISHES, "epochs": 5, "batch_size": 16}
SECOND: dict[str, Any] = {"epochs": 4, "batch_size": 16, "device": "cpu", "workers": 0}
STEPS = 20  # of a first stage


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("data") / "photographs")


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "run"
    to_the_end(data, folder, "gcl", epochs=5, batch_size=16)
    return folder


def whole_and_stopped(job: Callable[[Path], object], number: int, folder: Path) -> Interrupted:
    """Do a job in `whole`, and in `stopped` until after so many steps."""
    with prepared(folder / "whole"):
        job(folder / "whole")
    with prepared(folder / "stopped"), signalled(number), pytest.raises(Interrupted) as stop:
        job(folder / "stopped")
    return stop.value


def times(folder: Path) -> dict[str, int]:
    """When each file was last written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def rows(study: Path) -> list[dict[str, Any]]:
    """The table of a comparison, without its times."""
    table = longtail.resume(study)
    assert isinstance(table, Study)
    return [{key: value for key, value in row.items() if key != "train_seconds"} for row in table.comparison["rows"]]


def test_a_comparison_goes_on(data: Path, tmp_path: Path) -> None:
    def compare(path: Path) -> None:
        longtail.compare(data, recipes=("ce", "gcl"), out=path, **FIRST)

    whole, study = tmp_path / "whole", tmp_path / "stopped"
    stop = whole_and_stopped(compare, STEPS + 9, tmp_path)
    assert stop.__notes__[-1] == f"Go on with: longtail compare --resume {study}"
    finished = times(study / "ce-seed0")
    with prepared(study):
        longtail.resume(study)
    assert times(study / "ce-seed0") == finished
    for name in ("ce-seed0", "gcl-seed0"):
        assert differing(outcome(study / name), outcome(whole / name)) == []
    assert rows(study) == rows(whole)
    assert {path.name for path in study.iterdir()} == {path.name for path in whole.iterdir()}


def test_a_comparison_of_second_stages_goes_on(data: Path, model: Path, tmp_path: Path) -> None:
    def compare(path: Path) -> None:
        longtail.compare_rebalanced(model, data, how=("tau-norm", "crt"), out=path, **SECOND)

    whole, study = tmp_path / "whole", tmp_path / "stopped"
    whole_and_stopped(compare, 6, tmp_path)
    with pytest.raises(LongtailError, match=f"crt-cben-seed0 is part of a comparison; go on with that, in {study}"):
        longtail.resume(study / "crt-cben-seed0")
    with prepared(study):
        longtail.resume(study)
    names = {path.name for path in whole.glob("*-seed0")}
    assert {name.partition("-")[0] for name in names} == {"before", "tau", "crt"}
    for name in names:
        assert differing(outcome(study / name), outcome(whole / name)) == []
    assert rows(study) == rows(whole)


@pytest.mark.parametrize("how", ["crt", "mislas"])
def test_a_second_stage_goes_on(how: str, data: Path, model: Path, tmp_path: Path) -> None:
    def rebalance(path: Path) -> None:
        longtail.rebalance(model, data, how=how, out=path, **SECOND)

    whole_and_stopped(rebalance, 6, tmp_path)
    with prepared(tmp_path / "stopped"):
        longtail.resume(tmp_path / "stopped")
    assert differing(outcome(tmp_path / "stopped"), outcome(tmp_path / "whole")) == []
