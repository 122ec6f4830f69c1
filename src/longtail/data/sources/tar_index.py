"""What is in a tar shard, and where: read once from the headers of its members, nothing unpacked.

WebDataset's naming: members whose names agree up to the first dot are one sample. Of a sample only the image, `.cls`
and `.json` are looked at.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Self

from longtail.data.images.reading import SUFFIXES
from longtail.data.sources.catalogue import clean_label
from longtail.data.sources.places import Place
from longtail.data.sources.tables import LABEL_COLUMNS
from longtail.data.words import printable, shown
from longtail.errors import LongtailError

LABEL_LIMIT = 1_000_000  # bytes of a .cls or .json
_BLOCK = 512
_REST = 1 << 20


@dataclass
class ShardIndex:
    """The N samples of a shard in the order of their images, and what was passed over."""

    names: list[str] = field(default_factory=list)  # of the images' members
    offsets: list[int] = field(default_factory=list)  # bytes
    lengths: list[int] = field(default_factory=list)  # bytes
    labels: list[str] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)  # suffix -> members

    def as_dict(self) -> dict[str, Any]:
        """The index in JSON's types."""
        return asdict(self)

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """The index that `as_dict` wrote. Raises TypeError or ValueError for what it did not write."""
        index = cls(**content)
        if len({len(index.names), len(index.offsets), len(index.lengths), len(index.labels)}) != 1:
            raise ValueError("columns of different lengths")
        return index


@dataclass
class _Sample:
    image: str | None = None
    offset: int = 0
    length: int = 0
    cls: str | None = None
    json: str | None = None


def index_shard(place: Place) -> ShardIndex:
    """Read the headers of all members. Raises LongtailError for what is no tar file, damaged, or without labels."""
    size, _ = place.state()
    with place.open() as file:
        try:
            samples, passed_over = _samples(file, size, place)
        except LongtailError:
            raise
        except Exception as error:  # a parser of foreign bytes may raise anything
            raise LongtailError(
                f"{shown(place.where)} is no whole tar file ({error}); shards are uncompressed .tar files."
            ) from error
    index = ShardIndex(passed_over=dict(passed_over))
    for key, sample in samples.items():
        where = f"{shown(place.name)}, sample {shown(key)}"
        if sample.image is None:
            index.passed_over["labels without an image"] = index.passed_over.get("labels without an image", 0) + 1
            continue
        index.names.append(sample.image)
        index.offsets.append(sample.offset)
        index.lengths.append(sample.length)
        index.labels.append(_label(sample, where))
    return index


def _samples(file: BinaryIO, size: int, place: Place) -> tuple[dict[str, _Sample], Counter[str]]:
    samples: dict[str, _Sample] = {}
    passed_over: Counter[str] = Counter()
    last = -1
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            if member.offset <= last or member.size < 0 or member.offset_data + member.size > size:
                raise LongtailError(
                    f"{shown(place.where)} is damaged or cut short at byte {max(last, 0)}; pack it again."
                )
            last = member.offset
            vars(tar)["members"].clear()  # else millions of headers stay in memory
            if member.isdir() or _is_hidden(member.name):
                continue
            key, kind = _key_and_kind(member.name)
            if not member.isreg() or member.sparse is not None or kind not in {"image", ".cls", ".json"}:
                passed_over[_suffix(member.name)] += 1
                continue
            sample = samples.setdefault(key, _Sample())
            if kind == "image":
                if sample.image is not None:
                    raise LongtailError(
                        f"{shown(place.name)}, sample {shown(key)} has two images, {shown(sample.image)} and "
                        f"{shown(printable(member.name))}; a sample is one image."
                    )
                sample.image, sample.offset, sample.length = printable(member.name), member.offset_data, member.size
            elif member.size <= LABEL_LIMIT:
                file.seek(member.offset_data)
                setattr(sample, kind[1:], file.read(member.size).decode("utf-8", "surrogateescape"))
        _check_end(file, tar.offset, place)
    return samples, passed_over


def _check_end(file: BinaryIO, end: int, place: Place) -> None:
    """After the last member there are zeros only; tarfile takes a damaged header for the end."""
    file.seek(end)
    while rest := file.read(_REST):
        if rest.strip(b"\0"):
            raise LongtailError(
                f"{shown(place.where)} is damaged at byte {end}, or another archive begins there; pack it again."
            )


def _label(sample: _Sample, where: str) -> str:
    if sample.cls is not None:
        return clean_label(sample.cls.strip(), where)
    if sample.json is None:
        raise LongtailError(f"{where} has no label; it takes a .cls or a .json with one beside the image.")
    try:
        content = json.loads(sample.json)
    except (ValueError, RecursionError) as error:
        raise LongtailError(f"{where}: its .json is none: {error}.") from error
    if isinstance(content, dict):
        content = next((content[name] for name in LABEL_COLUMNS if name in content), None)
    if not isinstance(content, str | int) or isinstance(content, bool):
        raise LongtailError(f"{where}: its .json has no label ({', '.join(LABEL_COLUMNS)}).")
    return clean_label(str(content), where)


def _key_and_kind(name: str) -> tuple[str, str]:
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    kind = f".{suffix}".lower()
    return printable(folder + slash + stem), "image" if dot and kind in SUFFIXES else kind


def _suffix(name: str) -> str:
    _, dot, suffix = name.rpartition("/")[2].partition(".")
    return printable(f".{suffix}".lower()) if dot else "without suffix"


def _is_hidden(name: str) -> bool:
    return any((part.startswith(".") and part not in {".", ".."}) or part == "__MACOSX" for part in name.split("/"))
