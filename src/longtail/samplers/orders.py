"""A shuffled list, read at any place without being made."""

from __future__ import annotations

import numpy as np

from longtail.samplers.counter import Words, hashed

_ROUNDS = 8


def shuffled(places: Words, sizes: Words, starts: Words) -> Words:
    """What stands at `place` in a random order of 0 .. size-1, row by row of the arguments (they broadcast).

    A Feistel network on a grid of rows x columns >= size (Black and Rogaway, "Ciphers with arbitrary finite
    domains", 2002): each round moves one coordinate by a hash of the other. Every round can be undone, so no
    two places meet; the few that land beyond size-1 go round again. The order of 10^9 images so takes no
    memory and can be read from any place on.

    Args:
        places: 0 <= place < size.
        sizes: length of each row's list, at least 1.
        starts: random words; equal words give the same order.

    >>> places = np.arange(5, dtype=np.uint64)
    >>> sorted(shuffled(places, np.uint64([5]), np.uint64([77])).tolist())
    [0, 1, 2, 3, 4]
    """
    places, sizes, starts = np.broadcast_arrays(places, sizes, starts)
    columns = np.ceil(np.sqrt(sizes.astype(np.float64))).astype(np.uint64)
    rows = (sizes + columns - np.uint64(1)) // columns
    entries = _moved(places, rows, columns, starts)
    while (outside := entries >= sizes).any():
        entries[outside] = _moved(entries[outside], rows[outside], columns[outside], starts[outside])
    return entries


def _moved(entries: Words, rows: Words, columns: Words, starts: Words) -> Words:
    row, column = np.divmod(entries, columns)
    for step in range(0, _ROUNDS, 2):
        column = (column + _steps(starts, step, row)) % columns
        row = (row + _steps(starts, step + 1, column)) % rows
    return row * columns + column


def _steps(starts: Words, step: int, coordinate: Words) -> Words:
    # 32 bits, so that the sum with a coordinate does not overflow.
    return hashed(starts, coordinate + np.uint64(step << 32)) >> np.uint64(32)
