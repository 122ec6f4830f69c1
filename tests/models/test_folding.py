"""The folded network gives the features of the network it was made from."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from longtail.models.backbones import build_backbone
from longtail.models.folding import folded


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def used(network: nn.Module) -> nn.Module:
    """A network whose batch norms have seen something, in training mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.train()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet32", 32),
        ("resnet18", 64),
        ("torchvision/resnet18", 64),
        ("mobilenetv3_small_100", 64),
        ("test_vit", 160),
        ("test_convnext", 64),
    ],
)
def test_the_features_are_the_same(name: str, size: int) -> None:
    torch.manual_seed(0)
    network = used(build_backbone(name))
    before = deepcopy(network.state_dict())
    fast = folded(network)
    assert network.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert norms(fast) == 0
    images = torch.randn(3, 3, size, size)
    with torch.no_grad():
        expected, got = network.eval()(images), fast(images)
    assert not fast.training
    assert (got - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


class Undecided(nn.Module):
    """Its way depends on the images, so that nobody can follow it without them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.norm(self.convolution(images))
        out: Tensor = maps if images.mean() > 0 else -maps
        return out


class Twice(nn.Module):
    """One convolution before two norms, one norm after two convolutions, one result that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.first(self.shared(images)) + self.second(self.shared(images))
        inside = self.convolution(maps)
        out: Tensor = self.norm(inside) + inside
        return out


class Standardised(nn.Conv2d):
    """A convolution that does something else to its weights."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        maps: Tensor = self._conv_forward(input, self.weight / self.weight.std(), self.bias)
        return maps


@pytest.mark.parametrize(
    "make",
    [Undecided, Twice, lambda: nn.Sequential(Standardised(3, 4, 1), nn.BatchNorm2d(4))],
    ids=["undecided", "twice", "standardised"],
)
def test_what_cannot_be_folded_stays(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = used(make())
    copy = folded(network)
    assert norms(copy) == norms(network)
    assert not copy.training
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(copy(images), network.eval()(images))
