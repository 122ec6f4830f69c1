"""Files that are there whole or not at all, whatever happens, and locks that end with the process that holds them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, though the process be killed or the power fail.

    The content reaches the disk under another name first; then the name changes, and reaches the disk too.
    """
    draft = path.with_name(path.name + ".draft")
    try:
        with _opened(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
            _write(descriptor, content)
            os.fsync(descriptor)
        draft.replace(path)
        _sync_names(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def write_behind(path: Path, end: int, content: bytes) -> None:
    """Write behind the first `end` bytes of a file, in the place of what is there; returns when it is on the disk."""
    is_new = not path.exists()
    with _opened(path, os.O_RDWR | os.O_CREAT) as descriptor:
        os.ftruncate(descriptor, end)
        os.lseek(descriptor, end, os.SEEK_SET)
        _write(descriptor, content)
        os.fsync(descriptor)
    if is_new:
        _sync_names(path.parent)


def synced_length(path: Path) -> int:
    """The length of a file in bytes, once all of it is on the disk."""
    with _opened(path, os.O_RDWR) as descriptor:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing; returns when their names are on the disk.

    Raises FileExistsError.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True)
    for folder in made:
        _sync_names(folder.parent)


def remove(path: Path) -> None:
    """Remove a file; returns when it is gone from the disk."""
    path.unlink()
    _sync_names(path.parent)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock, which the kernel releases when this process ends; child processes do not share it.

    Raises BlockingIOError if another holds it and nobody wants to wait.
    """
    with _opened(path, os.O_RDWR | os.O_CREAT) as descriptor:
        _lock(descriptor, wait)
        _HELD.add(descriptor)
        try:
            yield
        finally:
            _HELD.discard(descriptor)


_HELD: set[int] = set()
"""Descriptors of the locks held. A forked child closes them, or it would hold them on when its parent is gone."""


def _let_go_of_locks() -> None:
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_of_locks)


def _lock(descriptor: int, wait: bool) -> None:
    if sys.platform == "win32":
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except PermissionError as taken:
            raise BlockingIOError(taken.errno, taken.strerror) from None
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    """All of it: the system may take less at once."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_names(folder: Path) -> None:
    """The names in a folder reach the disk, where a system can be told so."""
    if sys.platform == "win32":
        return
    with _opened(folder, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
