"""Looks for what would spoil a training or a measurement, and says how bad each finding is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from longtail.data.parts import ImageSet
from longtail.data.splits.splitting import MEASURABLE
from longtail.data.words import listed
from longtail.text import counted

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""info: worth knowing. warning: numbers may not mean what they seem to. error: training would stop."""

Rows = tuple[tuple[str, ...], ...]
"""Images or classes; those that belong together (copies of an image, labels that look alike) in one row."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found, and all that it is about."""

    id: str
    severity: Severity
    text: str
    about: Rows = ()

    def as_dict(self) -> dict[str, Any]:
        """The finding in JSON's types."""
        return {"id": self.id, "severity": self.severity, "text": self.text, "about": list(map(list, self.about))}


def audit(images: ImageSet, unreadable: Mapping[str, str]) -> Iterator[Finding]:
    """What labels, counts and files tell without looking at pixels. `unreadable` maps identity to reason."""
    if unreadable:
        text = f"{counted(len(unreadable), 'image')} cannot be read; mend or remove them, or give --bad-images drop"
        yield Finding("unreadable-image", "error", text, _single(unreadable))
    if alike := _alike(images.classes):
        some = "; ".join(", ".join(map(repr, row)) for row in alike[:5]) + ("; ..." if len(alike) > 5 else "")
        text = f"Labels that look alike are different classes ({some}); give them one name if they are one class"
        yield Finding("labels-alike", "warning", text, alike)
    few = [name for name, count in zip(images.classes, images.counts.per_class, strict=True) if count < MEASURABLE]
    if few:
        text = f"{counted(len(few), 'class')} with fewer than {MEASURABLE} training images ({listed(few)})"
        yield Finding("class-with-few-images", "info", text, _single(few))
    if missing := _missing(images, "test"):
        text = f"{counted(len(missing), 'class')} without a test image ({listed(missing)}): not measured"
        yield Finding("class-not-in-test", "warning", text, _single(missing))
    if missing := _missing(images, "validation"):
        text = f"{counted(len(missing), 'class')} without a validation image ({listed(missing)}): no choice sees them"
        yield Finding("class-not-in-validation", "info", text, _single(missing))


def _single(names: Sequence[str] | Mapping[str, str]) -> Rows:
    return tuple((name,) for name in names)


def _alike(classes: Sequence[str]) -> Rows:
    """Names that differ only in case, spaces, hyphens, underscores, or the way to write a letter.

    >>> _alike(["cat", "dog", "Cat ", "wild-cat", "wild cat"])
    (('cat', 'Cat '), ('wild-cat', 'wild cat'))
    """
    rows: dict[str, tuple[str, ...]] = {}
    for name in classes:
        bare = unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ")
        key = "".join(bare.split())
        rows[key] = (*rows.get(key, ()), name)
    return tuple(row for row in rows.values() if len(row) > 1)


def _missing(images: ImageSet, part: str) -> list[str]:
    """Classes that have no image in a part that there is."""
    if part not in images.parts:
        return []
    counts = np.bincount(images.parts[part].labels, minlength=len(images.classes))
    return [name for name, count in zip(images.classes, counts, strict=True) if count == 0]
