"""Divides images into training, validation and test part, as far as they do not come so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longtail.data.asked import Reading
from longtail.data.parts import ImageSet, Part
from longtail.data.splits.groups import Groups, groups_of, kept_apart, numbers_of, of_one_group
from longtail.data.splits.imbalance import Cut
from longtail.data.splits.splitting import MEASURABLE, TEST_FRACTION, check_fraction, split
from longtail.data.words import listed
from longtail.errors import LongtailError
from longtail.text import counted
from longtail.watching import Watcher


def divided(images: ImageSet, reading: Reading, watcher: Watcher, *, is_cut: bool) -> ImageSet:
    """The images in their parts: a test part taken out, the training part cut down, a validation part taken out.

    No group is in two parts. Where `is_cut`, whoever found the images has cut them down already.
    """
    rule, val = reading.get("group_by"), reading.get("val")
    cut = None if is_cut else Cut.asked(reading)
    groups: Groups = {} if rule is None else groups_of(images, rule, watcher)
    if rule is not None:
        images = _grouped(images, rule, groups)
    if images.test is None:
        images = _with_test_part(images, groups)
    if cut is not None:
        chosen = cut.indices(images.train.labels, images.classes)
        note = cut.note(len(chosen), f" from {len(images.train):,}")
        images = replace(images, train=images.train.subset(chosen), notes=(*images.notes, note))
    return images if isinstance(val, str | Path) else _with_validation(images, val, groups)


def _grouped(images: ImageSet, rule: str, groups: Groups) -> ImageSet:
    everyone = [identity for part in images.parts.values() for identity in part.identities]
    alone = sum(identity not in groups for identity in everyone)
    together = len({groups[identity] for identity in everyone if identity in groups})
    note = f"Groups by {listed([rule])}: {counted(together, 'group')}, none in two parts"
    if alone:
        note += f"; {counted(alone, 'image')} on their own"
    return kept_apart(replace(images, notes=(*images.notes, note)), groups)


def _with_test_part(images: ImageSet, groups: Groups) -> ImageSet:
    train = images.train
    left, taken = _split(train, TEST_FRACTION, "test", groups)
    if not len(taken):
        one_group = " in more than one group" if groups else ""
        raise LongtailError(
            f"No class of {images.name} has the {MEASURABLE} images{one_group} that it takes to keep one for testing; "
            "add images, or give train/ and test/ folders."
        )
    test = train.subset(taken)
    after = replace(images, train=train.subset(left), test=test, counts_before_split=images.counts)
    whole = ", whole groups as far as they fit" if groups else ""
    notes = [
        f"No test part: {counted(len(taken), 'image')} kept aside to test on ({TEST_FRACTION:.0%} of each class, "
        f"rounded down; 1 from {MEASURABLE} images on{whole})",
        f"Training images per class: {_counts(images)} before, {_counts(after)} after; losses use these",
    ]
    notes += _unmeasured(images, test, groups)
    return replace(after, notes=(*images.notes, *notes))


def _unmeasured(images: ImageSet, test: Part, groups: Groups) -> list[str]:
    """A line each for the reasons why classes have no test image."""
    tested = np.bincount(test.labels, minlength=len(images.classes))
    counts = images.counts.per_class
    missing = {name: count for name, count, has in zip(images.classes, counts, tested, strict=True) if has == 0}
    single = [name for name in of_one_group(images.train, images.classes, groups) if name in missing]
    few = [name for name, count in missing.items() if count < MEASURABLE and name not in single]
    tied = [name for name in missing if name not in {*single, *few}]
    reasons = {
        f"they have fewer than {MEASURABLE} images": few,
        "all of their images are one group": single,
        "their groups hold all training images of another class": tied,
    }
    return [f"Not measured, since {why}: {listed(names)}" for why, names in reasons.items() if names]


def _counts(images: ImageSet) -> str:
    """All of them where they fit into a line."""
    counts = images.counts
    if len(counts) <= 20:
        return ", ".join(map(str, counts.per_class))
    return f"{counts.largest} to {counts.smallest}"


def _with_validation(images: ImageSet, val: float | None, groups: Groups) -> ImageSet:
    if val is not None:
        check_fraction(val)
    if val:
        return _with_validation_share(images, val, groups)
    if val == 0 or images.validation is None:
        note = "No validation part: the last epoch is kept (--val takes one)"
        return replace(images, validation=None, notes=(*images.notes, note))
    return images


def _with_validation_share(images: ImageSet, fraction: float, groups: Groups) -> ImageSet:
    if images.validation is not None:
        raise LongtailError(
            f"{images.name} has a validation folder; leave --val away to use it, or give --val 0 to leave it out."
        )
    train = images.train
    left, taken = _split(train, fraction, "validation", groups)
    note = f"Validation part: {counted(len(taken), 'training image')} ({fraction:.0%} of each class, rounded down)"
    return replace(images, train=train.subset(left), validation=train.subset(taken), notes=(*images.notes, note))


def _split(part: Part, fraction: float, purpose: str, groups: Groups) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return split(part.labels, part.identities, fraction, purpose, numbers_of(part, groups) if groups else None)
