"""Checkpoints: what is written is read as it was, or it is said that it is damaged, or it does not count."""

from __future__ import annotations

import errno
import hashlib
import subprocess
from pathlib import Path
from shutil import rmtree, which

import pytest
import torch

from damage import KINDS, bits, check_damaged
from longtail.errors import LongtailError
from longtail.training.loop.checkpoints import KEPT, Checkpoint, Checkpoints, Position
from operations import Onlooker, Operation, watched
from power_loss import Disk, lay_out

TENSORS = {
    "classifier.weight": torch.arange(6.0).reshape(2, 3).t(),  # not contiguous
    "classifier.count": torch.tensor(7),
    "optimizer.0.momentum": torch.full((4,), torch.nan),
}


def at(step: int, stage: int = 1, epoch: int = 0, **facts: object) -> Checkpoint:
    tensors = {**TENSORS, "classifier.step": torch.tensor(float(step))}
    return Checkpoint(Position(stage, epoch, step), tensors, {"head": {"kind": "linear"}, **facts})


def newest(folder: Path) -> Checkpoint:
    lines: list[str] = []
    checkpoint = Checkpoints(folder).newest(lines.append)
    assert checkpoint is not None
    assert lines == []
    return checkpoint


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", images="of the fingerprint")
    checkpoints.save(at(5, stage=2, epoch=3, logs={"steps.jsonl": 17}))
    read = newest(tmp_path / "checkpoints")
    assert read.position == (2, 3, 5)
    assert bits(read.tensors) == bits(at(5).tensors)
    assert read.facts.keys() == {"head", "logs", "images", "seconds"}
    assert read.facts["images"] == "of the fingerprint"
    assert read.facts["head"] == {"kind": "linear"}
    assert read.facts["logs"] == {"steps.jsonl": 17}


def test_the_newest_few_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    places = [(1, 0, 9), (1, 0, 10), (1, 2, 0), (2, 0, 0), (10, 0, 0), (10, 0, 1)]
    for stage, epoch, step in places:
        checkpoints.save(at(step, stage, epoch))
        assert newest(tmp_path).position == (stage, epoch, step)
    assert len(list(tmp_path.iterdir())) == 2 * KEPT
    (tmp_path / "stage010-epoch000000-step000000001.safetensors").write_bytes(b"")
    lines: list[str] = []
    found = Checkpoints(tmp_path).newest(lines.append)
    assert found is not None
    assert found.position == (10, 0, 0)


def test_rests_of_killed_saves_go_with_the_next(tmp_path: Path) -> None:
    rests = ["stage001-epoch000000-step000000002.safetensors", "stage001-epoch000000-step000000003.safetensors.draft"]
    Checkpoints(tmp_path).save(at(1))
    for name in rests:
        (tmp_path / name).write_bytes(b"half of a checkpoint")
    assert newest(tmp_path).position.step == 1
    Checkpoints(tmp_path).save(at(4))
    assert {path.name for path in tmp_path.iterdir()}.isdisjoint(rests)
    assert len(list(tmp_path.iterdir())) == 4


def test_the_hash_is_what_other_programs_compute(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save(at(1))
    (seal,) = tmp_path.glob("*.sha256")
    digest, name = seal.read_text().split()
    assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    if which("sha256sum"):
        check = ["sha256sum", "--check", "--strict", seal.name]
        assert subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == f"{name}: OK\n"


def test_a_training_that_has_not_moved_writes_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(at(1))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    checkpoints.save(at(1))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_nothing_where_none_was_ever_written(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "absent").newest(print) is None
    (tmp_path / "stage001-epoch000000-step000000001.safetensors").write_bytes(b"a save that was cut off")
    assert Checkpoints(tmp_path).newest(print) is None


def test_it_is_time_again_after_so_many_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("longtail.training.loop.checkpoints.time.monotonic", lambda: now)
    checkpoints = Checkpoints(tmp_path, every=60, _saved=now, _begun=now)
    now = 159.0
    assert not checkpoints.due
    now = 160.0
    assert checkpoints.due
    checkpoints.save(at(1))
    assert not checkpoints.due
    assert Checkpoints(tmp_path, every=0, _saved=now).due

    now = 1000.0  # another process goes on, 840 seconds later
    again = Checkpoints(tmp_path)
    again.start_clock(again.newest(print))
    now = 1010.0
    assert again.seconds == 70


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for step in (1, 2):
        Checkpoints(folder).save(at(step))
    return folder


def test_no_damage_goes_unnoticed(two: Path) -> None:
    """Of each kind at least twice; benchmarks/crash.py looks at ten thousand."""
    tally = check_damaged(two, 400, seed=0)
    assert tally.total() == 400
    assert tally.keys() == set(KINDS)


def test_if_all_are_damaged_one_sentence_says_so(tmp_path: Path) -> None:
    for step in (1, 2):
        Checkpoints(tmp_path).save(at(step))
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LongtailError, match=f"^Every checkpoint in {tmp_path} is damaged; remove that folder to start"):
        Checkpoints(tmp_path).newest(print)
    assert len(list(tmp_path.iterdir())) == 4  # nothing is thrown away


def test_one_of_another_version_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longtail.training.loop.checkpoints.FORMAT", "0")
    Checkpoints(tmp_path).save(at(1))
    monkeypatch.undo()
    with pytest.raises(LongtailError, match="was written by another version of longtail; go on with that one"):
        Checkpoints(tmp_path).newest(print)


def test_whatever_a_power_cut_leaves_there_is_one_to_go_on_from(tmp_path: Path) -> None:
    """The one before until the save returns, then the new one; none is ever found damaged."""
    (tmp_path / "run").mkdir()
    disk = Disk(tmp_path / "run")
    saved = []
    with watched(tmp_path / "run", disk):
        checkpoints = Checkpoints(tmp_path / "run/checkpoints")
        for step in range(1, 5):
            checkpoints.save(at(step))
            saved.append(len(disk.left) - 1)
    seen: dict[frozenset[tuple[Path, bytes | None]], int] = {}
    for moment, left in enumerate(disk.left):
        done = sum(moment >= end for end in saved)
        for found in left:
            state = frozenset(found.items())
            if state not in seen:
                seen[state] = step_to_go_on_from(lay_out(found, tmp_path / "found"))
            assert seen[state] == done or (seen[state] == done + 1 and moment not in saved)
    assert len(seen) > 50


def step_to_go_on_from(folder: Path) -> int:
    """Found without a complaint in the folder, which is gone then; 0 is the beginning."""
    lines: list[str] = []
    checkpoint = Checkpoints(folder / "checkpoints").newest(lines.append)
    rmtree(folder)
    assert lines == []
    if checkpoint is None:
        return 0
    assert bits(checkpoint.tensors) == bits(at(checkpoint.position.step).tensors)
    return checkpoint.position.step


class Refusing(Onlooker):
    """A disk that refuses one operation, of this number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def before(self, operation: Operation) -> None:
        self.left -= 1
        if self.left == -1:
            raise OSError(errno.EIO, "Input/output error")


def test_a_save_that_fails_anywhere_leaves_the_one_before(tmp_path: Path) -> None:
    refused = 0
    for number in range(100):
        folder = tmp_path / str(number)
        for step in (1, 2):
            Checkpoints(folder).save(at(step))
        disk = Refusing(number)
        try:
            with watched(folder, disk):
                Checkpoints(folder).save(at(3))
        except OSError:
            refused += 1
        assert newest(folder).position.step >= 2
        Checkpoints(folder).save(at(4))
        assert newest(folder).position.step == 4
        if disk.left >= 0:
            break
    assert refused == number > 10
