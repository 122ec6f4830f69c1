"""One door to all data: chosen by what is there, telling what was found and why each default was taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from longtail.data import cifar, digits
from longtail.data.folders import open_folder, with_validation_folder
from longtail.data.imbalance import long_tailed
from longtail.data.parts import ImageSet, Part
from longtail.data.splitting import MEASURABLE, TEST_FRACTION, check_fraction, split
from longtail.data.words import listed
from longtail.errors import LongtailError, unknown
from longtail.text import counted
from longtail.watching import Watcher

NAMED_SETS = ("digits", *cifar.NAMES)


def open_images(
    data: str | Path | None,
    *,
    data_root: Path,
    imbalance: float | None = None,
    validation: float | str | Path | None = None,
    watcher: Watcher | None = None,
) -> ImageSet:
    """The images that `data` names: None or "digits" for the embedded set, "cifar10", "cifar100", or a folder.

    A folder without a test part has one taken out, tail-safe. Then `imbalance` makes the training part long-tailed,
    and `validation` takes its share of what is left: a fraction, a folder of class folders, or 0 for no validation
    part even where the folder has one. None takes what the folder has.

    The set's `notes` tell what was found and chosen. Images that are `unreadable` by their headers are still in it.
    Raises LongtailError with one sentence for whatever cannot be opened as asked.
    """
    watcher = watcher or Watcher()
    if data is None or data == "digits":
        images = digits.digits(imbalance)
    elif data in cifar.NAMES:
        images = cifar.cifar(str(data), data_root, imbalance, watcher)
    else:
        images = _own_folder(data, imbalance, watcher)
    images = _with_validation(images, validation, watcher)
    present = {identity for part in images.parts.values() for identity in part.identities}
    return replace(images, unreadable={name: why for name, why in images.unreadable.items() if name in present})


def _own_folder(data: str | Path, imbalance: float | None, watcher: Watcher) -> ImageSet:
    folder = Path(data)
    if isinstance(data, str) and folder.name == data and not folder.exists():
        raise unknown("folder or data set", data, NAMED_SETS)
    images = open_folder(folder, watcher)
    if images.test is None:
        images = _with_test_part(images)
    return images if imbalance is None else _made_long_tailed(images, imbalance)


def _with_test_part(images: ImageSet) -> ImageSet:
    train = images.train
    left, taken = split(train.labels, train.identities, TEST_FRACTION, "test")
    if not len(taken):
        raise LongtailError(
            f"No class of {images.name} has the {MEASURABLE} images that it takes to keep one for testing; add images, "
            "or give train/ and test/ folders."
        )
    test = train.subset(taken)
    after = replace(images, train=train.subset(left), test=test, counts_before_split=images.counts)
    notes = [
        f"No test folder: {counted(len(taken), 'image')} kept aside to test on ({TEST_FRACTION:.0%} of each class, "
        f"rounded down; 1 from {MEASURABLE} images on)",
        f"Training images per class: {_counts(images)} before, {_counts(after)} after; losses use these",
    ]
    if missing := _not_measured(test, images.classes):
        notes.append(f"Not measured, since they have fewer than {MEASURABLE} images: {listed(missing)}")
    return replace(after, notes=(*images.notes, *notes))


def _counts(images: ImageSet) -> str:
    """All of them where they fit into a line."""
    counts = images.counts
    if len(counts) <= 20:
        return ", ".join(map(str, counts.per_class))
    return f"{counts.largest} to {counts.smallest}"


def _not_measured(test: Part, classes: tuple[str, ...]) -> list[str]:
    tested = np.bincount(test.labels, minlength=len(classes))
    return [name for name, count in zip(classes, tested, strict=True) if count == 0]


def _made_long_tailed(images: ImageSet, ratio: float) -> ImageSet:
    chosen = long_tailed(images.train.labels, images.classes, ratio)
    note = f"Long-tailed by the exponential profile at ratio {ratio:g}: {len(chosen)} of {len(images.train)} images"
    return replace(images, train=images.train.subset(chosen), notes=(*images.notes, note))


def _with_validation(images: ImageSet, validation: float | str | Path | None, watcher: Watcher) -> ImageSet:
    if isinstance(validation, str | Path):
        return with_validation_folder(images, Path(validation), watcher)
    if validation is not None:
        check_fraction(validation)
    if validation:
        return _with_validation_share(images, validation)
    if validation == 0 or images.validation is None:
        note = "No validation part: the last epoch is kept (--val takes one)"
        return replace(images, validation=None, notes=(*images.notes, note))
    return images


def _with_validation_share(images: ImageSet, fraction: float) -> ImageSet:
    if images.validation is not None:
        raise LongtailError(
            f"{images.name} has a validation folder; leave --val away to use it, or give --val 0 to leave it out."
        )
    train = images.train
    left, taken = split(train.labels, train.identities, fraction, "validation")
    note = f"Validation part: {counted(len(taken), 'training image')} ({fraction:.0%} of each class, rounded down)"
    return replace(images, train=train.subset(left), validation=train.subset(taken), notes=(*images.notes, note))
