"""Holds the paths of a list to the folder that they are said to lie in."""

from __future__ import annotations

import os
from pathlib import Path

from longtail.data.words import shown
from longtail.errors import LongtailError


class Inside:
    """The folder that paths of a list are relative to; none leads out of it, be it by `..`, a root or a link."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root).rstrip("/")
        self._roots = (os.path.normpath(root.absolute()), self._real)
        self._known: set[str] = set()  # folders that are inside

    def name(self, path: str, where: str) -> str:
        """`path` relative to the root, without `.` and `..`; whether there is such a file is not asked.

        Raises LongtailError, with `where` the path stands, for what names no file or leads out of the root.
        """
        name = self._relative(path)
        if "\0" in path or name == ".":
            raise LongtailError(f"{where}: {path!r} is no path of an image.")
        if name == ".." or name.startswith(("../", "/")) or self._leads_out(name):
            raise LongtailError(
                f"{where}: {shown(path)} leads out of {shown(str(self.root))}; list images of that folder, or name the "
                "one that they are in with --image-root."
            )
        return name

    def _relative(self, path: str) -> str:
        normal = os.path.normpath(path).replace(os.sep, "/")
        for root in self._roots if normal.startswith("/") else ():
            if normal.startswith(f"{root}/"):
                return normal.removeprefix(f"{root}/")
        return normal

    def _leads_out(self, name: str) -> bool:
        folder = name.rpartition("/")[0]
        if folder not in self._known:
            if not self._holds(f"{self._real}/{folder}"):
                return True
            self._known.add(folder)
        path = f"{self._real}/{name}"
        return os.path.islink(path) and not self._holds(path)  # noqa: PTH114  (pathlib takes five times as long)

    def _holds(self, path: str) -> bool:
        return f"{os.path.realpath(path)}/".startswith(f"{self._real}/")
