"""Takes a test or validation part out of data that have none, without taking a rare class its last image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from longtail.draws import Key
from longtail.errors import LongtailError

TEST_FRACTION = 0.2
MEASURABLE = 5  # images; a class with fewer keeps all of them for training


def share_taken(images: int, fraction: float) -> int:
    """How many of a class' `images` are taken: floor(images * fraction), 1 or more from `MEASURABLE` images on.

    Never all of them: a training image is left.

    >>> [share_taken(images, 0.2) for images in (1, 4, 5, 9, 10, 100)]
    [0, 0, 1, 1, 2, 20]
    """
    taken = math.floor(round(images * fraction, 6))
    return min(max(taken, int(images >= MEASURABLE)), images - 1)


def split(
    labels: NDArray[np.int64], identities: Sequence[str], fraction: float, purpose: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (left for training, taken) of N images, both rising; `share_taken` of every class is taken.

    Which ones is decided by a hash of the identity: the same for every seed and machine, and images that come to the
    data later move hardly any other. Raises LongtailError for a fraction outside 0 .. 1.
    """
    check_fraction(fraction)
    key = Key.of_seed(0).at("split", purpose)
    order = np.array([key.at(identity).value for identity in identities], dtype=np.int64)
    taken = [
        members[np.argsort(order[members])][: share_taken(len(members), fraction)]
        for members in (np.flatnonzero(labels == label) for label in np.unique(labels))
    ]
    chosen = np.sort(np.concatenate(taken))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def check_fraction(fraction: float) -> None:
    """Raises LongtailError unless `fraction` is at least 0 and below 1."""
    if not 0 <= fraction < 1:
        raise LongtailError(f"The validation part is a fraction of at least 0 and below 1, not {fraction:g}.")
