"""A split as a file that one can commit and give back: which image belongs to which part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from longtail.data.asked import Reading
from longtail.data.parts import ImageSet
from longtail.data.sources.catalogue import PARTS, clean_part
from longtail.data.sources.joining import joined
from longtail.data.sources.places import Place
from longtail.data.sources.tables import IMAGE_COLUMNS, PART_COLUMNS, column_of, read_rows, text_of
from longtail.data.words import listed, shown
from longtail.errors import LongtailError
from longtail.text import counted

_SETTLED = ("imbalance", "profile", "selection", "group_by")


def check_settled(reading: Reading) -> None:
    """Raises LongtailError where something is asked for that a split file settles."""
    asked: Mapping[str, Any] = reading
    wrong = [f"--{name.replace('_', '-')}" for name in _SETTLED if asked.get(name) is not None]
    if isinstance(asked.get("val"), int | float):
        wrong.append("--val")
    if wrong:
        raise LongtailError(f"--split says which image belongs to which part; leave {' and '.join(wrong)} away.")


def split_by_file(images: ImageSet, path: Path) -> ImageSet:
    """The images in the parts and in the order that the file says.

    It is CSV with the columns `part` (train, validation or test) and `identity`, and perhaps `class`, which must then
    be the image's: `split.csv` of a run, or the like by hand. Images that it does not name are left out, and said.

    Raises LongtailError, with the line, for what it cannot mean, and for images that are not there.
    """
    everything = joined(list(images.parts.values()))
    index_of = {identity: index for index, identity in enumerate(everything.identities)}
    chosen: dict[str, list[int]] = {part: [] for part in PARTS}
    seen: dict[str, int] = {}
    missing: list[str] = []
    columns, rows = read_rows(Place(str(path)))
    source = f"{shown(path.name)}, line"
    part_column = column_of(columns, PART_COLUMNS, "parts", source)
    identity_column = column_of(columns, ("identity", *IMAGE_COLUMNS), "images", source)
    for line, row in rows:
        where = f"{source} {line}"
        part, identity = clean_part(text_of(row, part_column, where), where), text_of(row, identity_column, where)
        if identity in seen:
            raise LongtailError(f"{where}: {shown(identity)} stands in line {seen[identity]} already.")
        seen[identity] = line
        if identity not in index_of:
            missing.append(identity)
            continue
        index = index_of[identity]
        if "class" in columns and row["class"] != (found := images.classes[everything.labels[index]]):
            raise LongtailError(
                f"{where}: {shown(identity)} is of class {row['class']!r} there, but of {found!r} here."
            )
        chosen[part].append(index)
    if missing:
        raise LongtailError(
            f"{shown(path.name)} names {counted(len(missing), 'image')} that {images.name} has not: {listed(missing)}; "
            "put them back, or take them out of the file."
        )
    if not chosen["train"]:
        raise LongtailError(f"{shown(path.name)} has no image of the part train; a model needs some.")
    parts = {part: everything.subset(np.array(indices, dtype=np.int64)) for part, indices in chosen.items() if indices}
    sizes = ", ".join(f"{part} {len(found):,}" for part, found in parts.items())
    notes = [*images.notes, f"Split by {shown(path.name)}: {sizes}"]
    if unnamed := [identity for identity in everything.identities if identity not in seen]:
        notes.append(f"Left out, not named by the split: {counted(len(unnamed), 'image')} ({listed(unnamed)})")
    return replace(
        images, train=parts["train"], validation=parts.get("validation"), test=parts.get("test"), notes=tuple(notes)
    )
