"""Bytes of a file here or, through fsspec, on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from longtail.data.images.headers import Headers
from longtail.data.sources.extras import library
from longtail.data.words import shown
from longtail.errors import LongtailError


def is_remote(place: str | Path) -> bool:
    """Whether a place is a URL rather than a path.

    >>> is_remote("s3://bucket/train.csv"), is_remote("photos/train.csv")
    (True, False)
    """
    return "://" in str(place)


UNREAD = Headers(None, {})
"""Of images on another machine, where each would cost a request: no common size, none known as unreadable."""


@dataclass(frozen=True)
class Place:
    """A file by its path or URL."""

    where: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.where.rstrip("/").rpartition("/")[2]

    @property
    def folder(self) -> str:
        """What stands before the name."""
        return self.where.rstrip("/").rpartition("/")[0]

    @property
    def suffix(self) -> str:
        """The end of the name, in lower case, with its dot."""
        return Path(self.name).suffix.lower()

    def open(self) -> BinaryIO:
        """The file for reading, at its begin. Raises LongtailError for one that cannot be read."""
        try:
            if not is_remote(self.where):
                return Path(self.where).open("rb")
            system, path = self._remote()
            return cast("BinaryIO", system.open(path, "rb"))
        except OSError as error:
            raise LongtailError(f"{shown(self.where)} cannot be read: {error.strerror or error}.") from error

    def state(self) -> tuple[int, str]:
        """Bytes, and what changes when the file does. Raises LongtailError for a file that is not there."""
        try:
            if not is_remote(self.where):
                status = Path(self.where).stat()
                return status.st_size, str(status.st_mtime_ns)
            system, path = self._remote()
            facts = system.info(path)
        except OSError as error:
            raise LongtailError(f"{shown(self.where)} cannot be read: {error.strerror or error}.") from error
        changed = next(
            (str(facts[key]) for key in ("ETag", "etag", "mtime", "LastModified", "created") if key in facts), ""
        )
        return int(facts["size"]), changed

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes of the file. Raises OSError."""
        if is_remote(self.where):
            system, path = self._remote()
            return cast("bytes", system.cat_file(path, start=start, end=start + length))
        with Path(self.where).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def _remote(self) -> tuple[Any, str]:
        fsspec = library("fsspec", "remote", f"Reading {shown(self.where)}")
        try:
            system, path = fsspec.core.url_to_fs(self.where)
        except (ValueError, ImportError) as error:
            raise LongtailError(f"{shown(self.where)} cannot be reached: {error}.") from error
        return system, path
