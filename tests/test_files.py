"""Files that are whole or not there, after every cut of the power; and locks that end with their holder."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from longtail.files import locked, make_folder, remove, synced_length, write_behind, write_whole
from operations import Onlooker, Operation, watched
from power_loss import Disk

OLD, NEW = b"what was there before", b"what is to be there from now on"
FILE = Path("file")


def test_the_old_or_the_new_whatever_is_lost(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(OLD)
    disk = Disk(tmp_path)
    with watched(tmp_path, disk):
        write_whole(tmp_path / FILE, NEW)
    assert len(disk.left) > 5
    assert {found[FILE] for left in disk.left for found in left} == {OLD, NEW}
    assert {found[FILE] for found in disk.left[-1]} == {NEW}


def test_nothing_or_the_whole_of_a_file_that_was_not_there(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    with watched(tmp_path, disk):
        write_whole(tmp_path / FILE, NEW)
    assert {found.get(FILE) for left in disk.left for found in left} == {None, NEW}
    assert disk.left[-1] == [{FILE: NEW}]


def test_what_is_written_behind_an_end_leaves_what_is_before_it(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    with watched(tmp_path, disk):
        write_behind(tmp_path / FILE, 0, b"row 1")
        first = len(disk.left) - 1
        write_behind(tmp_path / FILE, 5, b"half of a row that was cut off")
        write_behind(tmp_path / FILE, 5, b"row 2")
    assert all((found[FILE] or b"").startswith(b"row 1") for left in disk.left[first:] for found in left)
    assert disk.left[first] == [{FILE: b"row 1"}]
    assert disk.left[-1] == [{FILE: b"row 1row 2"}]


def test_folders_stay_and_what_is_removed_is_gone(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    with watched(tmp_path, disk):
        make_folder(tmp_path / "above/folder")
        empty = {Path("above"): None, Path("above/folder"): None}
        assert disk.left[-1] == [empty]
        write_whole(tmp_path / "above/folder" / FILE, NEW)
        remove(tmp_path / "above/folder" / FILE)
    assert disk.left[-1] == [empty]
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "above")


def test_the_length_that_is_told_is_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    disk = Disk(tmp_path)
    with watched(tmp_path, disk):
        descriptor = os.open(tmp_path / FILE, os.O_WRONLY)
        os.write(descriptor, NEW)
        os.close(descriptor)
        assert len(disk.left[-1]) > 1
        assert synced_length(tmp_path / FILE) == len(NEW)
    assert disk.left[-1] == [{FILE: NEW}]


class Full(Onlooker):
    """A disk that takes nothing any more from this operation on, before or in the middle of it."""

    def __init__(self, number: int, moment: str) -> None:
        self._left, self._moment = number, moment

    def before(self, operation: Operation) -> None:
        self._left -= 1
        self._refuse(operation, "before")

    def middle(self, operation: Operation) -> None:
        self._refuse(operation, "middle")

    def _refuse(self, operation: Operation, moment: str) -> None:
        if self._left < 0 and self._moment == moment and operation.kind != "remove":
            raise OSError(errno.ENOSPC, "No space left on device", str(operation.path))


@pytest.mark.parametrize(("number", "moment"), [*((n, "before") for n in range(4)), (1, "middle")])
def test_a_refused_write_leaves_the_old_file_and_no_draft(number: int, moment: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(OLD)
    with watched(tmp_path, Full(number, moment)), pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / FILE, NEW)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": OLD}


def test_a_system_that_takes_less_at_once_gets_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:3]))
    write_whole(tmp_path / FILE, NEW)
    assert (tmp_path / FILE).read_bytes() == NEW


HOLD = """
import os, sys
from pathlib import Path
from longtail.files import locked
with locked(Path(sys.argv[1]), wait=sys.argv[2] == "wait"):
    print("held", flush=True)
    if sys.argv[2] == "with a child" and os.fork() == 0:
        print(os.getpid(), flush=True)
    sys.stdin.read()
"""
"""Holds a lock until its standard input ends, as a child that it may have does too."""


@contextmanager
def holder(path: Path, how: str = "at once") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(path), how]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        yield process
        process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_one_process_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as first:
        assert said(first) == "held"
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        with holder(path) as second:
            assert "BlockingIOError" in second.communicate()[1]
        with holder(path, "wait") as third:
            first.communicate()  # its standard input ends
            assert said(third) == "held"
    with locked(path, wait=False), pytest.raises(BlockingIOError), locked(path, wait=False):
        pass


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        assert said(process) == "held"
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked(path, wait=False):
            pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_child_does_not_hold_on_to_the_lock_of_its_parent(tmp_path: Path) -> None:
    """As a worker that decodes images lives on for seconds when the training is killed."""
    path = tmp_path / "lock"
    with holder(path, "with a child") as process:
        assert said(process) == "held"
        child = int(said(process))
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(child, 0)  # it lives
        with locked(path, wait=False):
            pass


def test_two_locks_held_by_one_process_are_let_go_one_by_one(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with locked(one), locked(other):
        pass
    with locked(one):
        with locked(other), holder(one) as third:
            assert "BlockingIOError" in third.communicate()[1]
        with holder(other) as fourth:
            assert said(fourth) == "held"
