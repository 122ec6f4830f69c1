"""Image files on another machine, named by a table that lies beside them; each is fetched when it is needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from posixpath import normpath

import numpy as np
from numpy.typing import NDArray

from longtail.data.sources.encoded import Encoded, reason_of_system
from longtail.data.sources.places import Place
from longtail.errors import LongtailError


@dataclass(frozen=True, eq=False)
class RemoteFiles(Encoded):
    """Image files by names below a URL."""

    root: str
    names: NDArray[np.object_]  # (N,) str
    common_size: tuple[int, int] | None = None
    is_far: bool = True

    def __len__(self) -> int:
        return len(self.names)

    def content(self, index: int) -> bytes:
        with reason_of_system(), Place(f"{self.root}/{self.names[index]}").open() as file:
            return file.read()

    def mark(self, index: int) -> str:
        return ""

    def subset(self, indices: NDArray[np.int64]) -> RemoteFiles:
        return replace(self, names=self.names[indices])


def name_below(path: str, where: str) -> str:
    """`path` without `.` and `..`, relative to the table's URL. Raises LongtailError for one that leads out of it."""
    name = normpath(path)
    if name in {".", ".."} or name.startswith(("../", "/")) or "://" in path or "\0" in path:
        raise LongtailError(f"{where}: {path!r} leads out of the table's folder; list images below it.")
    return name
