"""Drawing classes by probability in constant time: the alias method."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def draw(probability: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class of each uniform number in [0, 1), (B,), by Walker's alias method (1977).

    Args:
        probability: of each class, (C,), sum 1.
        uniform: (B,).

    >>> draw(np.array([0.25, 0.75]), np.array([0.1, 0.3, 0.9])).tolist()
    [0, 1, 1]
    """
    accepted, alias = _table(probability.tobytes())
    scaled = uniform * len(probability)
    column = scaled.astype(np.int64)
    return np.where(scaled - column < accepted[column], column, alias[column])


@lru_cache(maxsize=16)
def _table(probability: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vose's construction (1991): each column holds its own class up to `accepted`, and one other above."""
    accepted = np.frombuffer(probability) * (len(probability) // 8)
    alias = np.arange(len(accepted))
    low = np.flatnonzero(accepted < 1).tolist()
    high = np.flatnonzero(accepted >= 1).tolist()
    while low and high:
        poor, rich = low.pop(), high[-1]
        alias[poor] = rich
        accepted[rich] -= 1 - accepted[poor]
        if accepted[rich] < 1:
            low.append(high.pop())
    accepted[low + high] = 1  # what is left differs from 1 by rounding
    return accepted, alias
