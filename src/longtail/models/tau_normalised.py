"""Tau-normalisation: a trained classifier whose long weights, those of the common classes, are shortened."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from longtail.errors import LongtailError
from longtail.models.head import NORM_FLOOR, AnchoredHead, Head, at_least_float32
from longtail.models.weighted_heads import Cosine, Linear


class TauNormalised(AnchoredHead):
    """Weights shortened by a power of their length, w_j / |w_j|^tau (tau-norm; Kang et al., ICLR 2020, section 4).

    tau 0 leaves the weights, 1 gives all classes the same length. It needs no training: tau is chosen on validation
    images. Of a cosine head it is the weights as they are stored, whose lengths the head itself does not look at; with
    tau 1 it is the cosine head.

    Args:
        base: the trained head, linear or cosine.
        tau: 0 to 2 in the paper's search.
        keep_bias: whether a linear head keeps its bias; the published code drops it.

    Raises:
        LongtailError: tau is below 0, or the base is neither linear nor cosine.

    >>> head = TauNormalised(Linear(64, 10), tau=1.0)
    >>> bool(torch.allclose(head.anchors().norm(dim=1), torch.ones(10)))
    True
    """

    kind = "tau_normalised"

    def __init__(self, base: Head, tau: float, *, keep_bias: bool = False) -> None:
        if not isinstance(base, Linear | Cosine):
            raise LongtailError(
                f"Tau-normalisation is of a linear or a cosine head, not of a head of kind {base.kind}."
            )
        if not tau >= 0:
            raise LongtailError(f"tau must be 0 or above, not {tau:g}.")
        super().__init__(base.features, base.classes)
        self.base, self.tau, self.keep_bias = base, tau, keep_bias
        self.inference_scale = base.inference_scale

    def queries(self, features: Tensor) -> Tensor:
        """The base's queries, (B, D)."""
        return self.base.queries(features)

    def anchors(self) -> Tensor:
        """The shortened weights, (C, D)."""
        weight = at_least_float32(self.base.weight)
        lengths: Tensor = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
        return weight / lengths.clamp_min(NORM_FLOOR) ** self.tau

    def offsets(self) -> Tensor | None:
        """The base's bias, (C,), if it is kept."""
        return self.base.offsets() if self.keep_bias else None

    def description(self) -> dict[str, Any]:
        """The kind, tau and whether the bias is kept, and the base's description."""
        return {"kind": self.kind, "tau": self.tau, "keep_bias": self.keep_bias, "base": self.base.description()}
