"""Networks that divide: BBN's last block twice, RIDE's experts. Made from plain networks, which keep their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn

from longtail.errors import LongtailError, unknown
from longtail.models import resnet32
from longtail.models.resnet32 import ResNet32

BranchKind = Literal["bilateral", "experts"]


@dataclass(frozen=True)
class Branching:
    """How a network divides.

    Args:
        kind: "bilateral" or "experts".
        branches: how many; two of a bilateral network.

    Raises:
        LongtailError: there is no such kind, or it cannot have so many branches.

    >>> Branching.of({"kind": "experts", "branches": 3}) == EXPERTS
    True
    """

    kind: BranchKind
    branches: int

    def __post_init__(self) -> None:
        if self.kind not in get_args(BranchKind):
            raise unknown("kind of branches", self.kind, get_args(BranchKind))
        if self.branches < 2 or (self.kind == "bilateral" and self.branches != 2):
            wanted = "two branches" if self.kind == "bilateral" else "at least two"
            raise LongtailError(f"A network of kind {self.kind} has {wanted}, not {self.branches}.")

    def description(self) -> dict[str, Any]:
        """The branching as JSON."""
        return {"kind": self.kind, "branches": self.branches}

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Branching:
        """The branching from its JSON."""
        return cls(description["kind"], description["branches"])


BILATERAL = Branching("bilateral", 2)
EXPERTS = Branching("experts", 3)


def branch(backbone: nn.Module, branching: Branching, *, trained: bool) -> nn.Module:
    """The backbone divided, with `num_features`; it lends its modules to the new network.

    A bilateral network has its last residual block twice. Of experts, ResNet-32 shares its stem and first group; each
    expert's groups have 3/4 of the width, 24 and 48 channels, as published. A ResNet of timm shares all up to `layer2`;
    each expert has `layer3` and `layer4` at full width, so that pretrained weights fit (the published networks are
    narrower here too). Experts of any other network share all of it and differ in their heads.

    Args:
        backbone: ResNet-32 or a network of timm, without a classifier.
        branching: how to divide it.
        trained: whether copies begin with the weights of what they copy; otherwise they begin anew. ResNet-32's
            experts, narrower than the network, always do.

    Raises:
        LongtailError: a bilateral network is asked for, and this one has no last residual block.
    """
    parts = _parts(backbone)
    if branching == BILATERAL:
        if parts is None:
            raise LongtailError(
                f"A bilateral network doubles the last residual block, and {type(backbone).__name__} has none that is "
                "known here; use resnet32, or a ResNet of timm: resnet50, resnext50_32x4d, seresnet50, wide_resnet50_2."
            )
        return _bilateral(parts, trained)
    if parts is None:
        return backbone
    return _experts(parts, branching.branches, trained)


class Bilateral(nn.Module):
    """Images to the features of two branches behind one another (BBN; Zhou et al., CVPR 2020, section 4).

    While training, the first half of a batch comes from the one sampling and the second half from the other: the trunk
    sees all 2B images at once, the first branch the first half, the second branch the second half, and row i of the
    features (B, 2D) is of images i and B + i. To predict, both branches see every image: (B, 2D) of B images.

    Raises:
        LongtailError: a training batch has no two halves.
    """

    def __init__(self, trunk: nn.Module, branches: tuple[nn.Module, nn.Module], branch_features: int) -> None:
        super().__init__()
        self.trunk, self.branches = trunk, nn.ModuleList(branches)
        self.num_features = 2 * branch_features

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 2D) of images (2B, 3, H, W) in training, otherwise of (B, 3, H, W)."""
        if self.training and len(images) % 2:
            raise LongtailError(
                f"A bilateral network trains on two halves of a batch, one a branch; {len(images)} images have none."
            )
        maps = self.trunk(images)
        halves = maps.chunk(2) if self.training else (maps, maps)
        return torch.cat([one(half) for one, half in zip(self.branches, halves, strict=True)], dim=1)


class SharedTrunk(nn.Module):
    """Images (B, 3, H, W) to the features of each expert, (B, M, D), behind early layers that all share."""

    def __init__(self, trunk: nn.Module, experts: list[nn.Module], num_features: int) -> None:
        super().__init__()
        self.trunk, self.experts, self.num_features = trunk, nn.ModuleList(experts), num_features

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, M, D)."""
        maps = self.trunk(images)
        return torch.stack([expert(maps) for expert in self.experts], dim=1)


class _Parts(NamedTuple):
    """A residual network in the order of its layers."""

    stem: nn.Module
    stages: list[nn.Sequential]  # of blocks
    pool: nn.Module  # feature maps (B, D, H, W) to features (B, D)
    num_features: int
    initialise: Callable[[nn.Module], None]  # draw the weights of a part anew
    narrow: bool  # whether experts are narrower than the network


def _parts(backbone: nn.Module) -> _Parts | None:
    """The parts of a network that can be cut; None for others."""
    if isinstance(backbone, ResNet32):
        stages = [cast("nn.Sequential", group) for group in backbone.groups]
        return _Parts(backbone.stem, stages, backbone.pool, backbone.num_features, resnet32.initialise, narrow=True)
    from timm.models.resnet import ResNet

    if not isinstance(backbone, ResNet):
        return None
    stem = nn.Sequential(backbone.conv1, backbone.bn1, backbone.act1, backbone.maxpool)
    stages = [cast("nn.Sequential", getattr(backbone, f"layer{number}")) for number in (1, 2, 3, 4)]
    pool = nn.Sequential(backbone.global_pool, nn.Dropout(backbone.drop_rate))
    return _Parts(stem, stages, pool, backbone.num_features, _initialise_as_timm, narrow=False)


def _bilateral(parts: _Parts, trained: bool) -> Bilateral:
    *early, last = parts.stages
    branch = nn.Sequential(last[-1], parts.pool)
    return Bilateral(
        nn.Sequential(parts.stem, *early, last[:-1]), (branch, _copy(branch, parts, trained)), parts.num_features
    )


def _experts(parts: _Parts, number: int, trained: bool) -> SharedTrunk:
    if parts.narrow:
        trunk = nn.Sequential(parts.stem, parts.stages[0])
        return SharedTrunk(trunk, [_narrow_expert() for _ in range(number)], 48)
    trunk = nn.Sequential(parts.stem, *parts.stages[:2])
    first = nn.Sequential(*parts.stages[2:], parts.pool)
    others = [_copy(first, parts, trained) for _ in range(number - 1)]
    return SharedTrunk(trunk, [first, *others], parts.num_features)


def _narrow_expert() -> nn.Sequential:
    """The second and third group of ResNet-32 with 3/4 of the channels."""
    expert = nn.Sequential(resnet32.group(16, 24, stride=2), resnet32.group(24, 48, stride=2), resnet32.MeanOfImage())
    resnet32.initialise(expert)
    return expert


def _copy(part: nn.Module, parts: _Parts, trained: bool) -> nn.Module:
    """A part once more, with its weights or with fresh ones."""
    copy = deepcopy(part)
    if not trained:
        parts.initialise(copy)
    return copy


def _initialise_as_timm(network: nn.Module) -> None:
    """Draw anew what timm's ResNets draw; norms begin at constants, which an untrained copy has already."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
