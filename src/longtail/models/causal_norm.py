"""Causal norm: a normalised head that, when it predicts, takes away what all training images share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from longtail.errors import LongtailError
from longtail.models.head import at_least_float32, unit
from longtail.models.weighted_heads import WeightedHead


class CausalNorm(WeightedHead):
    """De-confounded training, total direct effect (TDE) at inference (Tang, Huang and Zhang, NeurIPS 2020).

    With features and weights cut into K equal parts f^k and w_j^k, and u(v) = v / |v|:

        scores_j = tau/K sum_k  u(f^k) . w_j^k / (|w_j^k| + gamma)
        logits_j = tau/K sum_k [u(f^k) - alpha cos(f^k, d^k) u(d^k)] . w_j^k / (|w_j^k| + gamma)

    d is where the training features move: d <- momentum d + batch mean, without a factor 1 - momentum, since
    only its direction matters. It changes in `observe` alone. Trained with plain cross-entropy.

    Args:
        features: D, a multiple of `parts`.
        classes: C.
        parts: K.
        tau: scale of the scores.
        gamma: added to the length of each weight, above 0.
        alpha: how much of the common direction is taken away. Published: 3 on ImageNet-LT, Places-LT
            and iNaturalist, 1.5 on CIFAR-100, 1 on CIFAR-10.
        momentum: of the common direction. Published: 0.9 on CIFAR, 1 - 0.1 min(50 lr, 1) elsewhere.
        generator: source of the first weights, uniform on +-1/sqrt(D); torch's global one where None.

    Raises:
        LongtailError: D is no multiple of K.
    """

    kind = "causal_norm"
    direction: Tensor

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        parts: int = 2,
        tau: float = 16.0,
        gamma: float = 1 / 32,
        alpha: float = 1.5,
        momentum: float = 0.9,
        generator: torch.Generator | None = None,
    ) -> None:
        if features % parts:
            raise LongtailError(f"Causal norm cannot cut {features} features into {parts} equal parts.")
        super().__init__(features, classes)
        self.parts, self.tau, self.gamma, self.alpha, self.momentum = parts, tau, gamma, alpha, momentum
        self.register_buffer("direction", torch.zeros(features))
        nn.init.uniform_(self.weight, -(features**-0.5), features**-0.5, generator=generator)

    def queries(self, features: Tensor) -> Tensor:
        """Every part of the features at length tau/K, (B, D)."""
        return self._joined(unit(self._cut(features)))

    def inference_queries(self, features: Tensor) -> Tensor:
        """The queries without alpha times their component along the common direction, (B, D)."""
        parts, common = unit(self._cut(features)), unit(self._cut(self.direction))
        cosines = (parts * common).sum(dim=-1, keepdim=True)
        return self._joined(parts - self.alpha * cosines * common)

    def anchors(self) -> Tensor:
        """Every part of the weights, a little shorter than 1, (C, D)."""
        parts = at_least_float32(self._cut(self.weight))
        lengths: Tensor = parts.norm(dim=-1, keepdim=True)
        return (parts / (lengths + self.gamma)).flatten(-2)

    @torch.no_grad()
    def observe(self, features: Tensor) -> None:
        """Move the common direction by the mean of a training batch's features (B, D)."""
        self.direction.mul_(self.momentum).add_(features.to(self.direction.dtype).mean(dim=0))

    def description(self) -> dict[str, Any]:
        """The kind and its five numbers."""
        numbers = ("parts", "tau", "gamma", "alpha", "momentum")
        return {"kind": self.kind} | {name: getattr(self, name) for name in numbers}

    def _cut(self, vectors: Tensor) -> Tensor:
        """(..., D) to (..., K, D/K)."""
        return vectors.reshape(*vectors.shape[:-1], self.parts, -1)

    def _joined(self, parts: Tensor) -> Tensor:
        """(..., K, D/K) to (..., D), at the scale of the scores."""
        return parts.flatten(-2) * (self.tau / self.parts)
