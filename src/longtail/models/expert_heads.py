"""One head per expert: several opinions of the same images, and their mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from longtail.errors import LongtailError
from longtail.models.head import Head


class Experts(Head):
    """Heads side by side: each learns for itself, their mean predicts (RIDE; Wang et al., ICLR 2021).

        scores_mj = score j of head m, for losses of experts;    logits_j = mean_m logit j of head m

    Features are (B, M, D), the features of each expert for its own head, or (B, D), the same for all.

    Args:
        heads: M heads of the same kind and numbers.

    Raises:
        LongtailError: there is no head, or they are not alike.

    >>> from longtail.models.heads import Cosine
    >>> head = Experts([Cosine(64, 10) for _ in range(3)])
    >>> head(torch.rand(2, 3, 64)).shape, head.logits(torch.rand(2, 64)).shape
    (torch.Size([2, 3, 10]), torch.Size([2, 10]))
    """

    kind = "experts"

    def __init__(self, heads: Sequence[Head]) -> None:
        if not heads:
            raise LongtailError("Experts are at least one head.")
        one = heads[0]
        if any(_plan(head) != _plan(one) for head in heads):
            raise LongtailError("The heads of experts must be of one kind, with the same numbers.")
        super().__init__(one.features, one.classes)
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> Tensor:
        """Training scores (B, M, C) of features (B, M, D) or (B, D)."""
        return torch.stack([head(own) for head, own in self._each(features)], dim=1)

    def logits(self, features: Tensor) -> Tensor:
        """The mean of the experts' logits, (B, C)."""
        return torch.stack([head.logits(own) for head, own in self._each(features)]).mean(dim=0)

    def observe(self, features: Tensor) -> None:
        """Let every head take note of its features (B, D)."""
        for head, own in self._each(features):
            head.observe(own)

    def description(self) -> dict[str, Any]:
        """The kind, how many experts, and the description of each."""
        base = cast("Head", self.heads[0])
        return {"kind": self.kind, "experts": len(self.heads), "base": base.description()}

    def _each(self, features: Tensor) -> list[tuple[Head, Tensor]]:
        """Every head with its own features (B, D)."""
        heads = cast("Sequence[Head]", self.heads)
        if features.dim() == 2:
            return [(head, features) for head in heads]
        if features.shape[1] != len(heads):
            raise LongtailError(
                f"{len(heads)} experts take features (B, {len(heads)}, {self.features}), not {tuple(features.shape)}."
            )
        return list(zip(heads, features.unbind(dim=1), strict=True))


def around(head: Head, wrap: Callable[[Head], Head]) -> Head:
    """`wrap(head)`; of experts, each of their heads wrapped for itself.

    >>> from longtail.models.heads import Cosine, LearnableWeightScaling
    >>> around(Experts([Cosine(64, 10) for _ in range(3)]), LearnableWeightScaling).kind
    'experts'
    """
    if not isinstance(head, Experts):
        return wrap(head)
    return Experts([wrap(one) for one in cast("Sequence[Head]", head.heads)])


def _plan(head: Head) -> tuple[Any, ...]:
    return head.features, head.classes, head.description()
