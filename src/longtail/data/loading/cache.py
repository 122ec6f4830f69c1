"""Keeps images decoded and resized in a folder, so that large ones are decoded once and not in every epoch.

The folder holds one folder per size. In it lies an array (.npy, never pickled) for each image, named by a hash of the
image's bytes, and `index.jsonl`, which says which image, at which place, of which length and time, had these bytes. So
a file that changed is decoded anew, and one that only moved is not. Arrays appear whole or not at all and lines are
added one at a time: a run may be killed at any moment, and several may share the folder.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from longtail.data.images.preprocessing import Preprocessing
from longtail.data.pixels import Pixels, short_hash
from longtail.errors import LongtailError

Array = NDArray[np.uint8]


class Store:
    """Arrays of decoded images in a folder.

    Raises LongtailError where the folder cannot be made or written to. A disk that fills up later costs the images that
    did not fit, not the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = folder / "index.jsonl"
        self._read = 0  # bytes of the index
        self._contents: dict[str, str] = {}  # digest of the image -> hash of its bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._index.touch()
        except OSError as error:
            raise LongtailError(f"The cache {folder} cannot be written: {error.strerror}.") from error

    def get(self, pixels: Pixels, index: int) -> Array | None:
        """The array of an image, (H, W, 3), if it is kept."""
        digest = pixels.digest(index).hex()
        if digest not in self._contents:
            self._read_on()
        if digest in self._contents:
            return self._load(self._contents[digest])
        content = short_hash(pixels.content(index)).hex()
        array = self._load(content)
        if array is not None:
            self._note(digest, content)
        return array

    def put(self, pixels: Pixels, index: int, digest: bytes, array: Array) -> None:
        """Keeps the array of an image that had this digest before it was decoded; not if it has another by now."""
        content = short_hash(pixels.content(index)).hex()
        if pixels.digest(index) == digest and _written(self._path(content), array):
            self._note(digest.hex(), content)

    def _load(self, content: str) -> Array | None:
        try:
            array: Array = np.load(self._path(content))
        except (OSError, ValueError, EOFError):
            return None
        return array if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 else None

    def _path(self, content: str) -> Path:
        return self.folder / content[:2] / f"{content}.npy"

    def _note(self, digest: str, content: str) -> None:
        self._contents[digest] = content
        line = json.dumps({"image": digest, "content": content}) + "\n"
        try:
            with self._index.open("ab", buffering=0) as file:
                file.write(line.encode())
        except OSError:
            return

    def _read_on(self) -> None:
        """What other processes have added since; a line that was cut off is passed over."""
        with self._index.open("rb") as file:
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
                self._contents[str(entry["image"])] = str(entry["content"])
            except (ValueError, KeyError, TypeError):
                continue


@dataclass(frozen=True, eq=False)
class Kept(Pixels):
    """Images of another form at the size that they are resized to for testing, kept in a folder from the first time on.

    Tested on, they give the very pixels that the files would give. Windows for training are cut from the kept, smaller
    image.
    """

    pixels: Pixels
    preprocessing: Preprocessing
    store: Store

    @classmethod
    def at(cls, folder: Path, pixels: Pixels, preprocessing: Preprocessing) -> Kept:
        """In the part of `folder` for this size. Raises LongtailError where it cannot be written to."""
        width, height = preprocessing.covering_size(*preprocessing.size[::-1])
        return cls(pixels, preprocessing, Store(folder / f"{width}x{height}-{preprocessing.interpolation}"))

    @property
    def size(self) -> tuple[int, int] | None:
        return None

    def __len__(self) -> int:
        return len(self.pixels)

    def open(self, index: int) -> Image.Image:
        array = self.store.get(self.pixels, index)
        if array is None:
            digest = self.pixels.digest(index)
            with self.pixels.open(index) as image:
                array = np.asarray(self.preprocessing.covering(image))
            self.store.put(self.pixels, index, digest, array)
        return Image.fromarray(array)

    def mark(self, index: int) -> str:
        return self.pixels.mark(index)

    def content(self, index: int) -> bytes:
        return self.pixels.content(index)

    def digest(self, index: int) -> bytes:
        return self.pixels.digest(index)

    def subset(self, indices: NDArray[np.int64]) -> Kept:
        return Kept(self.pixels.subset(indices), self.preprocessing, self.store)


def _written(path: Path, array: Array) -> bool:
    """Whether the array stands at `path` now, whole."""
    unfinished = path.with_name(f".{path.stem}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(exist_ok=True)
        with unfinished.open("wb") as file:
            np.save(file, array)
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        return False
    return True
