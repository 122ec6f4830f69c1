"""Several processes at once: what they give, how they are told of, and that none outlives the others' failure."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

import longtail
from calls import add, refuse, vanish, wait_for_a_signal, where
from longtail.data.images.reading import UnreadableImages
from longtail.errors import LongtailError
from longtail.studies import jobs
from longtail.studies.jobs import Call, Share, shares, side_by_side
from longtail.watching import Task, Watcher
from processes import PRELOADED
from tiny_training import coloured

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes begin in another way")
TWO = (Share(None, 1), Share(None, 1))


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    """Where processes come from, with all that takes long to import."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    ensure_running()


class Diary(Watcher):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def say(self, line: str) -> None:
        self.entries.append(line)

    def task(self, name: str, total: int, unit: str) -> Task:
        self.entries.append(f"{name} of {total} {unit}")
        return _Chapter(self.entries, name)


class _Chapter(Task):
    def __init__(self, entries: list[str], name: str) -> None:
        self._entries, self._name = entries, name

    def advance(self, done: int, **facts: float) -> None:
        self._entries.append(f"{self._name}: {done} {facts}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entries.append(f"{self._name}: {'ended' if error is None else 'broken off'}")


def test_every_call_gives_its_result_and_tells_its_story() -> None:
    diary = Diary()
    calls = [Call(f"sum {number}", add, (number, 10)) for number in range(4)]
    found = {call.name: result for call, result in side_by_side(calls, TWO, diary)}
    assert found == {f"sum {number}": number + 10 for number in range(4)}
    for number in range(4):
        name = f"sum {number}: adding"
        story = [entry for entry in diary.entries if entry.startswith(f"sum {number}")]
        assert story == [
            f"sum {number}: adding now",
            f"{name} of 2 numbers",
            f"{name}: 1 {{'sum': {number}}}",
            f"{name}: 1 {{'sum': {number + 10}}}",
            f"{name}: ended",
        ]
        assert f"{number} and 10" in diary.entries


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins nothing")
def test_a_process_keeps_to_its_share() -> None:
    core = max(os.sched_getaffinity(0))
    ((_, (cores, threads, reached)),) = side_by_side([Call("where", where, ())], [Share((core,), 1)])
    assert (cores, threads) == ([core], 1)
    assert not reached, "Ctrl-C is the parent's to answer"


def test_the_cores_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_cores", lambda: [3, 4, 5, 9, 11])
    assert shares(2, on_processor=True) == [Share((3, 4, 5), 3), Share((9, 11), 2)]
    assert shares(5, on_processor=True) == [Share((core,), 1) for core in (3, 4, 5, 9, 11)]
    assert shares(2, on_processor=False) == [Share(None, 2)] * 2
    assert shares(8, on_processor=False) == [Share(None, 1)] * 8
    with pytest.raises(LongtailError, match=r"6 runs at a time would share 5 cores, .* --jobs 5"):
        shares(6, on_processor=True)


def started(ended: Iterator[object], notes: Path) -> int:
    """The process of `wait_for_a_signal`, when it waits."""
    next(ended)
    while not notes.exists() or not notes.read_text():
        pass
    return int(notes.read_text())


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (Call("second", refuse, ("no such thing",)), "^no such thing$"),
        (Call("second", vanish, ()), "^second ended before it was done, with exit code -9"),
    ],
)
def test_when_one_fails_the_others_are_asked_to_end(tmp_path: Path, second: Call, words: str) -> None:
    notes, diary = tmp_path / "notes", Diary()
    ended = side_by_side(
        [Call("waits", wait_for_a_signal, (str(notes),)), Call("first", add, (1, 2)), second], TWO, diary
    )
    process = started(ended, notes)
    with pytest.raises(LongtailError, match=words):
        next(ended)
    assert notes.read_text() == "SIGTERM"
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert ("second: vanishing: broken off" in diary.entries) == (second.function is vanish)


def test_closing_ends_all(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    ended = side_by_side([Call("waits", wait_for_a_signal, (str(notes),)), Call("adds", add, (1, 2))], TWO)
    started(ended, notes)
    ended.close()
    assert notes.read_text() == "SIGTERM"


def test_runs_at_once_are_the_runs_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_cores", lambda: sorted(os.sched_getaffinity(0)) * 2)  # of a machine with one core
    together, alone = (
        longtail.compare(recipes=("ce", "ldam_drw"), epochs=1, device="cpu", jobs=number, out=tmp_path / str(number))
        for number in (2, 1)
    )
    for row in alone.comparison["rows"]:
        names = [study.path / row["run"] / "model.safetensors" for study in (together, alone)]
        assert names[0].read_bytes() == names[1].read_bytes()
    strip = [[{**row, "train_seconds": 0} for row in study.comparison["rows"]] for study in (together, alone)]
    assert strip[0] == strip[1]
    assert not (together.path / "unfinished").exists()


def test_an_image_that_one_run_cannot_read_is_left_out_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_cores", lambda: sorted(os.sched_getaffinity(0)) * 2)
    photos = coloured(tmp_path / "photos", {"a": 12, "b": 8}, side=8)
    whole = (photos / "a" / "3.png").read_bytes()
    (photos / "a" / "3.png").write_bytes(whole[:-60])
    words: Any = {"data": photos, "recipes": ("ce", "ldam_drw"), "epochs": 1, "device": "cpu", "jobs": 2}
    with pytest.raises(UnreadableImages, match=r"3\.png"):
        longtail.compare(**words, out=tmp_path / "refused")
    study = longtail.compare(**words, bad_images="drop", out=tmp_path / "study")
    for row in study.comparison["rows"]:
        trained = {line["identity"] for line in longtail.load(study.path / row["run"]).folder.split}
        assert "a/2.png" in trained
        assert "a/3.png" not in trained


def test_jobs_must_be_at_least_one() -> None:
    with pytest.raises(LongtailError, match="--jobs must be at least 1, not 0"):
        longtail.compare(jobs=0)
