"""A classifier: a backbone, a head, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from longtail.models.backbones import build_backbone, feature_size
from longtail.models.branches import Branching, branch
from longtail.models.heads import Head, build


class Classifier(nn.Module):
    """Images (B, 3, H, W), normalised, to logits (B, C) whose softmax are probabilities.

    While training, the parts are called one after the other: the loss looks at the features and at the head's training
    scores, which for a cosine head are not its logits.
    """

    classes: tuple[str, ...] = ()
    """Class names, in the order of the logits."""
    transform: Callable[[Any], Tensor]
    """A picture (PIL) to one normalised image (3, H, W)."""

    def __init__(self, backbone: nn.Module, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C): what predicts."""
        return self.head.logits(self.backbone(images))


@dataclass(frozen=True)
class Architecture:
    """What a file of weights belongs to, as data: enough to build the classifier anew."""

    backbone: str
    image_size: int | None  # pixels a side, for networks built for one size
    head: Mapping[str, Any]  # Head.description()
    classes: tuple[str, ...]
    branching: Branching | None = None

    def build(self) -> Classifier:
        """The classifier with untrained weights."""
        backbone = build_backbone(self.backbone, self.image_size)
        if self.branching is not None:
            backbone = branch(backbone, self.branching, trained=False)
        return Classifier(backbone, build(self.head, feature_size(backbone), len(self.classes)))

    def description(self) -> dict[str, Any]:
        """The architecture as JSON."""
        return {
            "backbone": self.backbone,
            "image_size": self.image_size,
            "head": dict(self.head),
            "classes": list(self.classes),
            "branching": None if self.branching is None else self.branching.description(),
        }

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Architecture:
        """The architecture from its JSON; runs of plain networks may say nothing of branches."""
        branching = description.get("branching")
        return cls(
            str(description["backbone"]),
            description["image_size"],
            description["head"],
            tuple(description["classes"]),
            None if branching is None else Branching.of(branching),
        )
