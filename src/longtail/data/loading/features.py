"""Features of images, computed once and kept in a folder: a frozen network need not see an image twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.data.pixels import DIGEST_BYTES
from longtail.errors import LongtailError
from longtail.files import locked, write_behind, write_whole
from longtail.text import counted

_ROW = np.dtype("<f2")
_LARGEST = float(np.finfo(np.float16).max)


def planned_bytes(images: int, views: int, size: int) -> int:
    """How much room the features of so many images take, in bytes.

    >>> planned_bytes(5000, views=8, size=2048) / 2**20
    156.8603515625
    """
    return images * views * (size * _ROW.itemsize + DIGEST_BYTES)


class FeatureStore:
    """Features of images under one network, one preprocessing and one view, as rows of float16. Made by `open`.

    `values.float16` holds the rows, `images.digests` the digest of each row's image. An image counts as stored once
    its digest is there, and a digest is written after its row has reached the disk: work that is cut off leaves a
    shorter store, never a wrong row. Rows are only ever added, by one process at a time, so that several
    runs may share a folder.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        """D, the length of a row."""
        self._place: dict[bytes, int] = {}  # digest -> row

    @classmethod
    def open(cls, root: Path, key: Mapping[str, Any], size: int) -> FeatureStore:
        """The store of `key` (JSON: weights, preprocessing, augmentation, view) in a folder of its own under `root`.

        Raises:
            LongtailError: the folder cannot be made, or what it holds is damaged.
        """
        header = {"key": dict(key), "size": size, "values": "float16, little-endian, a row an image"}
        text = json.dumps(header, indent=2, sort_keys=True) + "\n"
        store = cls(root / hashlib.sha256(text.encode()).hexdigest()[:16], size)
        try:
            store.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LongtailError(f"Cannot make the folder {store.path}: {error.strerror}; give another.") from None
        with locked(store.path / "lock"):
            if not store._header.exists():
                write_whole(store._header, text.encode())
            if store._header.read_bytes() != text.encode():
                raise store._damage("key.json is not what was written")
        store._catch_up()
        return store

    @property
    def rows(self) -> int:
        """How many images are stored."""
        self._catch_up()
        return len(self._place)

    def missing(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Which of the images are not stored: places in `images` (N, 16), of equal ones the first.

        Raises:
            LongtailError: the store is damaged.
        """
        self._catch_up()
        first: dict[bytes, int] = {}
        for place, name in enumerate(_names(images)):
            if name not in self._place:
                first.setdefault(name, place)
        return np.array(list(first.values()), dtype=np.int64)

    def write(self, images: NDArray[np.uint8], values: NDArray[np.floating[Any]]) -> None:
        """Store the features `values` (N, D) of `images` (N, 16); those that are stored already stay as they are.

        Raises:
            LongtailError: a feature does not fit into float16, or the store is damaged.
        """
        if values.shape != (len(images), self.size):
            raise ValueError(f"features of shape ({len(images)}, {self.size}) are stored here, not {values.shape}")
        rows = _as_float16(values)
        with locked(self.path / "lock"):
            new = self.missing(images)
            stored = self.rows
            write_behind(self._values, stored * self._row_bytes, rows[new].tobytes())
            write_behind(self._images, stored * DIGEST_BYTES, images[new].tobytes())

    def read(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The features (N, D) of `images` (N, 16), in their order; only these rows are read from the disk.

        Raises:
            LongtailError: some are not stored, or the store is damaged.
        """
        if len(images) == 0:
            return np.zeros((0, self.size), np.float16)
        self._catch_up()
        rows = [self._place.get(name, -1) for name in _names(images)]
        if absent := rows.count(-1):
            raise LongtailError(f"{self.path} lacks the features of {counted(absent, 'image')}; compute them first.")
        values = np.memmap(self._values, _ROW, mode="r", shape=(len(self._place), self.size))
        return np.asarray(values[rows], dtype=np.float16)

    @property
    def _header(self) -> Path:
        return self.path / "key.json"

    @property
    def _values(self) -> Path:
        return self.path / "values.float16"

    @property
    def _images(self) -> Path:
        return self.path / "images.digests"

    @property
    def _row_bytes(self) -> int:
        return self.size * _ROW.itemsize

    def _catch_up(self) -> None:
        """Take note of what was stored since; a digest that a writer was cut off in is not counted."""
        known, end = len(self._place), _length(self._images) // DIGEST_BYTES
        if end < known:
            raise self._damage("images.digests became shorter")
        if _length(self._values) < end * self._row_bytes:
            raise self._damage(f"values.float16 is shorter than the {counted(end, 'row')} it should hold")
        if end > known:
            added = np.fromfile(self._images, np.uint8, (end - known) * DIGEST_BYTES, offset=known * DIGEST_BYTES)
            self._place.update(zip(_names(added.reshape(-1, DIGEST_BYTES)), range(known, end), strict=True))

    def _damage(self, what: str) -> LongtailError:
        return LongtailError(
            f"The stored features in {self.path} are damaged ({what}); remove this folder, they are computed again."
        )


def _names(images: NDArray[np.uint8]) -> list[bytes]:
    """Digests (N, 16) as N keys of a dictionary."""
    names: list[bytes] = np.ascontiguousarray(images).view(f"V{DIGEST_BYTES}").ravel().tolist()
    return names


def _as_float16(values: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):  # told below, with the way out
        rows = values.astype(_ROW)
    if not np.isfinite(rows).all():
        if np.isnan(values).any():
            raise LongtailError("A feature is not a number; the weights of the network are damaged.")
        raise LongtailError(
            f"A feature is beyond {_LARGEST:g}, the largest number of float16, and cannot be stored; use the exact "
            "form, which stores none."
        )
    return rows


def _length(path: Path) -> int:
    """In bytes; 0 where there is no file yet."""
    return path.stat().st_size if path.exists() else 0
