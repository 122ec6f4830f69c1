"""The folder of a run that is under way: what was asked, who is at work, what is left when something goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longtail.counts import ShotBorders
from longtail.errors import LongtailError
from longtail.files import locked
from longtail.interrupts import Interrupted
from longtail.unfinished import Request, Unfinished, begin, begin_or_go_on, go_on

ASKED = Request("train", {"data": None, "recipe": "gcl", "seed": 3}, "/somewhere")


def checkpoint(work: Unfinished) -> None:
    """Something to go on from."""
    work.checkpoints.mkdir(exist_ok=True)
    (work.checkpoints / "stage001.safetensors").write_bytes(b"weights")


def fail(path: Path, error: BaseException, *, after: bool) -> None:
    """Begin a run that fails, before or after its first checkpoint."""
    with begin(path, ASKED) as work:
        if after:
            checkpoint(work)
        raise error


def test_what_was_asked_is_kept_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    borders = ShotBorders(100.0, 20.0)
    asked = Request.here("train", data=Path("photos"), seed=0, epochs=None, lr=0.1, shot_borders=borders)
    plain = {"data": "photos", "seed": 0, "epochs": None, "lr": 0.1, "shot_borders": [100.0, 20.0]}
    assert asked == Request("train", plain, str(tmp_path))
    work = Unfinished(tmp_path / "run")
    work.path.mkdir(parents=True)
    work.write(asked)
    assert work.request == asked
    with pytest.raises(TypeError, match="cannot be kept as data"):
        Request.here("train", data=object())


def test_a_run_that_ends_well_leaves_nothing_of_its_work(tmp_path: Path) -> None:
    with begin(tmp_path / "runs/mine", ASKED) as work:
        assert work.request == ASKED
        checkpoint(work)
        (work.run / "metrics.json").write_text("{}")
    assert [path.name for path in (tmp_path / "runs/mine").iterdir()] == ["metrics.json"]


def test_a_folder_that_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/precious").touch()
    with pytest.raises(LongtailError, match="run exists already; give another --out, or remove it"):
        fail(tmp_path / "run", OSError("never reached"), after=False)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["precious"]


def test_a_mistake_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match="no such recipe") as mistake:
        fail(tmp_path / "runs/deep/mine", LongtailError("no such recipe"), after=False)
    assert list(tmp_path.iterdir()) == []
    assert not hasattr(mistake.value, "__notes__")


@pytest.mark.parametrize("error", [LongtailError("the loss is nan"), OSError("full"), Interrupted(15)])
def test_what_there_is_to_go_on_from_stays_and_it_is_said_how(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as found:
        fail(tmp_path / "run", error, after=True)
    assert found.value.__notes__ == [f"Go on with: longtail train --resume {tmp_path / 'run'}"]
    with go_on(tmp_path / "run") as work:
        assert work.request == ASKED
        assert work.worth_keeping
    assert list((tmp_path / "run").iterdir()) == []


def test_a_signal_before_the_first_checkpoint_keeps_what_was_asked(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stop:
        fail(tmp_path / "run", Interrupted(15), after=False)
    assert stop.value.__notes__ == [f"Go on with: longtail train --resume {tmp_path / 'run'}"]
    assert Unfinished(tmp_path / "run").request == ASKED


@pytest.mark.parametrize("function", ["compare", "compare_rebalanced"])
def test_a_comparison_goes_on_by_its_own_command(function: str, tmp_path: Path) -> None:
    work = Unfinished(tmp_path)
    work.path.mkdir()
    work.write(ASKED._replace(function=function))
    assert work.how_to_go_on == f"Go on with: longtail compare --resume {tmp_path}"


def test_a_finished_run_of_a_study_is_worth_keeping(tmp_path: Path) -> None:
    work = Unfinished(tmp_path)
    work.path.mkdir()
    assert not work.worth_keeping
    (tmp_path / "ce-seed0").mkdir()
    (tmp_path / "ce-seed0/model.safetensors").touch()
    assert work.worth_keeping


def test_two_cannot_work_on_one_run(tmp_path: Path) -> None:
    with begin(tmp_path / "run", ASKED):
        with pytest.raises(LongtailError, match=f"Another process is at work on {tmp_path / 'run'}; let it end"):
            go_on(tmp_path / "run").__enter__()
        assert Unfinished(tmp_path / "run").asked


@pytest.mark.parametrize("error", [Interrupted(15), OSError("full")])
def test_what_was_stopped_once_more_says_it_once_more(error: BaseException, tmp_path: Path) -> None:
    def fail_again() -> None:
        with go_on(tmp_path / "run"):
            raise error

    with pytest.raises(OSError, match="once"):
        fail(tmp_path / "run", OSError("once"), after=True)
    with pytest.raises(type(error)) as found:
        fail_again()
    assert found.value.__notes__ == [f"Go on with: longtail train --resume {tmp_path / 'run'}"]
    assert Unfinished(tmp_path / "run").asked


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "is not the folder of an unfinished run; longtail train makes one"),
        (["metrics.json"], "is not the folder of an unfinished run; longtail train makes one"),
        (["unfinished/lock"], "was stopped before it had begun; remove it, and ask for it again"),
    ],
)
def test_where_nothing_was_asked_there_is_nothing_to_go_on_with(
    files: list[str], sentence: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(LongtailError, match=f"{tmp_path} {sentence}"):
        go_on(tmp_path).__enter__()
    assert not (tmp_path / "unfinished/request.json").exists()


def test_images_to_leave_out_add_up_and_end_what_was_learnt_with_them(tmp_path: Path) -> None:
    with begin(tmp_path / "run", ASKED) as work:
        checkpoint(work)
        work.leave_out({"ant/1.jpg": "truncated"})
        assert not work.checkpoints.exists()
        checkpoint(work)
        work.leave_out({"bee/2.jpg": "empty"})
        assert work.request == ASKED._replace(left_out={"ant/1.jpg": "truncated", "bee/2.jpg": "empty"})


class TestAStudy:
    """Its runs are begun, gone on with, or left as they are."""

    def test_begins_what_is_not_there(self, tmp_path: Path) -> None:
        with begin_or_go_on(tmp_path / "run", ASKED) as work:
            assert work is not None
            assert work.request == ASKED

    def test_goes_on_with_what_was_stopped(self, tmp_path: Path) -> None:
        with pytest.raises(Interrupted):
            fail(tmp_path / "run", Interrupted(15), after=True)
        with begin_or_go_on(tmp_path / "run", ASKED) as work:
            assert work is not None
            assert work.worth_keeping

    @pytest.mark.parametrize("left", [[], ["unfinished/lock"], ["unfinished/request.json.draft"]])
    def test_begins_anew_what_had_not_begun(self, left: list[str], tmp_path: Path) -> None:
        (tmp_path / "run/unfinished").mkdir(parents=True)
        for name in left:
            (tmp_path / "run" / name).touch()
        with begin_or_go_on(tmp_path / "run", ASKED) as work:
            assert work is not None
            assert json.loads((work.path / "request.json").read_text())["function"] == "train"

    def test_leaves_alone_what_is_finished_but_for_rests(self, tmp_path: Path) -> None:
        (tmp_path / "run/unfinished/checkpoints").mkdir(parents=True)
        (tmp_path / "run/model.safetensors").write_bytes(b"weights")
        with begin_or_go_on(tmp_path / "run", ASKED) as work:
            assert work is None
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["model.safetensors"]

    def test_waits_for_nobody(self, tmp_path: Path) -> None:
        with begin(tmp_path / "run", ASKED), pytest.raises(LongtailError, match="Another process is at work"):
            begin_or_go_on(tmp_path / "run", ASKED).__enter__()


def test_only_one_process_of_several_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        fail(tmp_path / "run", Interrupted(15), after=True)
    monkeypatch.setenv("RANK", "1")
    with locked(tmp_path / "run/unfinished/lock"), go_on(tmp_path / "run") as work:
        assert work.request == ASKED
    assert work.asked  # the first process ends it
