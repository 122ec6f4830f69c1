"""What one may ask of the images of a run: how they are cut down, divided and read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict, get_args

from longtail.errors import unknown

BadImages = Literal["error", "drop"]


class Reading(TypedDict, total=False):
    """What is left out, or None, is chosen by what the images are; every choice is said and recorded."""

    imbalance: float | None
    """Ratio of largest to smallest class that balanced data are cut down to."""
    profile: str | None
    """`exp` or `step`: how the counts fall from class to class."""
    selection: str | None
    """Whose images are taken: `ldam-drw`, `kps` or `shike`; see `imbalance.SELECTIONS`."""
    val: float | str | Path | None
    """Fraction of the training images kept for validation, a folder of them, or 0."""
    split: str | Path | None
    """File that says which image belongs to which part, as runs write it."""
    group_by: str | None
    """What keeps together in one part: `folder`, `near-duplicate`, a column of the table, or a file of groups."""
    background: str | None
    """Class that is trained on, but left out of all averages."""
    data_root: str | Path
    """Folder of the named data sets."""
    image_root: str | Path | None
    """Folder that the paths of a list or table are relative to, and that they may not leave."""
    cache: str | Path | None
    """Folder to keep what is slow to get again."""


def check_bad_images(policy: str) -> None:
    """Raise LongtailError if there is no such policy for images that cannot be decoded."""
    if policy not in get_args(BadImages):
        raise unknown("policy for bad images", policy, get_args(BadImages))
