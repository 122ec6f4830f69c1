"""One door to all data: chosen by what is there, telling what was found and why each default was taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from longtail.data.asked import Reading
from longtail.data.parts import ImageSet
from longtail.data.sources.folders import with_validation_folder
from longtail.data.sources.forms import NAMED, open_source
from longtail.data.splits.dividing import divided
from longtail.data.splits.split_files import check_settled, split_by_file
from longtail.data.words import listed
from longtail.errors import unknown
from longtail.watching import Watcher


def open_images(data: str | Path | None, reading: Reading | None = None, watcher: Watcher | None = None) -> ImageSet:
    """The images that `data` names: None or "digits" for the embedded set, another set of `NAMED`, a folder, or a file.

    Data without a test part have one taken out, tail-safe. Then `imbalance` makes the training part long-tailed,
    and `val` takes its share of what is left: a fraction, a folder of class folders, or 0 for no validation part even
    where the data have one. Without it, what the data have is taken. With `split` a file says all that.

    The set's `notes` tell what was found and chosen. Images that are `unreadable` by their headers are still in it.
    Raises LongtailError with one sentence for whatever cannot be opened as asked.
    """
    reading, watcher = reading or {}, watcher or Watcher()
    data = "digits" if data is None else data
    val, file = reading.get("val"), reading.get("split")
    if file is not None:
        check_settled(reading)
    images = open_source(data, reading, watcher)
    if isinstance(val, str | Path):
        images = with_validation_folder(images, Path(val), watcher)
    if file is not None:
        images = split_by_file(images, Path(file))
    else:
        images = divided(images, reading, watcher, is_cut=str(data) in NAMED)
    present = {identity for part in images.parts.values() for identity in part.identities}
    return replace(
        _with_background(images, reading.get("background")),
        unreadable={name: why for name, why in images.unreadable.items() if name in present},
    )


def _with_background(images: ImageSet, background: str | None) -> ImageSet:
    if background is None:
        return images
    if background not in images.classes:
        raise unknown("class", background, images.classes)
    others = [name for name in images.classes if name != background]
    note = (
        f"Background: class {listed([background])} is trained on, but out of all averages over the {len(others)} others"
    )
    return replace(images, background=background, notes=(*images.notes, note))
