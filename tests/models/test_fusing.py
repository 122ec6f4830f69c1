"""The fused network gives the features of the network it was made from."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from longtail.models import fusing
from longtail.models.backbones import build_backbone
from longtail.models.folding import folded
from longtail.models.fusing import Rectified, fused

pytestmark = pytest.mark.skipif(not fusing._works(torch.float32), reason="this torch has no fused convolutions")


def put_together(network: nn.Module) -> int:
    return sum(isinstance(module, Rectified) for module in network.modules())


def folded_network(name: str) -> nn.Module:
    """With batch norms that do something: some networks begin with blocks that add nothing."""
    torch.manual_seed(0)
    network = build_backbone(name)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return folded(network)


@pytest.mark.parametrize(
    ("name", "size", "convolutions"),
    [
        ("resnet32", 32, 29),  # all but two before shortcuts that are made after them
        ("resnet18", 64, 17),  # all but three that have their sum in another
        ("torchvision/resnet18", 64, 17),
        ("res2net50_26w_4s", 64, 81),  # blocks in slices of the maps
        ("mobilenetv3_small_100", 64, 14),  # most have another activation
        ("test_convnext", 64, 0),
        ("test_vit", 160, 0),
    ],
)
@torch.no_grad()
def test_the_features_are_the_same(name: str, size: int, convolutions: int) -> None:
    network, images = folded_network(name), torch.randn(3, 3, size, size)
    before, given = deepcopy(network.state_dict()), images.clone()
    fast, expected = fused(network), network(images)
    assert put_together(fast) == convolutions
    assert (fast is network) == (convolutions == 0)
    for _ in range(2):
        got = fast(images)
        assert (got - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
    assert torch.equal(images, given)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


@torch.no_grad()
def test_bfloat16_is_rounded_no_oftener() -> None:
    if not fusing._works(torch.bfloat16):
        pytest.skip("no bfloat16 here")
    network, images = folded_network("resnet32"), torch.randn(8, 3, 32, 32)
    exact = network(images)
    half = deepcopy(network).to(torch.bfloat16).to(memory_format=torch.channels_last)
    plain, fast = (each(images.to(torch.bfloat16)).float() - exact for each in (half, fused(half)))
    assert put_together(fused(half)) == 29
    assert 0 < fast.square().mean() < plain.square().mean()


Layer = Callable[[Tensor], Tensor]
Way = Callable[[Layer, Layer, Layer, Tensor], Tensor]


def returned_later(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    shortcut = first(maps)
    return torch.relu(second(shortcut) + shortcut) - shortcut


def convolved_later(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    shortcut = first(maps)
    total = torch.relu(second(maps) + shortcut)
    return third(shortcut) - total


def a_view_later(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    shortcut = first(maps)
    part = shortcut[:, 1:3]
    return torch.relu(second(maps) + shortcut) + part.sum(1, keepdim=True)


def in_place_before(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    inside = first(maps)
    shortcut = torch.relu_(inside)
    return torch.relu(second(shortcut) + shortcut) * inside


def called_twice(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    return torch.relu(first(torch.relu(first(maps))))


def used_twice(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    inside = first(maps)
    return torch.relu(inside) - inside


def the_given_images(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    return torch.relu(first(maps) + maps) + maps


def doubled(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    inside = first(maps)
    return torch.relu(inside + inside)


def scaled(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    return torch.relu(torch.add(first(maps), second(maps), alpha=2))


def shifted(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    return torch.relu(first(maps) + 1)


def of_one_image(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    return torch.relu(first(maps) + second(maps[:1])) + torch.relu(third(maps.mean((2, 3), keepdim=True)) + maps)


def convolved_before_and_added_after(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    shortcut = first(maps)
    late = third(shortcut)
    total = torch.relu(second(maps) + shortcut)
    return torch.relu(late + total)


def changed_between(first: Layer, second: Layer, third: Layer, maps: Tensor) -> Tensor:
    inside, shortcut = first(maps), second(maps)
    inside_too = third(shortcut)
    shortcut.mul_(2)
    return torch.relu(inside + shortcut) + torch.relu(inside_too)


class Tangled(nn.Module):
    """Three convolutions in some relation."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self.way = way
        self.first, self.second, self.third = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))

    def forward(self, maps: Tensor) -> Tensor:
        return self.way(self.first, self.second, self.third, maps)


WAYS: tuple[Way, ...] = (
    returned_later,
    convolved_later,
    a_view_later,
    in_place_before,
    called_twice,
    used_twice,
    the_given_images,
    doubled,
    scaled,
    shifted,
    of_one_image,
    convolved_before_and_added_after,
    changed_between,
)


@pytest.mark.parametrize("way", WAYS)
@torch.no_grad()
def test_what_does_not_fit_and_what_is_still_needed_stays(way: Way) -> None:
    torch.manual_seed(0)
    network, images = Tangled(way).eval(), torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(fused(network)(images), network(images))


@torch.no_grad()
def test_strides_and_groups() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, (3, 5), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    maps = torch.randn(2, 4, 11, 13)
    shortcut = torch.randn_like(layer(maps))
    expected = torch.relu(layer(maps) + shortcut)
    torch.testing.assert_close(Rectified(layer)(maps, shortcut.clone()), expected)
    torch.testing.assert_close(Rectified(layer)(maps, shortcut[:1].clone()), torch.relu(layer(maps) + shortcut[:1]))


def test_without_the_operations_the_network_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusing, "_works", lambda dtype: False)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    assert fused(network) is network
