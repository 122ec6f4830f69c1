"""Images opened again for a finished run: divided as its own were, so that it is not tested on what it has learnt."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from longtail.data.asked import Reading
from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.deploy.run import Run
from longtail.errors import LongtailError
from longtail.watching import Watcher

_DIVIDING = ("imbalance", "profile", "selection", "val", "split", "group_by")


def open_as_divided(run: Run, data: str | Path | None, reading: Reading, watcher: Watcher) -> ImageSet:
    """The images as `open_images` has them; with the split of the run where they hold its own and none is asked for.

    Raises:
        LongtailError: they cannot be opened as asked.
    """
    images = open_images(data, reading, watcher)
    asked = any(reading.get(name) is not None for name in _DIVIDING)
    if asked or is_its_own(run, images) or not _holds_its_own(run, images):
        return images
    return open_images(data, cast("Reading", {**reading, "split": run.path / "split.csv"}), watcher)


def where_its_own_are(run: Run | None, name: str) -> tuple[str, Reading]:
    """The images of a run on a named set, and how they were read; `name` is what the classifier is called.

    Raises:
        LongtailError: it is no run of longtail, or of images that have no name.
    """
    known = run.folder.config["data"].get("asked") if run else None
    if not known:
        raise LongtailError(f"Which images? {name} does not say where its own are; give the folder.")
    return known["data"], known["reading"]


def is_its_own(run: Run, images: ImageSet) -> bool:
    """Whether they are the images of the run, in its split."""
    return bool(run.folder.config["data"]["fingerprint"] == images.fingerprint())


def warning(run: Run, images: ImageSet) -> str | None:
    """What to say where the run may have learnt from the images it is tested on."""
    if is_its_own(run, images):
        return None
    return (
        f"These are not the images of {run.path.name}, or not its split: it may have seen some of them "
        f"(--split {run.path / 'split.csv'} takes its own)"
    )


def _holds_its_own(run: Run, images: ImageSet) -> bool:
    """Whether every image of the run is among them, with its class."""
    here = {
        (identity, images.classes[label])
        for part in images.parts.values()
        for identity, label in zip(part.identities, part.labels, strict=True)
    }
    return all((row["identity"], row["class"]) in here for row in run.folder.split)
