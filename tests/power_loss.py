"""Everything that a power cut may leave of a folder: a model of what a disk promises.

A file begins with the bytes that nothing has touched since it was last synced; what was written behind them is there,
or half of it, or as zeros, or is still what it was. A name is there as it was when its folder was last synced; of the
changes since any may be lost. Nothing else is promised, least of all an order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, combinations, product
from pathlib import Path
from typing import NamedTuple

from operations import Onlooker, Operation

Found = dict[Path, bytes | None]
"""Path within the folder -> content; None for a folder."""
FOLDER = -1


class _Change(NamedTuple):
    """Of the names in a folder."""

    name: Path
    thing: int | None
    """Number of the file that has the name then, FOLDER, or None where it is gone."""


class Disk(Onlooker):
    """What is on the disk for certain, and what may be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[Path, int] = {}  # as the process sees them
        self._synced_names: dict[Path, int] = {}
        self._changes: dict[Path, list[list[_Change]]] = defaultdict(list)  # folder -> since it was synced
        self._contents: list[list[bytes]] = []  # of every file that there ever was: when it was synced, and since
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            self._names[name] = FOLDER if path.is_dir() else self._new(path.read_bytes())
        self._synced_names |= self._names
        self.left: list[list[Found]] = [list(self._possible())]
        """What a cut may leave, after each operation."""

    def middle(self, operation: Operation) -> None:
        self._happened(operation)

    def after(self, operation: Operation) -> None:
        self._happened(operation)

    def _happened(self, operation: Operation) -> None:
        name = operation.path.relative_to(self._folder)
        if operation.kind == "make":
            self._change(_Change(name, FOLDER if operation.path.is_dir() else self._new(b"")))
        elif operation.kind == "remove":
            self._change(_Change(name, None))
        elif operation.kind == "rename":
            assert operation.target is not None
            target = operation.target.relative_to(self._folder)
            self._change(_Change(name, None), _Change(target, self._names[name]))
        elif operation.kind == "sync":
            self._sync(name)
        else:
            self._contents[self._names[name]].append(operation.path.read_bytes())
        self.left.append(list(self._possible()))

    def _new(self, content: bytes) -> int:
        self._contents.append([content])
        return len(self._contents) - 1

    def _change(self, *changes: _Change) -> None:
        """Changes of names that happen together, or not at all."""
        self._changes[changes[0].name.parent].append(list(changes))
        _apply(changes, self._names)

    def _sync(self, name: Path) -> None:
        if name == Path() or self._names[name] == FOLDER:
            for changes in self._changes.pop(name, []):
                _apply(changes, self._synced_names)
        else:
            del self._contents[self._names[name]][:-1]

    def _possible(self) -> Iterator[Found]:
        for kept in _subsets([change for changes in self._changes.values() for change in changes]):
            names = dict(self._synced_names)
            for changes in kept:
                _apply(changes, names)
            names = {name: thing for name, thing in names.items() if _reachable(name, names)}
            things = sorted({thing for thing in names.values() if thing != FOLDER})
            for contents in product(*map(self._contents_of, things)):
                found = dict(zip(things, contents, strict=True))
                yield {name: found.get(thing) for name, thing in names.items()}

    def _contents_of(self, thing: int) -> set[bytes]:
        versions = self._contents[thing]
        if len(versions) == 1:
            return set(versions)
        certain = versions[0][: min(_alike(versions[0], version) for version in versions)]
        synced, now = (version[len(certain) :] for version in (versions[0], versions[-1]))
        return {certain + rest for rest in (synced, now, now[: len(now) // 2], bytes(len(now)))}


def lay_out(found: Found, folder: Path) -> Path:
    """Make a folder that looks like this."""
    folder.mkdir()
    for name, content in sorted(found.items()):
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
    return folder


def _apply(changes: Iterable[_Change], names: dict[Path, int]) -> None:
    for name, thing in changes:
        if thing is None:
            names.pop(name, None)
        else:
            names[name] = thing


def _alike(one: bytes, other: bytes) -> int:
    """How many bytes two begin with that are the same."""
    lengths = range(min(len(one), len(other)) + 1)
    return bisect_right(lengths, False, key=lambda length: one[:length] != other[:length]) - 1


def _reachable(name: Path, names: dict[Path, int]) -> bool:
    return all(names.get(above) == FOLDER for above in list(name.parents)[:-1])


def _subsets(changes: list[list[_Change]]) -> Iterable[tuple[list[_Change], ...]]:
    return chain.from_iterable(combinations(changes, size) for size in range(len(changes) + 1))
