"""What every head is: features in, one score per class out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from longtail.errors import LongtailError

NORM_FLOOR = 1e-12


class Head(nn.Module, ABC):
    """Features (B, D) to scores for a loss, and to logits that predict.

    Args:
        features: D, the length of a feature.
        classes: C.
    """

    kind: ClassVar[str]

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.classes = classes

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Training scores of features (B, D), for a loss: (B, C), of M experts (B, M, C); at least float32."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """What predicts, (B, C): its softmax is the probability of each class; at least float32."""

    def observe(self, features: Tensor) -> None:
        """Take note of a training batch's features (B, D); called once a step, and all state changes here."""
        return

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Kind and numbers as JSON: what `build` needs to make this head again, without its weights."""

    def extra_repr(self) -> str:
        """Sizes and numbers, for `repr`."""
        numbers = {name: value for name, value in self.description().items() if name not in ("kind", "base")}
        return ", ".join(
            [f"{self.features}", f"{self.classes}", *(f"{name}={value!r}" for name, value in numbers.items())]
        )


class AnchoredHead(Head, ABC):
    """A head with one anchor per class: scores = queries(features) @ anchors().T + offsets().

    It is its three parts; `forward` and `logits` are written here once. Whatever works on the parts, such as a loss
    in chunks of rows or learnable scales around the head, works on all of these heads.
    """

    inference_scale: float = 1.0

    @abstractmethod
    def queries(self, features: Tensor) -> Tensor:
        """What is compared with the anchors, (B, Q), from features (B, D)."""

    def inference_queries(self, features: Tensor) -> Tensor:
        """The queries (B, Q) when the head predicts; most heads make no difference."""
        return self.queries(features)

    @abstractmethod
    def anchors(self) -> Tensor:
        """One row per class, (C, Q)."""

    def offsets(self) -> Tensor | None:
        """What is added to the scores of each class, (C,); None is zero."""
        return None

    def forward(self, features: Tensor) -> Tensor:
        """Training scores (B, C) of features (B, D), for a loss; at least float32."""
        return self._scores(features, self.queries)

    def logits(self, features: Tensor) -> Tensor:
        """What predicts, (B, C): its softmax is the probability of each class; at least float32."""
        return self.inference_scale * self._scores(features, self.inference_queries)

    def _scores(self, features: Tensor, queries: Callable[[Tensor], Tensor]) -> Tensor:
        device = features.device.type
        if torch.is_autocast_enabled(device):  # 8 bits of a cosine, enlarged 30 times, are steps of 0.1 in a logit
            with torch.autocast(device, enabled=False):
                return self._scores(features, queries)
        scores = at_least_float32(queries(features)) @ at_least_float32(self.anchors()).mT
        offsets = self.offsets()
        return scores if offsets is None else scores + at_least_float32(offsets)


def anchored(base: Head, around: str) -> AnchoredHead:
    """The base, if it has anchors.

    Raises:
        LongtailError: it has none, so that `around`, a kind of head, cannot stand around it.
    """
    if isinstance(base, AnchoredHead):
        return base
    raise LongtailError(
        f"A {around} head changes the anchors of its base, and a head of kind {base.kind} has none; put it around "
        "the heads inside that one."
    )


def at_least_float32(numbers: Tensor) -> Tensor:
    """The numbers, as float32 where they were less."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., D) at length 1, at least float32; a zero vector stays zero and gets gradient zero.

    Published code divides by max(norm, 1e-12), which gives a zero feature a gradient of 1e12: infinite in
    float16.
    """
    vectors = at_least_float32(vectors)
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / norms.masked_fill(norms <= NORM_FLOOR, torch.inf)
