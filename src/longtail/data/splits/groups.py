"""Images that belong together, so that they must be on one side of a split: frames of a burst, photos of a patient."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from longtail.data.parts import ImageSet, Part
from longtail.data.sources.places import Place
from longtail.data.sources.tables import IMAGE_COLUMNS, column_of, read_rows, text_of
from longtail.data.words import listed, shown
from longtail.errors import LongtailError, unknown
from longtail.text import counted
from longtail.watching import Watcher

Groups = Mapping[str, str]
"""Identity -> what its group is called; an image without one stands alone."""

RULES = ("folder", "near-duplicate")
_COLUMNS = ("group", "groups", "cluster")


def groups_of(images: ImageSet, rule: str, watcher: Watcher) -> Groups:
    """The groups of all images, by a rule, a column of the table or a file of groups.

    `folder`: images of one folder. `near-duplicate`: images that show the same picture, from one to the next. A file
    has the columns `group` and `identity`, as `longtail describe --groups-out` writes it.

    Raises LongtailError for a rule that there is not, and for a file that is none.
    """
    if rule == "folder":
        return {identity: str(PurePosixPath(identity).parent) for identity in _identities(images)}
    if rule == "near-duplicate":
        return by_near_duplicates(images, watcher)
    if rule in images.columns:
        return {identity: value for identity, value in images.columns[rule].items() if value}
    if Path(rule).is_file():
        return _of_file(Path(rule))
    raise unknown("column, file or rule to group by", rule, (*RULES, *images.columns))


def by_near_duplicates(images: ImageSet, watcher: Watcher) -> Groups:
    """Near-identical images of all parts; images that have none are not in it."""
    from longtail.data.splits.duplicates import connected_groups, near_duplicates

    parts = list(images.parts.values())
    numbers = connected_groups(near_duplicates(parts, watcher), sum(map(len, parts)))
    sizes = np.bincount(numbers)
    names = zip(_identities(images), numbers.tolist(), strict=True)
    return {identity: f"near-duplicate {number}" for identity, number in names if sizes[number] > 1}


def numbers_of(part: Part, groups: Groups) -> NDArray[np.int64]:
    """The group of each image of a part as a number, (N,)."""
    number: dict[tuple[bool, str], int] = {}
    keys = ((identity in groups, groups.get(identity, identity)) for identity in part.identities)
    return np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)


def kept_apart(images: ImageSet, groups: Groups) -> ImageSet:
    """The set without training and validation images whose group reaches into a later part that was given.

    The test part stays as it is. Raises LongtailError where a class would lose its last training image.
    """
    test = _groups_in(images.test, groups)
    train = _without(images.train, groups, test | _groups_in(images.validation, groups))
    validation = images.validation and _without(images.validation, groups, test)
    counts = np.bincount(train.labels, minlength=len(images.classes))
    if empty := [name for name, count in zip(images.classes, counts, strict=True) if count == 0]:
        raise LongtailError(
            f"All training images of class {listed(empty)} share a group with images of a later part; move that group "
            "into one part, or group by something else."
        )
    notes = [*_gone("training", images.train, train), *_gone("validation", images.validation, validation)]
    if validation is not None and len(validation) == 0:
        validation = None
    return replace(images, train=train, validation=validation, notes=(*images.notes, *notes))


def of_one_group(part: Part, classes: Sequence[str], groups: Groups) -> list[str]:
    """Classes of several images that are all of one group, so that none can be set aside."""
    numbers = numbers_of(part, groups)
    single = []
    for label, name in enumerate(classes):
        own = numbers[part.labels == label]
        if len(own) > 1 and len(set(own.tolist())) == 1:
            single.append(name)
    return single


def groups_file(groups: Groups) -> str:
    """The text of a file of groups: a row an image, the images of one group together."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("group", "identity"))
    writer.writerows(sorted((group, identity) for identity, group in groups.items()))
    return text.getvalue()


def _of_file(path: Path) -> Groups:
    columns, rows = read_rows(Place(str(path)))
    source = f"{shown(path.name)}, line"
    group = column_of(columns, _COLUMNS, "groups", source)
    identity = column_of(columns, ("identity", *IMAGE_COLUMNS), "images", source)
    groups: dict[str, str] = {}
    for line, row in rows:
        where = f"{source} {line}"
        name, value = text_of(row, identity, where), text_of(row, group, where)
        if groups.setdefault(name, value) != value:
            raise LongtailError(f"{where}: {shown(name)} is in group {groups[name]!r} already.")
    return groups


def _identities(images: ImageSet) -> Iterable[str]:
    return (identity for part in images.parts.values() for identity in part.identities)


def _groups_in(part: Part | None, groups: Groups) -> set[str]:
    return {groups[each] for each in part.identities if each in groups} if part else set()


def _without(part: Part, groups: Groups, gone: set[str]) -> Part:
    return part.without({each: None for each in part.identities if groups.get(each) in gone})


def _gone(name: str, before: Part | None, after: Part | None) -> Iterator[str]:
    if before is not None and after is not None and len(after) < len(before):
        gone = sorted(set(before.identities) - set(after.identities))
        what = counted(len(gone), "image")
        yield f"Left out of {name}, since a later part has images of their group: {what} ({listed(gone)})"
