"""Features to scores: the heads, and how a description becomes one again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from longtail.errors import LongtailError, unknown
from longtail.models.calibrated_heads import DisAlign as DisAlign, LearnableWeightScaling as LearnableWeightScaling
from longtail.models.causal_norm import CausalNorm as CausalNorm
from longtail.models.expert_heads import Experts as Experts, around as around
from longtail.models.head import AnchoredHead as AnchoredHead, Head as Head
from longtail.models.nearest_mean import NearestMean as NearestMean
from longtail.models.shifted import Shifted as Shifted
from longtail.models.tau_normalised import TauNormalised as TauNormalised
from longtail.models.weighted_heads import Cosine as Cosine, Linear as Linear, WeightedHead as WeightedHead

_OF_SIZES: Mapping[str, Callable[..., Head]] = {head.kind: head for head in (Linear, Cosine, CausalNorm, NearestMean)}
_AROUND_A_BASE: Mapping[str, Callable[..., Head]] = {
    head.kind: head for head in (LearnableWeightScaling, DisAlign, TauNormalised, Shifted)
}


def build(description: Mapping[str, Any], features: int, classes: int) -> Head:
    """The head that gave this description (`Head.description()`), with fresh weights.

    Args:
        description: the kind, its numbers, and for a head of other heads the description of their base.
        features: D.
        classes: C.

    Raises:
        LongtailError: there is no such kind, or it has no such numbers.

    >>> build({"kind": "cosine", "scale": 16.0}, features=64, classes=10)
    Cosine(64, 10, scale=16.0)
    """
    numbers = dict(description)
    kind = str(numbers.pop("kind", None))
    if kind not in (kinds := [*_OF_SIZES, *_AROUND_A_BASE, Experts.kind]):
        raise unknown("head", kind, kinds)
    try:
        if kind in _OF_SIZES:
            return _OF_SIZES[kind](features, classes, **numbers)
        base = numbers.pop("base")
        if kind in _AROUND_A_BASE:
            return _AROUND_A_BASE[kind](build(base, features, classes), **numbers)
        return Experts([build(base, features, classes) for _ in range(numbers.pop("experts"))], **numbers)
    except (TypeError, KeyError) as error:
        raise LongtailError(
            f"The description {dict(description)} does not fit a head of kind {kind}: {error}."
        ) from error
