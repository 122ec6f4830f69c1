"""A shuffled list, read at any place without being made."""

from __future__ import annotations

import numpy as np

from longtail.samplers.counter import Words, mixed

_ROUNDS = 8


def shuffled(places: Words, sizes: Words, starts: Words) -> Words:
    """Entry `place` of a random order of 0 .. size-1, for every row of the arguments (they broadcast).

    A generalised Feistel network on a grid of rows x columns >= size (Black and Rogaway, 2002, "Ciphers with
    arbitrary finite domains"): each round moves one coordinate by a hash of the other, which can be undone,
    so no two places meet. The few entries that leave 0 .. size-1 go round again. So an epoch's order of 10^9
    images takes no memory and begins anywhere.

    Args:
        places: 0 <= place < size, uint64.
        sizes: length of each row's list, uint64.
        starts: random words; equal words give the same order.
    """
    places, sizes, starts = np.broadcast_arrays(places, sizes, starts)
    columns = np.ceil(np.sqrt(sizes.astype(np.float64))).astype(np.uint64)
    rows = -(-sizes.astype(np.int64) // columns.astype(np.int64)).astype(np.uint64)
    entries = _rounds(places, rows, columns, starts)
    outside = np.flatnonzero(entries >= sizes)
    while outside.size:
        entries[outside] = _rounds(entries[outside], rows[outside], columns[outside], starts[outside])
        outside = outside[entries[outside] >= sizes[outside]]
    return entries


def _rounds(entries: Words, rows: Words, columns: Words, starts: Words) -> Words:
    row, column = np.divmod(entries, columns)
    for step in range(0, _ROUNDS, 2):
        column = (column + _hash(starts, step, row)) % columns
        row = (row + _hash(starts, step + 1, column)) % rows
    return row * columns + column


def _hash(starts: Words, step: int, coordinate: Words) -> Words:
    # 32 bits: the sum with a coordinate stays far from the end of 64.
    return mixed(starts, coordinate + np.uint64(step << 32)) >> np.uint64(32)
