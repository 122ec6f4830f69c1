"""Images in tar shards, read where they lie: by offset, without unpacking."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from longtail.data.images.headers import headers_of
from longtail.data.images.reading import UnreadableImage, open_image
from longtail.data.parts import ImageSet
from longtail.data.sources.catalogue import Entry, image_set, parts_in_words
from longtail.data.sources.encoded import Encoded, reason_of_system
from longtail.data.sources.finding import PART_FOLDERS
from longtail.data.sources.places import UNREAD, Place, is_remote
from longtail.data.sources.tar_index import ShardIndex, index_shard
from longtail.data.words import listed, shown
from longtail.errors import LongtailError
from longtail.text import counted
from longtail.watching import Watcher

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 100_000
_INDEX_VERSION = 1
_PEEK = 16_384  # bytes, that hold the header of most images


@dataclass(frozen=True, eq=False)
class InShards(Encoded):
    """Images inside tar files: which file, where in it, how long."""

    places: tuple[Place, ...]
    shard: NDArray[np.int64]  # (N,) of `places`
    offsets: NDArray[np.int64]  # (N,) bytes
    lengths: NDArray[np.int64]  # (N,) bytes
    common_size: tuple[int, int] | None = None
    is_far: bool = False

    def __len__(self) -> int:
        return len(self.shard)

    def content(self, index: int) -> bytes:
        length = int(self.lengths[index])
        with reason_of_system():
            found: bytes = self.places[self.shard[index]].read(int(self.offsets[index]), length)
        if len(found) < length:
            raise UnreadableImage("the shard ends within the image")
        return found

    def peek(self, index: int) -> Image.Image:
        """As `open`, from the first bytes where these suffice; only the header of the result can be used."""
        with suppress(OSError, UnreadableImage):
            first = self.places[self.shard[index]].read(int(self.offsets[index]), _PEEK)
            return open_image(BytesIO(first[: self.lengths[index]]))
        return self.open(index)

    def mark(self, index: int) -> str:
        return f"{self.lengths[index]} bytes"

    def subset(self, indices: NDArray[np.int64]) -> InShards:
        return replace(self, shard=self.shard[indices], offsets=self.offsets[indices], lengths=self.lengths[indices])


def open_shards(data: str | Path, kept: Path | None, watcher: Watcher) -> ImageSet:
    """The images of a .tar file, of `name-{0000..0012}.tar`, or of a folder of .tar files.

    In a folder the parts are told by the beginning of the names (train-0000.tar, test-0000.tar) or by folders train/,
    val/, test/; else all is one part. An image's identity is its shard's name with its own. What lies where is counted
    once; `kept` is a folder to keep it in.

    Raises LongtailError for shards that are not there or damaged, and for samples without a label.
    """
    shards = _shards(data)
    places = [Place(where) for where, _ in shards]
    indices = _indices(places, kept, watcher)
    entries = [
        Entry(f"{place.name}/{name}", label, part, f"{shown(place.name)}, image", number)
        for place, (_, part), index in zip(places, shards, indices, strict=True)
        for number, (name, label) in enumerate(zip(index.names, index.labels, strict=True), start=1)
    ]
    if not entries:
        raise LongtailError(f"{shown(str(data))} holds no images; a shard has them with a .cls or .json beside each.")
    pixels = InShards(
        tuple(places),
        np.repeat(np.arange(len(places)), [len(index.names) for index in indices]),
        np.array([offset for index in indices for offset in index.offsets], dtype=np.int64),
        np.array([length for index in indices for length in index.lengths], dtype=np.int64),
        is_far=any(is_remote(place.where) for place in places),
    )
    headers = UNREAD if pixels.is_far else headers_of([entry.image for entry in entries], pixels.peek, watcher)
    notes = _notes(entries, indices)
    return image_set(_name(data), entries, replace(pixels, common_size=headers.size), headers, notes=notes)


def is_range(data: str | Path) -> bool:
    """Whether it is said how the shards are called: `name-{0000..0012}.tar`."""
    return str(data).lower().endswith(".tar") and _RANGE.search(str(data)) is not None


def shards_in(folder: Path) -> list[Path]:
    """The .tar files of a folder and of its folders train/, val/ and test/, by name."""
    folders = [
        folder,
        *(path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower() in PART_FOLDERS),
    ]
    return [
        path
        for each in folders
        for path in sorted(each.iterdir())
        if path.suffix.lower() == ".tar" and not path.name.startswith(".") and path.is_file()
    ]


def _shards(data: str | Path) -> list[tuple[str, str]]:
    """Path or URL of every shard, and its part."""
    if not is_remote(data) and Path(data).is_dir():
        paths = shards_in(Path(data))
        found = [str(path) for path in paths]
        parts = [_part(path.relative_to(data)) for path in paths]
    else:
        found = list(_expanded(str(data)))
        parts = [_part(Path(Place(where).name)) for where in found]
    if any(parts) and not all(parts):
        odd = [Place(where).name for where, part in zip(found, parts, strict=True) if not part]
        raise LongtailError(
            f"{listed(odd)} of {shown(str(data))} belong to no part; their names begin with train-, val- or test-."
        )
    names = Counter(Place(where).name for where in found)
    if twice := [name for name, count in names.items() if count > 1]:
        raise LongtailError(f"{shown(str(data))} has several shards called {listed(twice)}; rename all but one.")
    return [(where, part or "train") for where, part in zip(found, parts, strict=True)]


def _part(path: Path) -> str | None:
    """By the first word of the name, or by the folder."""
    return PART_FOLDERS.get(re.split(r"[-_.]", path.name)[0].lower()) or PART_FOLDERS.get(path.parent.name.lower())


def _expanded(text: str) -> Iterator[str]:
    """`a-{00..02}.tar` as a-00.tar, a-01.tar, a-02.tar."""
    match = _RANGE.search(text)
    if match is None:
        yield text
        return
    first, last = int(match[1]), int(match[2])
    if not first <= last < first + _MOST_SHARDS:
        raise LongtailError(f"{match[0]} is no range of shards, as in {{0000..0012}}.")
    for number in range(first, last + 1):
        yield from _expanded(f"{text[: match.start()]}{number:0{len(match[1])}}{text[match.end() :]}")


def _indices(places: Sequence[Place], kept: Path | None, watcher: Watcher) -> list[ShardIndex]:
    indices = []
    with watcher.task("Counting shards", len(places), "shards") as task:
        for place in places:
            indices.append(index_shard(place) if kept is None else _kept_index(place, kept))
            task.advance(1)
    return indices


def _kept_index(place: Place, folder: Path) -> ShardIndex:
    """The index from the folder where it is that of this shard as it is now; else made and put there."""
    state = [_INDEX_VERSION, *place.state()]
    where = place.where if is_remote(place.where) else str(Path(place.where).absolute())
    path = (
        folder / f"shard-{hashlib.blake2b(where.encode('utf-8', 'surrogateescape'), digest_size=12).hexdigest()}.json"
    )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["state"] == state:
            return ShardIndex.of(content["index"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    index = index_shard(place)
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"state": state, "index": index.as_dict()}), encoding="utf-8")
    draft.replace(path)
    return index


def _notes(entries: Sequence[Entry], indices: Sequence[ShardIndex]) -> Iterator[str]:
    classes = len({entry.label for entry in entries})
    yield (
        f"Data: {counted(len(indices), 'tar shard')} with {len(entries):,} images of {counted(classes, 'class')} "
        f"({parts_in_words(entries)})"
    )
    passed_over: Counter[str] = Counter()
    for index in indices:
        passed_over.update(index.passed_over)
    if passed_over:
        suffixes = ", ".join(f"{shown(suffix)} {count}" for suffix, count in passed_over.most_common(8))
        yield f"Left out, neither images nor labels: {counted(passed_over.total(), 'member')} ({suffixes})"


def _name(data: str | Path) -> str:
    name = Place(str(data)).name if is_remote(data) or not Path(data).is_dir() else Path(data).resolve().name
    return re.sub(r"[-_.]*(\{.*\})?\.tar$", "", name) or "shards"
