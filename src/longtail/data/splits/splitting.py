"""Takes a test or validation part out of data that have none, without taking a rare class its last image."""

from __future__ import annotations

import math
from collections import Counter
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
    labels: NDArray[np.int64],
    identities: Sequence[str],
    fraction: float,
    purpose: str,
    groups: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (left for training, taken) of N images, both rising; `share_taken` of every class is taken.

    Which ones is decided by a hash of the identity: the same for every seed and machine, and images that come to the
    data later move hardly any other. With `groups` (N,) images of one group stay together: as many whole groups are
    taken as fit into the share of each of their classes; of a class that would have none, its smallest group, so long
    as every class keeps a training image. Raises LongtailError for a fraction outside 0 .. 1.
    """
    check_fraction(fraction)
    key = Key.of_seed(0).at("split", purpose)
    order = np.array([key.at(identity).value for identity in identities], dtype=np.int64)
    members = _members(np.arange(len(labels)) if groups is None else groups, order)
    chosen = sorted(index for group in _taken(members, labels, fraction) for index in group.tolist())
    taken = np.array(chosen, dtype=np.int64)
    return np.setdiff1d(np.arange(len(labels)), taken), taken


def _members(groups: NDArray[np.int64], order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The images of every group, the groups in the order of their first image by hash."""
    by_hash = np.argsort(order, kind="stable")
    _, first, number = np.unique(groups[by_hash], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    of_image = rank[number]
    sorted_by_group = by_hash[np.argsort(of_image, kind="stable")]
    return np.split(sorted_by_group, np.cumsum(np.bincount(of_image))[:-1])


def _taken(members: Sequence[NDArray[np.int64]], labels: NDArray[np.int64], fraction: float) -> list[NDArray[np.int64]]:
    """The groups that are taken out of training."""
    left = Counter(labels.tolist())
    wanted = {label: share_taken(count, fraction) for label, count in left.items()}
    open_share = Counter(wanted)
    taken = []

    def take(group: NDArray[np.int64], images: Counter[int]) -> None:
        taken.append(group)
        open_share.subtract(images)
        left.subtract(images)

    others = []
    for group in members:
        images = Counter(labels[group].tolist())
        if all(count <= open_share[label] for label, count in images.items()):
            take(group, images)
        else:
            others.append((group, images))
    for label in sorted(wanted):
        if not 0 < wanted[label] <= open_share[label]:
            continue
        fitting = [each for each in others if each[1][label] and all(left[k] > n for k, n in each[1].items())]
        if fitting:
            smallest = min(fitting, key=lambda each: len(each[0]))
            take(*smallest)
            others = [each for each in others if each is not smallest]
    return taken


def check_fraction(fraction: float) -> None:
    """Raises LongtailError unless `fraction` is at least 0 and below 1."""
    if not 0 <= fraction < 1:
        raise LongtailError(f"The validation part is a fraction of at least 0 and below 1, not {fraction:g}.")
