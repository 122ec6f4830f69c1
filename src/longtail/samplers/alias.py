"""Drawing a class by its probability in constant time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def draw(probability: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class of each uniform number, (B,), by the alias method (Walker, 1977).

    Args:
        probability: of each class, (C,), sum 1.
        uniform: (B,), in [0, 1).

    >>> draw(np.array([0.25, 0.75]), np.array([0.1, 0.3, 0.9])).tolist()
    [0, 1, 1]
    """
    accepted, alias = _table(probability.tobytes())
    scaled = uniform * len(probability)
    column = scaled.astype(np.int64)
    return np.where(scaled - column < accepted[column], column, alias[column])


@lru_cache(maxsize=16)
def _table(probability: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of each class's column, 1 / C wide: the share it keeps, the class that has the rest (Vose, 1991)."""
    accepted = np.frombuffer(probability) * (len(probability) // 8)
    alias = np.arange(len(accepted))
    poor = np.flatnonzero(accepted < 1).tolist()
    rich = np.flatnonzero(accepted >= 1).tolist()
    while poor and rich:
        taker, giver = poor.pop(), rich[-1]
        alias[taker] = giver
        accepted[giver] -= 1 - accepted[taker]
        if accepted[giver] < 1:
            poor.append(rich.pop())
    accepted[poor + rich] = 1  # they differ from 1 by rounding alone
    return accepted, alias
