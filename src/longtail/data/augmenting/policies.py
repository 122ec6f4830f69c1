"""RandAugment and AutoAugment: operations drawn for each image, carried out a group of like images at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from longtail.data.augmenting.augmentation import BatchAugmentation
from longtail.data.augmenting.operations import OPERATIONS, SIGNED, operate
from longtail.draws import Draws
from longtail.errors import LongtailError, unknown

Step = tuple[str, float]
"""Operation, and its level -1 .. 1."""


@dataclass(frozen=True)
class RandAugment(BatchAugmentation):
    """`operations` of 14, drawn with replacement, all at one magnitude (Cubuk et al., NeurIPS 2020).

    As torchvision has it: magnitude 0 .. 30 is the share of each operation's range, its sign drawn where it has one.
    The paper's Invert is left out.

    Raises:
        LongtailError: the magnitude is outside 0 .. 30, or fewer than no operations are asked for.
    """

    operations: int = 2
    magnitude: int = 9

    HIGHEST = 30

    def __post_init__(self) -> None:
        if self.operations < 0 or not 0 <= self.magnitude <= self.HIGHEST:
            raise LongtailError(f"{self}: operations must be at least 0, and the magnitude 0 to {self.HIGHEST}.")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        known, level = OPERATIONS[:-1], self.magnitude / self.HIGHEST
        shape = torch.empty(len(images), 2 * self.operations, device=images.device)
        chance = draws.uniform(shape, "randaugment").tolist()
        for turn in range(self.operations):
            drawn = [(known[int(row[2 * turn] * len(known))], row[2 * turn + 1]) for row in chance]
            images = _carried_out(images, [_step(name, level, sign) for name, sign in drawn])
        return images


@dataclass(frozen=True)
class AutoAugment(BatchAugmentation):
    """One of 25 pairs of operations for each image, each with its probability and magnitude (Cubuk et al., CVPR 2019).

    Args:
        policy: which pairs, "imagenet" or "cifar10" (tables 9 and 7 of the paper, magnitudes 0 .. 9).

    Raises:
        LongtailError: there is no such policy.
    """

    policy: Literal["imagenet", "cifar10"] = "imagenet"

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise unknown("policy", self.policy, POLICIES)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        pairs = POLICIES[self.policy]
        chance = draws.uniform(torch.empty(len(images), 5, device=images.device), "autoaugment").tolist()
        for turn in range(2):
            steps = []
            for row in chance:
                name, probability, magnitude = pairs[int(row[0] * len(pairs))][turn]
                happens = row[1 + turn] < probability
                steps.append(_step(name, magnitude / 9, row[3 + turn]) if happens else ("Identity", 0.0))
            images = _carried_out(images, steps)
        return images


def _step(name: str, level: float, sign: float) -> Step:
    return name, -level if name in SIGNED and sign < 0.5 else level


def _carried_out(images: Tensor, steps: Iterable[Step]) -> Tensor:
    """Step i on image i, those of one kind together."""
    rows: dict[Step, list[int]] = defaultdict(list)
    for row, step in enumerate(steps):
        rows[step].append(row)
    images = images.clone()
    for (name, level), members in rows.items():
        if name != "Identity":
            picked = torch.tensor(members, device=images.device)
            images[picked] = operate(name, images[picked], level)
    return images


def _pairs(table: str) -> tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...]:
    """Lines of two operations with probability in tenths and magnitude (0 where it has none)."""
    rows = [line.split() for line in table.strip().splitlines()]
    return tuple(((first, int(p) / 10, int(m)), (second, int(q) / 10, int(n))) for first, p, m, second, q, n in rows)


POLICIES = {
    "cifar10": _pairs("""
        Invert       1 0   Contrast     2 6
        Rotate       7 2   TranslateX   3 9
        Sharpness    8 1   Sharpness    9 3
        ShearY       5 8   TranslateY   7 9
        AutoContrast 5 0   Equalize     9 0
        ShearY       2 7   Posterize    3 7
        Color        4 3   Brightness   6 7
        Sharpness    3 9   Brightness   7 9
        Equalize     6 0   Equalize     5 0
        Contrast     6 7   Sharpness    6 5
        Color        7 7   TranslateX   5 8
        Equalize     3 0   AutoContrast 4 0
        TranslateY   4 3   Sharpness    2 6
        Brightness   9 6   Color        2 8
        Solarize     5 2   Invert       0 0
        Equalize     2 0   AutoContrast 6 0
        Equalize     2 0   Equalize     6 0
        Color        9 9   Equalize     6 0
        AutoContrast 8 0   Solarize     2 8
        Brightness   1 3   Color        7 0
        Solarize     4 5   AutoContrast 9 0
        TranslateY   9 9   TranslateY   7 9
        AutoContrast 9 0   Solarize     8 3
        Equalize     8 0   Invert       1 0
        TranslateY   7 9   AutoContrast 9 0
    """),
    "imagenet": _pairs("""
        Posterize    4 8   Rotate       6 9
        Solarize     6 5   AutoContrast 6 0
        Equalize     8 0   Equalize     6 0
        Posterize    6 7   Posterize    6 6
        Equalize     4 0   Solarize     2 4
        Equalize     4 0   Rotate       8 8
        Solarize     6 3   Equalize     6 0
        Posterize    8 5   Equalize    10 0
        Rotate       2 3   Solarize     6 8
        Equalize     6 0   Posterize    4 6
        Rotate       8 8   Color        4 0
        Rotate       4 9   Equalize     6 0
        Equalize     0 0   Equalize     8 0
        Invert       6 0   Equalize    10 0
        Color        6 4   Contrast    10 8
        Rotate       8 8   Color       10 2
        Color        8 8   Solarize     8 7
        Sharpness    4 7   Invert       6 0
        ShearX       6 5   Equalize    10 0
        Color        4 0   Equalize     6 0
        Equalize     4 0   Solarize     2 4
        Solarize     6 5   AutoContrast 6 0
        Invert       6 0   Equalize    10 0
        Color        6 4   Contrast    10 8
        Equalize     8 0   Equalize     6 0
    """),
}
