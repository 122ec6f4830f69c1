"""The ResNet-32 of the CIFAR literature: 16, 32 and 64 channels, 0.46 million parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResNet32(nn.Module):
    """Images (B, 3, H, W) to features (B, 64): three groups of five basic blocks, then the mean over the image.

    He et al. (2016), section 4.2, with the parameter-free shortcut (option A) and normal initialisation of He et al.
    (2015). Networks of the same name with 4 x as many channels (7.4 million parameters) are another league.
    """

    num_features = 64

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv3x3(3, 16), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.groups = nn.Sequential(group(16, 16, stride=1), group(16, 32, stride=2), group(32, 64, stride=2))
        self.pool = MeanOfImage()
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 64), none negative."""
        features: Tensor = self.pool(self.groups(self.stem(images)))
        return features


def group(inside: int, outside: int, stride: int) -> nn.Sequential:
    """Five basic blocks, (B, inside, H, W) to (B, outside, H / stride, W / stride)."""
    first = BasicBlock(inside, outside, stride)
    return nn.Sequential(first, *(BasicBlock(outside, outside, stride=1) for _ in range(4)))


def initialise(network: nn.Module) -> None:
    """Draw the weights of all convolutions anew, from torch's global generator."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)


class MeanOfImage(nn.Module):
    """Feature maps (B, D, H, W) to features (B, D)."""

    def forward(self, maps: Tensor) -> Tensor:
        """The mean over the places of each image, (B, D)."""
        return maps.mean(dim=(2, 3))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut that subsamples the image and pads missing channels with zeros."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv3x3(inside, outside, stride), nn.BatchNorm2d(outside)
        self.conv2, self.norm2 = _conv3x3(outside, outside), nn.BatchNorm2d(outside)
        self.stride, self.padding = stride, (outside - inside) // 2

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (B, inside, H, W) to (B, outside, H / stride, W / stride)."""
        residual = torch.relu_(self.norm1(self.conv1(maps)))
        return torch.relu_(self.norm2(self.conv2(residual)).add_(self._shortcut(maps)))

    def _shortcut(self, maps: Tensor) -> Tensor:
        if self.padding == 0:
            return maps
        subsampled = maps[:, :, :: self.stride, :: self.stride]
        return functional.pad(subsampled, (0, 0, 0, 0, self.padding, self.padding))


def _conv3x3(inside: int, outside: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel_size=3, stride=stride, padding=1, bias=False)
