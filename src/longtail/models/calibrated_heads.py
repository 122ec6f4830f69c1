"""Heads around a trained head: a few numbers per class, which a second stage learns."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from longtail.errors import unknown
from longtail.models.head import AnchoredHead, Head, anchored, at_least_float32

DisAlignForm = Literal["paper", "code"]


class LearnableWeightScaling(AnchoredHead):
    """Scores s_j z_j of the base's scores z, its offsets scaled too (LWS; Kang et al., ICLR 2020, section 4).

    s begins at 1. The stage freezes the base; nothing here does.

    Args:
        base: the trained head.

    Raises:
        LongtailError: the base has no anchors.

    >>> from longtail.models.heads import Linear
    >>> LearnableWeightScaling(Linear(64, 10)).scales.shape
    torch.Size([10])
    """

    kind = "learnable_weight_scaling"

    def __init__(self, base: Head) -> None:
        super().__init__(base.features, base.classes)
        self.base = anchored(base, self.kind)
        self.inference_scale = self.base.inference_scale
        self.scales = nn.Parameter(torch.ones(base.classes))

    def queries(self, features: Tensor) -> Tensor:
        """The base's queries, (B, Q)."""
        return self.base.queries(features)

    def inference_queries(self, features: Tensor) -> Tensor:
        """The base's queries when it predicts, (B, Q)."""
        return self.base.inference_queries(features)

    def anchors(self) -> Tensor:
        """The base's anchors, scaled, (C, Q)."""
        return self.scales[:, None] * self.base.anchors()

    def offsets(self) -> Tensor | None:
        """The base's offsets, scaled, (C,)."""
        offsets = self.base.offsets()
        return None if offsets is None else self.scales * offsets

    def observe(self, features: Tensor) -> None:
        """Let the base take note of features (B, D)."""
        self.base.observe(features)

    def description(self) -> dict[str, Any]:
        """The kind, and the base's description."""
        return {"kind": self.kind, "base": self.base.description()}


class DisAlign(AnchoredHead):
    """Scores moved by a learnt line per class, as far as a learnt confidence says (Zhang et al., CVPR 2021).

        paper: scores_j = c (a_j z_j + b_j) + (1 - c) z_j
        code:  scores_j = (1 + c a_j) z_j + c b_j

    z_j = q . w_j + o_j are the base's logits, and c = sigmoid(v . f + u) is one number per sample. Both forms
    are one family, a_paper = 1 + a_code, with different beginnings: a is 1 in both, so that the paper's form
    begins at z, the published code's at (1 + c) z. b and u begin at 0, v at 0.1. With r_j = a_j - 1 (paper)
    or a_j (code):

        scores_j = [q, c q, c] . [w_j, r_j w_j, r_j o_j + b_j] + o_j

    The stage freezes the base; nothing here does.

    Args:
        base: the trained head; a linear one in the paper.
        form: "paper" or "code".

    Raises:
        LongtailError: there is no such form, or the base has no anchors.
    """

    kind = "disalign"

    def __init__(self, base: Head, form: DisAlignForm = "paper") -> None:
        if form not in get_args(DisAlignForm):
            raise unknown("form of DisAlign", form, get_args(DisAlignForm))
        super().__init__(base.features, base.classes)
        self.base = anchored(base, self.kind)
        self.form = form
        self.logit_scale = nn.Parameter(torch.ones(base.classes))
        self.logit_bias = nn.Parameter(torch.zeros(base.classes))
        self.confidence_weight = nn.Parameter(torch.full((base.features,), 0.1))
        self.confidence_bias = nn.Parameter(torch.zeros(()))

    def confidence(self, features: Tensor) -> Tensor:
        """How far each sample is moved, (B, 1), between 0 and 1."""
        products = at_least_float32(features) @ at_least_float32(self.confidence_weight)
        return torch.sigmoid(products + self.confidence_bias)[:, None]

    def queries(self, features: Tensor) -> Tensor:
        """The base's queries, then the same and 1 times the confidence, (B, 2Q + 1)."""
        return self._widened(features, self.base.inference_scale * self.base.queries(features))

    def inference_queries(self, features: Tensor) -> Tensor:
        """As `queries`, of the base's queries when it predicts, (B, 2Q + 1)."""
        return self._widened(features, self.base.inference_scale * self.base.inference_queries(features))

    def anchors(self) -> Tensor:
        """The base's anchors, then how the line moves them and their offsets, (C, 2Q + 1)."""
        anchors, offsets = self.base.anchors(), self.offsets()
        residual = self.logit_scale - 1 if self.form == "paper" else self.logit_scale
        moved = self.logit_bias if offsets is None else residual * offsets + self.logit_bias
        return torch.cat([anchors, residual[:, None] * anchors, moved[:, None]], dim=-1)

    def offsets(self) -> Tensor | None:
        """The base's offsets, beside its logits, (C,)."""
        offsets = self.base.offsets()
        return None if offsets is None else self.base.inference_scale * offsets

    def observe(self, features: Tensor) -> None:
        """Let the base take note of features (B, D)."""
        self.base.observe(features)

    def description(self) -> dict[str, Any]:
        """The kind and form, and the base's description."""
        return {"kind": self.kind, "form": self.form, "base": self.base.description()}

    def _widened(self, features: Tensor, queries: Tensor) -> Tensor:
        confidence = self.confidence(features)
        return torch.cat([queries, confidence * queries, confidence], dim=-1)
