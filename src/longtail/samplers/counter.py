"""Random numbers for many positions at once, in numpy: a counter hash, without a state."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from longtail.draws import Key

Words = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio


def words(key: Key, counters: Words) -> Words:
    """64 random bits for each counter: splitmix64 (Steele, Lea and Flood, 2014), read at any place."""
    return hashed(np.array([key.value], np.uint64), counters)


def uniforms(key: Key, counters: Words) -> NDArray[np.float64]:
    """Uniform on [0, 1), 53 bits, one number for each counter."""
    return (words(key, counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hashed(starts: Words, counters: Words) -> Words:
    """64 random bits for each pair of a start and a counter; the arrays broadcast."""
    bits = starts + (counters + np.uint64(1)) * GOLDEN
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits
