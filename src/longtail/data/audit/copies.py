"""Images that are there more than once: with the same bytes, or showing nearly the same picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from longtail.data.audit.findings import Finding
from longtail.data.images.reading import UnreadableImage
from longtail.data.parts import ImageSet
from longtail.data.pixels import InMemory, Pixels
from longtail.data.sources.encoded import Encoded
from longtail.data.splits.groups import Groups
from longtail.text import counted
from longtail.watching import Watcher

MOST_COMPARED = 100_000
"""Images whose bytes are compared unless everything is to be looked at."""

_BY_HEART = "the model is tested on what it has learnt by heart; --group-by near-duplicate keeps them on one side"


def is_far(images: ImageSet) -> bool:
    """Whether looking at every image costs a request each."""
    return any(isinstance(part.pixels, Encoded) and part.pixels.is_far for part in images.parts.values())


def identical(images: ImageSet, watcher: Watcher, *, full: bool) -> Iterator[Finding]:
    """Images with the very same bytes; few bytes are read, since most files differ in their length."""
    number = sum(map(len, images.parts.values()))
    if not full and (is_far(images) or number > MOST_COMPARED):
        yield Finding("not-compared", "info", f"{number:,} images were not compared with each other; --full does it")
    else:
        held = all(isinstance(part.pixels, InMemory) for part in images.parts.values())
        rows = _same_bytes(images, Watcher() if held else watcher)  # a bar for a moment would only flicker
        yield from _findings(images, rows, "identical", "have the same bytes")


def near_identical(images: ImageSet, groups: Groups, same: Sequence[Finding]) -> Iterator[Finding]:
    """Images of one group, of groups as `groups.by_near_duplicates` finds them, but for those that are the `same`."""
    rows: dict[str, list[str]] = {}
    for identity, group in groups.items():
        rows.setdefault(group, []).append(identity)
    known = {frozenset(row) for finding in same for row in finding.about}
    others = [row for row in rows.values() if frozenset(row) not in known]
    yield from _findings(images, others, "near-identical", "show nearly the same picture")


def _same_bytes(images: ImageSet, watcher: Watcher) -> list[list[str]]:
    """Identities of images with the same bytes, a row each; only images whose length others have are read."""
    by_length: dict[str, list[tuple[Pixels, int, str]]] = {}
    for part in images.parts.values():
        for index, identity in enumerate(part.identities):
            by_length.setdefault(part.pixels.mark(index), []).append((part.pixels, index, identity))
    candidates = [places for places in by_length.values() if len(places) > 1]
    if not candidates:
        return []
    same: dict[tuple[int, bytes], list[str]] = {}
    with watcher.task("Comparing bytes", sum(map(len, candidates)), "images") as task:
        for number, places in enumerate(candidates):
            for pixels, index, identity in places:
                try:
                    key = number, hashlib.blake2b(pixels.content(index), digest_size=16).digest()
                except UnreadableImage:
                    continue  # a finding of its own
                same.setdefault(key, []).append(identity)
            task.advance(len(places))
    return [row for row in same.values() if len(row) > 1]


def _findings(images: ImageSet, rows: Sequence[Sequence[str]], kind: str, what: str) -> Iterator[Finding]:
    """What rows of copies spoil: the measurement, the labels, or nothing."""
    part_of = {identity: part for part, each in images.parts.items() for identity in each.identities}
    label_of = {
        identity: label
        for each in images.parts.values()
        for identity, label in zip(each.identities, each.labels.tolist(), strict=True)
    }
    parts = [row for row in rows if len({part_of[each] for each in row}) > 1]
    classes = [row for row in rows if len({label_of[each] for each in row}) > 1]
    others = [row for row in rows if len({(part_of[each], label_of[each]) for each in row}) == 1]
    if parts:
        text = f"{_number(parts)} of several parts {what}: {_BY_HEART}"
        yield Finding(f"{kind}-across-parts", "warning", text, tuple(map(tuple, parts)))
    if classes:
        text = f"{_number(classes)} of several classes {what}: at most one of their labels is right"
        yield Finding(f"{kind}-across-classes", "warning", text, tuple(map(tuple, classes)))
    if others:
        text = f"{_number(others)} of one class and part {what}"
        yield Finding(f"{kind}-images", "info", text, tuple(map(tuple, others)))


def _number(rows: Sequence[Sequence[str]]) -> str:
    return counted(sum(map(len, rows)), "image")
