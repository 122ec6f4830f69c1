"""What is in a data set, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from longtail.counts import SHOT_GROUPS, ClassCounts, ShotBorders, ShotGroup
from longtail.data.asked import Reading
from longtail.data.audit.copies import identical, is_far, near_identical
from longtail.data.audit.findings import SEVERITIES, Finding, Severity, audit
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import UnreadableImages
from longtail.data.loading.advice import advice
from longtail.data.loading.loader import Loader
from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.data.pixels import InMemory
from longtail.data.splits.groups import by_near_duplicates, groups_file
from longtail.data.words import shown
from longtail.errors import LongtailError
from longtail.files import write_whole
from longtail.watching import Watcher

PHOTOGRAPH_SIZE = (224, 224)
"""Height and width that photographs are thought to be trained at."""

Looked = Literal["headers", "pixels"]

DECODED_SIZE = (32, 32)
"""Height and width that images are decoded to where only their soundness matters."""


@dataclass(frozen=True)
class Description:
    """Counts, ratio and shot groups of an image set, and which of its files cannot be read."""

    name: str
    kind: str
    classes: tuple[str, ...]
    counts: ClassCounts
    """Training images per class: what losses and samplers see."""
    parts: Mapping[str, tuple[int, ...]]
    """Images per class of every part there is: train, validation, test."""
    borders: ShotBorders
    unreadable: Mapping[str, str]
    """Identity to reason."""
    looked: Looked
    """Whether images were judged by their headers or decoded."""
    notes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    """What may spoil a training or a measurement, the worst first."""

    @property
    def severity(self) -> Severity | None:
        """That of the worst finding."""
        return self.findings[0].severity if self.findings else None

    @property
    def groups(self) -> tuple[ShotGroup, ...]:
        """Shot group of every class."""
        return self.counts.shot_groups(self.borders)

    def as_dict(self) -> dict[str, Any]:
        """The description in JSON's types."""
        groups = self.groups
        return {
            "name": self.name,
            "kind": self.kind,
            "images": {part: sum(counts) for part, counts in self.parts.items()},
            "classes": [
                {"class": name, "group": group, **{part: counts[index] for part, counts in self.parts.items()}}
                for index, (name, group) in enumerate(zip(self.classes, groups, strict=True))
            ],
            "imbalance_ratio": self.counts.ratio,
            "shot_borders": {"many_above": self.borders.many_above, "few_below": self.borders.few_below},
            "groups": {group: groups.count(group) for group in SHOT_GROUPS},
            "looked_at": self.looked,
            "unreadable": dict(self.unreadable),
            "notes": list(self.notes),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def describe(
    data: str | Path | None = None,
    *,
    shot_borders: ShotBorders | tuple[float, float] | None = None,
    full: bool = False,
    groups_out: str | Path | None = None,
    workers: int = 0,
    watcher: Watcher | None = None,
    **reading: Unpack[Reading],
) -> Description:
    """Look at a data set as training would find it, and for what may spoil the training or the measurement.

    Args:
        data: as for `longtail.train`.
        shot_borders: many has more training images than the first, few has fewer than the second.
        full: decode every image instead of reading its header, and compare what all of them show.
        groups_out: file to write the groups of near-identical images to, for `group_by`; nothing else is written.
        workers: processes that decode, if `full`.
        watcher: who is told of progress.
        **reading: what to choose differently; see `Reading`.

    Raises:
        LongtailError: there is nothing to describe, or a number is out of range.
    """
    watcher = watcher or Watcher()
    if groups_out is not None:
        _check_writable(Path(groups_out))
    images = open_images(data, reading, watcher)
    borders = ShotBorders(*shot_borders) if isinstance(shot_borders, tuple) else shot_borders
    unreadable = _decode_all(images, workers, watcher) if full else images.unreadable
    same = list(identical(images, watcher, full=full))
    findings = [*audit(images, unreadable), *same, *_slow(images, reading)]
    if full or groups_out is not None:
        groups = by_near_duplicates(images, watcher)
        findings += near_identical(images, groups, same)
        if groups_out is not None:
            write_whole(Path(groups_out), groups_file(groups).encode("utf-8"))
    return Description(
        name=images.name,
        kind=images.kind,
        classes=images.classes,
        counts=images.counts,
        parts={name: _per_class(part.labels, len(images.classes)) for name, part in images.parts.items()},
        borders=borders or images.counts.shot_borders(),
        unreadable=unreadable,
        looked="pixels" if full or _in_memory(images) else "headers",
        notes=images.notes,
        findings=tuple(sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity))),
    )


def _slow(images: ImageSet, reading: Reading) -> Iterator[Finding]:
    """Whether decoding the images will keep a GPU waiting."""
    if images.kind == "photographs" and reading.get("cache") is None and not is_far(images):
        sentence = advice(images.train, Preprocessing(PHOTOGRAPH_SIZE))
        if sentence is not None:
            yield Finding("slow-decoding", "info", sentence.rstrip("."))


def _check_writable(path: Path) -> None:
    if path.exists():
        raise LongtailError(f"{shown(str(path))} exists already; give another --groups-out, or remove it.")
    if not path.absolute().parent.is_dir():
        raise LongtailError(f"There is no folder {shown(str(path.parent))} to write {shown(path.name)} into.")


def _per_class(labels: NDArray[np.int64], classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=classes).tolist())


def _in_memory(images: ImageSet) -> bool:
    return all(isinstance(part.pixels, InMemory) for part in images.parts.values())


def _decode_all(images: ImageSet, workers: int, watcher: Watcher) -> dict[str, str]:
    """Identity to reason of every image that cannot be decoded."""
    unreadable = dict(images.unreadable)
    for part in images.parts.values():
        loader = Loader(part, Preprocessing(DECODED_SIZE), batch_size=64, workers=workers, watcher=watcher)
        try:
            loader.decode_all()
        except UnreadableImages as found:
            unreadable |= found.reasons
        finally:
            loader.close()
    return unreadable
