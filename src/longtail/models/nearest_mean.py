"""The nearest-class-mean classifier: a head that is computed from features, not learnt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from longtail.errors import LongtailError, unknown
from longtail.models.head import AnchoredHead, at_least_float32, unit

Transform = Literal["cl2n", "l2n", "un"]
Distance = Literal["l2", "cos"]
ROWS = 2**14  # features that are held in float64 at a time


class NearestMean(AnchoredHead):
    """Every image goes to the class with the nearest mean feature (NCM; Kang et al., ICLR 2020, section 4).

        l2:   scores_j = 2 q . m_j - |m_j|^2, which is -|q - m_j|^2 but for |q|^2, the same for all classes
        cos:  scores_j = q . m_j / D

    q is the feature transformed, m_j the mean of the class's transformed training features, not transformed again.

    Args:
        features: D.
        classes: C.
        transform: "cl2n" takes away the mean of all training features and scales to length 1, "l2n" scales only,
            "un" leaves features as they are.
        distance: "l2" or "cos".

    Raises:
        LongtailError: there is no such transform or distance.

    >>> corners = torch.eye(3)
    >>> NearestMean.of(corners, torch.tensor([0, 1, 2]), classes=3).logits(corners).argmax(dim=1).tolist()
    [0, 1, 2]
    """

    kind = "nearest_mean"
    means: Tensor
    centre: Tensor

    def __init__(self, features: int, classes: int, transform: Transform = "cl2n", distance: Distance = "l2") -> None:
        if transform not in get_args(Transform):
            raise unknown("transform of features", transform, get_args(Transform))
        if distance not in get_args(Distance):
            raise unknown("distance", distance, get_args(Distance))
        super().__init__(features, classes)
        self.transform, self.distance = transform, distance
        self.register_buffer("means", torch.zeros(classes, features))
        self.register_buffer("centre", torch.zeros(features))  # what is taken away; stays 0 where nothing is

    @classmethod
    def of(
        cls, features: Tensor, labels: Tensor, classes: int, transform: Transform = "cl2n", distance: Distance = "l2"
    ) -> NearestMean:
        """The head of these training images; sums are kept in float64.

        Args:
            features: of all training images, (N, D), in any precision.
            labels: class indices, (N,) int64.
            classes: C.
            transform: as above.
            distance: as above.

        Raises:
            LongtailError: a class has no image, a label is no class, or there are not as many labels as features.
        """
        if features.device.type == "mps":  # which has no float64
            features, labels = features.cpu(), labels.cpu()
        images = _images(features, labels, classes)
        head = cls(features.shape[1], classes, transform, distance)
        head.to(features.device, torch.promote_types(features.dtype, torch.float32))
        if transform == "cl2n":
            parts = [features[rows].double().sum(dim=0) for rows in _rows(features)]
            head.centre.copy_(torch.stack(parts).sum(dim=0) / len(features))
        sums = torch.zeros(head.means.shape, dtype=torch.float64, device=features.device)
        for rows in _rows(features):
            sums.index_add_(0, labels[rows], head.queries(features[rows].double()))
        head.means.copy_(sums / images[:, None])
        return head

    def queries(self, features: Tensor) -> Tensor:
        """The transformed features, (B, D)."""
        features = at_least_float32(features)
        return features if self.transform == "un" else unit(features - self.centre)

    def anchors(self) -> Tensor:
        """The means, twice (l2) or over D (cos), (C, D)."""
        return 2 * self.means if self.distance == "l2" else self.means / self.features

    def offsets(self) -> Tensor | None:
        """Minus the squared lengths of the means (l2), (C,)."""
        return -at_least_float32(self.means).square().sum(dim=1) if self.distance == "l2" else None

    def description(self) -> dict[str, Any]:
        """The kind, the transform and the distance; the means are its weights."""
        return {"kind": self.kind, "transform": self.transform, "distance": self.distance}


def _images(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Images per class, (C,), none of them 0."""
    if features.dim() != 2 or len(labels) != len(features):
        raise LongtailError(
            f"Class means need (N, D) features and N labels, not {tuple(features.shape)} and {len(labels)}."
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise LongtailError(f"A label is no class: there are {classes}, from 0 to {classes - 1}.")
    images = torch.bincount(labels, minlength=classes)
    if not images.all():
        raise LongtailError(
            f"Class {int(images.argmin())} has no image, and so no mean; leave the class out, or use tau-norm."
        )
    return images


def _rows(features: Tensor) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, len(features), ROWS))
