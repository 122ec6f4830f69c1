"""Features to scores: the heads, and how a description becomes one again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longtail.errors import LongtailError, unknown
from longtail.models.calibrated_heads import DisAlign as DisAlign, LearnableWeightScaling as LearnableWeightScaling
from longtail.models.causal_norm import CausalNorm as CausalNorm
from longtail.models.head import Head as Head
from longtail.models.weighted_heads import Cosine as Cosine, Linear as Linear, WeightedHead as WeightedHead

_WEIGHTED: Mapping[str, type[WeightedHead]] = {head.kind: head for head in (Linear, Cosine, CausalNorm)}
_AROUND_A_BASE: Mapping[str, type[LearnableWeightScaling | DisAlign]] = {
    head.kind: head for head in (LearnableWeightScaling, DisAlign)
}


def build(description: Mapping[str, Any], features: int, classes: int) -> Head:
    """The head that gave this description (`Head.description()`), with fresh weights.

    Args:
        description: the kind, its numbers, and for a head around another the description of its base.
        features: D.
        classes: C.

    Raises:
        LongtailError: there is no such kind, or it has no such numbers.

    >>> build({"kind": "cosine", "scale": 16.0}, features=64, classes=10)
    Cosine(64, 10, scale=16.0)
    """
    numbers = dict(description)
    kind = str(numbers.pop("kind", None))
    if kind not in _WEIGHTED and kind not in _AROUND_A_BASE:
        raise unknown("head", kind, [*_WEIGHTED, *_AROUND_A_BASE])
    try:
        if kind in _WEIGHTED:
            return _WEIGHTED[kind](features, classes, **numbers)
        return _AROUND_A_BASE[kind](build(numbers.pop("base"), features, classes), **numbers)
    except (TypeError, KeyError) as error:
        raise LongtailError(f"The description {dict(description)} does not fit a {kind} head: {error}.") from error
