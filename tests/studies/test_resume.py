"""What was stopped goes on, and ends in the bits of the run that was not; see test_kills for ends without a warning."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree, rmtree
from typing import Any
from unittest.mock import patch

import pytest

import longtail
from longtail.data.loading.workers import Decoder
from longtail.errors import LongtailError
from longtail.interrupts import Interrupted
from longtail.runs import RunFolder
from longtail.training.loop.checkpoints import Checkpoints
from longtail.training.loop.inference import Inference
from longtail.training.planning.wishes import Wishes
from longtail.training.recipes import RECIPES
from stopping import middles, signalled, stopped, unbroken
from tiny_runs import WISHES, differing, outcome, photographs, prepared, to_the_end, train
from tiny_training import Listener

SHORT: Wishes = {"epochs": 5, "batch_size": 16}
"""Twenty steps, of which the last four are of the time when rates have fallen and weights have changed."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("data") / "photographs")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outcome of GCL that nothing happened to."""
    return to_the_end(data, tmp_path_factory.mktemp("whole") / "run", "gcl", **SHORT)


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """A run of GCL that was stopped in the middle of an epoch."""
    asked: Wishes = {**SHORT, "checkpoint_every": 0}
    stopped(data, tmp_path / "run", "gcl", 9, **asked)
    return tmp_path / "run"


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_goes_on_from_the_middle_of_every_stage(recipe: str, data: Path, tmp_path: Path) -> None:
    expected, steps = unbroken(data, tmp_path / "whole", recipe, **SHORT)
    for number in middles(steps):
        stopped(data, tmp_path / "run", recipe, number, **SHORT)
    assert differing(to_the_end(data, tmp_path / "run", recipe), expected) == []


@pytest.mark.parametrize(
    "wishes",
    [
        {"ema": 0.9},
        {"optimizer": "adamw"},
        {"clip": 0.1},
        {"accumulate": 2},
        {"workers": 2},
        {"image_size": 24, "schedule": "cosine", "warm_up": 2},
        {"views": 3},
    ],
    ids=lambda wishes: ", ".join(wishes),
)
def test_whatever_was_asked_for_goes_on(wishes: Wishes, data: Path, tmp_path: Path) -> None:
    asked: Wishes = {**SHORT, **wishes}
    expected, steps = unbroken(data, tmp_path / "whole", "gcl", **asked)
    for number in middles(steps):
        stopped(data, tmp_path / "run", "gcl", number, **asked)
    assert differing(to_the_end(data, tmp_path / "run", "gcl", **asked), expected) == []


def test_images_in_memory_go_on(tmp_path: Path) -> None:
    asked: Wishes = {"epochs": 1, "batch_size": 32}
    expected, steps = unbroken(None, tmp_path / "whole", "gcl", **asked)
    for number in middles(steps):
        stopped(None, tmp_path / "run", "gcl", number, **asked)
    assert differing(to_the_end(None, tmp_path / "run", "gcl"), expected) == []


def test_a_stop_after_every_single_step(data: Path, whole: dict[str, str], tmp_path: Path) -> None:
    for _ in range(24):
        stopped(data, tmp_path / "run", "gcl", 0, **SHORT)
    assert differing(to_the_end(data, tmp_path / "run", "gcl"), whole) == []


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [
        (Decoder, "__getitems__", 12),  # of a batch
        (Inference, "predict", 3),  # of validation images
        (Inference, "predict", 6),  # of test images
        (RunFolder, "add_epoch", 2),
        (Checkpoints, "save", 7),  # in a step
        (Checkpoints, "save", 25),  # between the stages
        (RunFolder, "write_weights", 0),
        (RunFolder, "write_metrics", 0),
    ],
)
def test_a_signal_at_any_other_time(
    owner: type, name: str, number: int, data: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    asked: Wishes = {**SHORT, "checkpoint_every": 0}
    with signalled(number, owner, name), pytest.raises(Interrupted):
        to_the_end(data, tmp_path / "run", "gcl", **asked)
    assert differing(to_the_end(data, tmp_path / "run", "gcl"), whole) == []


def test_it_is_said_where_it_goes_on(run: Path, whole: dict[str, str]) -> None:
    listener = Listener()
    with prepared(run):
        longtail.resume(run, watcher=listener)
    assert "Going on from the last checkpoint: step 1 of the recipe, epoch 2, 2 steps into it" in listener.lines
    assert differing(outcome(run), whole) == []


def test_the_note_of_a_stop_says_how_to_go_on(data: Path, tmp_path: Path) -> None:
    stop = stopped(data, tmp_path / "run", "ce", 3, **SHORT)
    assert stop.exit_code == 143
    assert stop.__notes__ == [f"Go on with: longtail train --resume {tmp_path / 'run'}"]


def test_a_finished_run_says_so_and_is_returned(run: Path, data: Path) -> None:
    expected, listener = to_the_end(data, run, "gcl"), Listener()
    done = longtail.resume(run, watcher=listener)
    assert listener.lines == [f"{run} is finished."]
    assert done.path == run
    assert outcome(run) == expected


def test_a_run_without_a_checkpoint_starts_anew(run: Path, whole: dict[str, str], data: Path) -> None:
    rmtree(run / "unfinished/checkpoints")
    assert differing(to_the_end(data, run, "gcl"), whole) == []


def test_two_jobs_on_one_run_the_second_refuses(data: Path, tmp_path: Path) -> None:
    class Other(Listener):
        """Comes while the run is under way."""

        def say(self, line: str) -> None:
            super().say(line)
            with pytest.raises(LongtailError, match=f"Another process is at work on {tmp_path / 'run'}; let it end"):
                longtail.resume(tmp_path / "run")
            with pytest.raises(LongtailError, match="run exists already"):
                train(data, tmp_path / "run", "ce")

    other, asked = Other(), dict[str, Any]({**WISHES, **SHORT})
    with prepared(tmp_path / "run"):
        longtail.train(data, recipe="ce", out=tmp_path / "run", watcher=other, **asked)
    assert len(other.lines) > 5


def test_other_images_are_refused(run: Path, data: Path, whole: dict[str, str], tmp_path: Path) -> None:
    copytree(data, tmp_path / "changed")
    (tmp_path / "changed/train/ant/0.jpg").unlink()
    with prepared(run), pytest.raises(LongtailError, match="are not those that the run began with") as refusal:
        longtail.resume(run, data=tmp_path / "changed")
    assert len(str(refusal.value).splitlines()) == 1
    assert differing(to_the_end(data, run, "gcl"), whole) == []  # that did no harm


def test_images_may_have_moved(run: Path, data: Path, whole: dict[str, str], tmp_path: Path) -> None:
    copytree(data, tmp_path / "photographs")  # they are called as they were
    with prepared(run):
        longtail.resume(run, data=tmp_path / "photographs")
    assert differing(outcome(run), whole) == []


def test_relative_paths_start_where_it_was_asked(
    data: Path, whole: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photographs").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    stopped(Path("photographs"), Path("run"), "gcl", 9, **SHORT)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with prepared(tmp_path / "run"):
        longtail.resume(Path("..") / "run")
    assert differing(outcome(tmp_path / "run"), whole) == []
    assert Path.cwd() == tmp_path / "elsewhere"


def test_the_engine_of_the_beginning_is_used_again(
    run: Path, data: Path, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from longtail.training import engine

    other = not engine._cpu_has_bfloat16()
    monkeypatch.setattr(engine, "_cpu_has_bfloat16", lambda: other)
    assert differing(to_the_end(data, run, "gcl"), whole) == []


def test_a_damaged_checkpoint_is_told_and_the_one_before_used(run: Path, whole: dict[str, str]) -> None:
    older, newer = sorted((run / "unfinished/checkpoints").glob("*.safetensors"))
    newer.write_bytes(newer.read_bytes()[:-1] + b"?")
    listener = Listener()
    with prepared(run):
        longtail.resume(run, watcher=listener)
    assert f"Checkpoint {newer.name} is damaged; going on from the one before, {older.name}" in listener.lines
    assert differing(outcome(run), whole) == []


def test_if_all_are_damaged_nothing_is_touched(run: Path, data: Path) -> None:
    for path in (run / "unfinished/checkpoints").glob("*.safetensors"):
        path.write_bytes(b"")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(LongtailError, match=r"^Every checkpoint in .* is damaged; remove that folder to start"):
        to_the_end(data, run, "gcl")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_log_that_lost_lines_is_not_gone_on_with(run: Path, data: Path) -> None:
    (run / "steps.jsonl").write_bytes(b"")
    with pytest.raises(LongtailError, match=r"steps.jsonl has lost lines since the last checkpoint; restore it"):
        to_the_end(data, run, "gcl")


def test_rate_and_clipping_may_change(run: Path, data: Path) -> None:
    with prepared(run):
        longtail.resume(run, lr=0.001, clip=0.5)
    rates = {line["lr"] for line in RunFolder(run).steps if line["stage"] == 1}
    assert min(rates) <= 0.001 < max(rates)
    assert RunFolder(run).config["stages"][0]["clip"] == 0.5


def test_a_stop_while_an_unreadable_test_image_is_left_out(data: Path, tmp_path: Path) -> None:
    """The configuration has lost the image then, though the training began with it."""
    copytree(data, tmp_path / "photographs")
    broken = tmp_path / "photographs/test/bee/3.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    asked: Wishes = {**SHORT, "bad_images": "drop"}
    expected = to_the_end(tmp_path / "photographs", tmp_path / "whole", "ce", **asked)
    with patch.object(RunFolder, "write_predictions", side_effect=Interrupted(15)), pytest.raises(Interrupted):
        to_the_end(tmp_path / "photographs", tmp_path / "run", "ce", **asked)
    assert RunFolder(tmp_path / "run").config["data"]["test_images"] == 11
    assert differing(to_the_end(tmp_path / "photographs", tmp_path / "run", "ce"), expected) == []


def test_unreadable_images_stay_left_out(data: Path, tmp_path: Path) -> None:
    copytree(data, tmp_path / "photographs")
    broken = tmp_path / "photographs/train/bee/3.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    asked: Wishes = {**SHORT, "bad_images": "drop"}
    expected, steps = unbroken(tmp_path / "photographs", tmp_path / "whole", "gcl", **asked)
    for number in middles(steps):
        stopped(tmp_path / "photographs", tmp_path / "run", "gcl", number, **asked)
    assert differing(to_the_end(tmp_path / "photographs", tmp_path / "run", "gcl"), expected) == []
    assert "3.jpg" in str(RunFolder(tmp_path / "run").config["data"]["notes"])
    assert RunFolder(tmp_path / "run").config["data"]["counts"] == [40, 15, 8]
