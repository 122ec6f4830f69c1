"""Heads that own their anchors: linear and cosine."""

from __future__ import annotations

from abc import ABC
from typing import Any

import torch
from torch import Tensor, nn

from longtail.errors import LongtailError
from longtail.models.head import AnchoredHead, at_least_float32, unit


class WeightedHead(AnchoredHead, ABC):
    """A head with one learnt row per class, `weight` (C, D)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.weight = nn.Parameter(torch.empty(classes, features))

    @torch.no_grad()
    def start_from(self, anchors: Tensor) -> None:
        """Begin at given anchors (C, D), such as class means or text embeddings; offsets begin at zero.

        Raises:
            LongtailError: the anchors have another shape.
        """
        if anchors.shape != self.weight.shape:
            raise LongtailError(
                f"A head of {self.classes} classes and {self.features} features starts from anchors of shape "
                f"({self.classes}, {self.features}), not {tuple(anchors.shape)}."
            )
        for parameter in self.parameters():
            parameter.zero_()
        self.weight.copy_(anchors)


class Linear(WeightedHead):
    """Scores W f + b, as in torch.nn.Linear.

    Weights begin Kaiming-normal as in the published CIFAR networks, the bias uniform on +-1/sqrt(D) as in
    PyTorch.

    Args:
        features: D.
        classes: C.
        generator: source of the first weights; torch's global one where None.

    >>> Linear(64, 10)(torch.zeros(2, 64)).shape
    torch.Size([2, 10])
    """

    kind = "linear"

    def __init__(self, features: int, classes: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__(features, classes)
        self.bias = nn.Parameter(torch.empty(classes))
        nn.init.kaiming_normal_(self.weight, generator=generator)
        nn.init.uniform_(self.bias, -(features**-0.5), features**-0.5, generator=generator)

    def queries(self, features: Tensor) -> Tensor:
        """The features themselves, (B, D)."""
        return at_least_float32(features)

    def anchors(self) -> Tensor:
        """The weights, (C, D)."""
        return self.weight

    def offsets(self) -> Tensor:
        """The bias, (C,)."""
        return self.bias

    def description(self) -> dict[str, Any]:
        """The kind alone: sizes come from the network and the classes."""
        return {"kind": self.kind}


class Cosine(WeightedHead):
    """Bare cosines for the loss, scaled ones for predictions (the "NormedLinear" of LDAM, KPS and GCL).

        scores_j = cos(f, w_j), within -1 and 1;    logits_j = scale scores_j

    How much a loss enlarges the cosines is the loss's own step. `scale` makes probabilities of them: bare
    cosines of 10 classes cannot give one class more than 0.45. Weights begin uniform on (-1, 1) at unit
    length, and only their directions count.

    Args:
        features: D.
        classes: C.
        scale: of the logits.
        generator: source of the first weights; torch's global one where None.

    >>> head = Cosine(64, 10)
    >>> bool(torch.allclose(head.logits(torch.ones(1, 64)), 30 * head(torch.ones(1, 64))))
    True
    """

    kind = "cosine"

    def __init__(
        self, features: int, classes: int, scale: float = 30.0, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(features, classes)
        self.inference_scale = scale
        nn.init.uniform_(self.weight, -1, 1, generator=generator)
        with torch.no_grad():
            self.weight.copy_(unit(self.weight))

    def queries(self, features: Tensor) -> Tensor:
        """Features at length 1, (B, D)."""
        return unit(features)

    def anchors(self) -> Tensor:
        """Weights at length 1, (C, D)."""
        return unit(self.weight)

    def description(self) -> dict[str, Any]:
        """The kind and the scale of the logits."""
        return {"kind": self.kind, "scale": self.inference_scale}
