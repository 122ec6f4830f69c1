"""What a process does to a folder, operation by operation: counted, recorded, refused, or the last that it does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from longtail.runs import RunFolder


class Operation(NamedTuple):
    """Something that changes a folder, or that brings a change to the disk."""

    kind: str
    """make, write, truncate, append, sync, rename, remove; of a folder make, sync, remove too."""
    path: Path
    target: Path | None = None
    """The new name of what is renamed."""


class Onlooker:
    """Is told of every operation below a folder; may raise, or end the process."""

    def before(self, operation: Operation) -> None:
        """It has not happened."""

    def middle(self, operation: Operation) -> None:
        """Half of what is to be written is written."""

    def after(self, operation: Operation) -> None:
        """It has happened."""


@contextmanager
def watched(folder: Path, onlooker: Onlooker) -> Iterator[None]:
    """Within, an onlooker sees what this process does below a folder. Nothing waits for a disk meanwhile."""
    watch = _Watch(folder.absolute(), onlooker)
    names = ("open", "close", "write", "fsync", "ftruncate", "replace", "unlink", "mkdir", "rmdir")
    watch.real = {name: getattr(os, name) for name in names} | {"add": RunFolder._add}
    mine: dict[str, Any] = {name: getattr(watch, name) for name in names}
    with patch.multiple(os, **mine), patch.object(RunFolder, "_add", lambda *arguments: watch.add(*arguments)):
        yield


class _Watch:
    """The functions of `os` that change files, and a run's log."""

    real: Mapping[str, Callable[..., Any]]

    def __init__(self, folder: Path, onlooker: Onlooker) -> None:
        self._folder, self._onlooker = folder, onlooker
        self._process = os.getpid()
        self._paths: dict[int, Path] = {}  # of the descriptors that are open

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        there = self._there(path, dir_fd)
        made = there if there and flags & os.O_CREAT and not there.exists() else None
        cut = there if there and flags & os.O_TRUNC and not made else None
        operation = Operation("make", made) if made else Operation("truncate", cut) if cut else None
        descriptor: int = self._told(operation, self.real["open"], path, flags, mode, dir_fd=dir_fd)
        if there:
            self._paths[descriptor] = there
        return descriptor

    def close(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        self.real["close"](descriptor)

    def write(self, descriptor: int, content: Any) -> int:
        path = self._paths.get(descriptor)
        if path is None or not self._mine:
            written: int = self.real["write"](descriptor, content)
            return written
        operation = Operation("write", path)
        self._onlooker.before(operation)
        done: int = self.real["write"](descriptor, content[: len(content) // 2])
        self._onlooker.middle(operation)
        done += self.real["write"](descriptor, content[done:])
        self._onlooker.after(operation)
        return done

    def fsync(self, descriptor: int) -> None:
        path = self._paths.get(descriptor)
        self._told(Operation("sync", path) if path else None, lambda: None)

    def ftruncate(self, descriptor: int, length: int) -> None:
        path = self._paths.get(descriptor)
        self._told(Operation("truncate", path) if path else None, self.real["ftruncate"], descriptor, length)

    def replace(self, source: Any, target: Any) -> None:
        there = self._there(source)
        self._told(Operation("rename", there, Path(target)) if there else None, self.real["replace"], source, target)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._remove("unlink", path, dir_fd)

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._remove("rmdir", path, dir_fd)

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        there = self._there(path)
        missing = there is not None and not there.exists()
        self._told(Operation("make", there) if there and missing else None, self.real["mkdir"], path, mode)

    def add(self, folder: RunFolder, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """An append, which Python does without `os`: its middle is what is there while the rest is taken away."""
        operation, path = Operation("append", folder.path / name), folder.path / name
        self._onlooker.before(operation)
        end = path.stat().st_size
        self.real["add"](folder, name, records)
        added = path.read_bytes()[end:]
        os.truncate(path, end + len(added) // 2)
        self._onlooker.middle(operation)
        with path.open("ab") as file:
            file.write(added[len(added) // 2 :])
        self._onlooker.after(operation)

    @property
    def _mine(self) -> bool:
        """Whether this is the process that is watched, and not one that it has started."""
        return os.getpid() == self._process

    def _there(self, path: Any, dir_fd: int | None = None) -> Path | None:
        """The path, if it is in the folder."""
        if not self._mine or isinstance(path, int):
            return None
        whole = Path(os.fsdecode(path)).absolute() if dir_fd is None else self._paths[dir_fd] / os.fsdecode(path)
        return whole if whole.is_relative_to(self._folder) else None

    def _remove(self, how: str, path: Any, dir_fd: int | None) -> None:
        there = None if dir_fd is not None and dir_fd not in self._paths else self._there(path, dir_fd)
        exists = there is not None and there.exists()
        self._told(Operation("remove", there) if there and exists else None, self.real[how], path, dir_fd=dir_fd)

    def _told(self, operation: Operation | None, do: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        if operation is None or not self._mine:
            return do(*arguments, **more)
        self._onlooker.before(operation)
        done = do(*arguments, **more)
        self._onlooker.after(operation)
        return done
