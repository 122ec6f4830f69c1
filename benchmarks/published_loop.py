"""Stage one of GCL as its published code goes about it, written out: what this engine's speed is compared with.

Every image is a Pillow image, cropped, mirrored and normalised one by one by torchvision behind a DataLoader; the
network runs in float32, channels first; every step reads its loss and its hits, as loops with a running mean do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from longtail.counts import ClassCounts
from longtail.data.images.preprocessing import CIFAR_MEAN, CIFAR_STD
from longtail.models.resnet32 import ResNet32

SCALE, AMPLITUDE, DEVIATION = 30.0, 1.0, 1 / 3
SIDE, PADDING = 32, 4

TO_TENSOR = transforms.Compose([transforms.ToTensor(), transforms.Normalize(CIFAR_MEAN, CIFAR_STD)])
AUGMENTED = transforms.Compose(
    [transforms.RandomCrop(SIDE, padding=PADDING), transforms.RandomHorizontalFlip(), TO_TENSOR]
)


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images uint8 (N, 32, 32, 3) as torchvision's CIFAR10 holds them."""

    def __init__(self, images: NDArray[np.uint8], labels: Sequence[int]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return AUGMENTED(Image.fromarray(self.images[index])), self.labels[index]


class CloudedLoss(nn.Module):
    """GCL of stage one (Li, Cheung and Lu, CVPR 2022, equations 8 to 12): cross-entropy of s (cos_j - a |e_j| m_j).

    e ~ N(0, 1/9) within -1 and 1, m_j = log(n_max / n_j) over its largest.
    """

    margins: Tensor

    def __init__(self, counts: ClassCounts) -> None:
        super().__init__()
        rarity = math.log(counts.largest) - torch.tensor(counts.per_class).log()
        self.register_buffer("margins", AMPLITUDE * rarity / rarity.max())

    def forward(self, cosines: Tensor, targets: Tensor, noise: Tensor | None = None) -> Tensor:
        """Cosines (B, C), targets (B,) and |e| (B, C), drawn where None, to the mean loss."""
        if noise is None:
            noise = torch.normal(0, DEVIATION, cosines.shape, device=cosines.device).clamp(-1, 1).abs()
        return F.cross_entropy(SCALE * (cosines - noise * self.margins), targets)


class Drawn(NamedTuple):
    """What a step draws: the share of the first image, its partners (B,), and |e| (B, C) of both targets."""

    share: float
    partners: Tensor
    noises: tuple[Tensor | None, Tensor | None] = (None, None)

    @classmethod
    def at_random(cls, images: Tensor) -> Drawn:
        """From the global generators, as published."""
        return cls(float(np.random.beta(1.0, 1.0)), torch.randperm(len(images), device=images.device))  # noqa: NPY002


@dataclass
class PublishedLoop:
    """Network, head, loss and optimiser; `step` is one batch."""

    backbone: nn.Module
    weight: nn.Parameter
    """Of the cosine head, (C, D)."""
    loss_of: CloudedLoss
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(cls, backbone: nn.Module, weight: Tensor, counts: ClassCounts, lr: float) -> PublishedLoop:
        """The loop for a network and a head with these weights."""
        head = nn.Parameter(weight.detach().clone())
        optimizer = torch.optim.SGD([*backbone.parameters(), head], lr, momentum=0.9, weight_decay=2e-4)
        return cls(backbone.train(), head, CloudedLoss(counts).to(weight.device), optimizer)

    @classmethod
    def new(cls, counts: ClassCounts, device: str | torch.device = "cpu") -> PublishedLoop:
        """An untrained ResNet-32."""
        weight = torch.empty(len(counts), ResNet32.num_features, device=device).uniform_(-1, 1)
        return cls.of(ResNet32().to(device), weight, counts, lr=0.1)

    def step(self, images: Tensor, targets: Tensor, drawn: Drawn) -> float:
        """Images (B, 3, 32, 32) and targets (B,); returns the loss."""
        share, partners = drawn.share, drawn.partners
        features = self.backbone(share * images + (1 - share) * images[partners])
        cosines = F.normalize(features) @ F.normalize(self.weight).T
        loss = share * self.loss_of(cosines, targets, drawn.noises[0])
        loss = loss + (1 - share) * self.loss_of(cosines, targets[partners], drawn.noises[1])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        (cosines.argmax(1) == targets).sum().item()
        return float(loss.item())

    def run(self, pictures: Pictures, batch_size: int, workers: int, tick: Callable[[], None]) -> None:
        """One epoch; `tick` is called once a step, before it."""
        device = self.weight.device
        loader = DataLoader(pictures, batch_size, shuffle=True, num_workers=workers, drop_last=True)
        for images, targets in loader:
            tick()
            images, targets = images.to(device), targets.to(device)
            self.step(images, targets, Drawn.at_random(images))
