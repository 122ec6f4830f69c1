"""Labelled images as a list has them, and how they become an image set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from longtail.data.images.headers import Headers
from longtail.data.parts import ImageSet, Kind, Part
from longtail.data.pixels import Pixels
from longtail.data.sources.finding import PART_FOLDERS
from longtail.data.words import listed, printable, shown
from longtail.errors import LongtailError
from longtail.text import counted

PARTS = ("train", "validation", "test")
SMALL_SIDE = 64  # pixels; one common size up to here makes a set of small images


class Entry(NamedTuple):
    """One image of a list."""

    image: str  # what it is named by: a path, a key, a number
    label: str
    part: str  # of PARTS
    source: str  # what the place is called: "photos.csv, line"
    number: int
    columns: Mapping[str, str] = {}  # what else a table says of it

    @property
    def where(self) -> str:
        """The place, for a sentence."""
        return f"{self.source} {self.number}"


def image_set(
    name: str,
    entries: Sequence[Entry],
    pixels: Pixels,
    headers: Headers,
    *,
    notes: Iterable[str] = (),
    names: Mapping[str, str] | None = None,
) -> ImageSet:
    """The set of N entries and their pixels; entries of one part keep their order.

    Args:
        name: of the set.
        entries: N, each image once.
        pixels: of the N images.
        headers: what these tell, by the entries' `image`.
        notes: what was found, a line each.
        names: label to class name, in the order of the classes; by default the labels of the training part, in the
            order of their numbers if they are whole numbers.

    Raises:
        LongtailError: an image stands twice, training has no image, or another part has a label that training has not.
    """
    check_unique(entries)
    train = {entry.label for entry in entries if entry.part == "train"}
    if not train:
        raise LongtailError(f"{name} has no training images; the part train needs some.")
    names = names or {label: label for label in in_order(train)}
    _check_known(entries, train)
    number = {label: index for index, label in enumerate(names)}
    labels = np.array([number[entry.label] for entry in entries], dtype=np.int64)
    identities = tuple(printable(entry.image) for entry in entries)
    everything = Part(labels, identities, pixels)
    of_part = np.array([PARTS.index(entry.part) for entry in entries])
    parts = {part: np.flatnonzero(of_part == index) for index, part in enumerate(PARTS)}
    columns = {column for entry in entries[:1] for column in entry.columns}
    return ImageSet(
        name=printable(name),
        kind=kind_of(headers),
        classes=tuple(names.values()),
        train=everything.subset(parts["train"]),
        validation=everything.subset(parts["validation"]) if len(parts["validation"]) else None,
        test=everything.subset(parts["test"]) if len(parts["test"]) else None,
        notes=(*notes, sizes_in_words(headers)),
        unreadable={printable(image): reason for image, reason in headers.unreadable.items()},
        columns={
            column: {identity: entry.columns[column] for identity, entry in zip(identities, entries, strict=True)}
            for column in sorted(columns)
        },
    )


def check_unique(entries: Iterable[Entry]) -> None:
    """Raises LongtailError for an image that stands twice."""
    first: dict[str, Entry] = {}
    for entry in entries:
        earlier = first.setdefault(entry.image, entry)
        if earlier is not entry:
            raise LongtailError(
                f"{entry.where}: {shown(entry.image)} stands at {earlier.where} already; list every image once."
            )


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels as classes are ordered: by number where all are whole numbers, else by code points.

    >>> in_order(["10", "9"]), in_order(["10", "9", "b"])
    (['9', '10'], ['10', '9', 'b'])
    """
    labels = list(labels)
    if all(label.isdecimal() and label.isascii() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def clean_label(label: str, where: str) -> str:
    """A label as a class name. Raises LongtailError for one that is empty or no text."""
    if not label.strip():
        raise LongtailError(f"{where} has no label; give the image's class.")
    return clean_text(label, where)


def clean_text(text: str, where: str) -> str:
    """What a list says, as valid text. Raises LongtailError for half characters."""
    try:
        return printable(text)
    except UnicodeEncodeError:
        raise LongtailError(f"{where} holds {text!r}, which is no text; write it in UTF-8.") from None


def clean_part(part: str, where: str) -> str:
    """The part that a list's word names. Raises LongtailError for a word that names none."""
    known = PART_FOLDERS.get(part.strip().lower())
    if known is None:
        raise LongtailError(f"{where}: {part!r} is no part; the parts are {', '.join(PARTS)} (or val).")
    return known


def parts_in_words(entries: Iterable[Entry]) -> str:
    """Images of each part: `train 10, test 4`."""
    parts = [entry.part for entry in entries]
    return ", ".join(f"{part} {parts.count(part):,}" for part in PARTS if part in parts)


def kind_of(headers: Headers) -> Kind:
    """Small images where all have one size of up to `SMALL_SIDE` pixels, else photographs."""
    return "small" if headers.size and max(headers.size) <= SMALL_SIDE else "photographs"


def sizes_in_words(headers: Headers) -> str:
    """The line that says what the headers told."""
    if headers.size is None:
        return "Photographs: their sizes differ"
    size = f"all have {headers.size[1]} x {headers.size[0]} pixels"
    return f"Small images: {size}" if kind_of(headers) == "small" else f"Photographs: {size}, more than {SMALL_SIDE}"


def _check_known(entries: Iterable[Entry], train: set[str]) -> None:
    for entry in entries:
        if entry.label not in train:
            raise LongtailError(
                f"{entry.where}: the label {entry.label!r} of the {entry.part} part is on no training image; "
                f"training has {counted(len(train), 'class')} ({listed(in_order(train))})."
            )
