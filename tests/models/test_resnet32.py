from __future__ import annotations

import torch

from longtail.models.resnet32 import BasicBlock, ResNet32

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_it_is_the_network_of_the_literature() -> None:
    network = ResNet32()
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 31
    assert sum(module.weight.numel() for module in convolutions) == 461_232
    assert sum(parameter.numel() for parameter in network.parameters()) + 64 * 10 + 10 == 464_154


def test_features_are_sixty_four_and_never_negative() -> None:
    torch.manual_seed(0)
    features = ResNet32()(torch.randn(3, 3, 32, 32))
    assert features.shape == (3, 64)
    assert features.min() >= 0


def test_the_shortcut_has_no_parameters_and_pads_with_zeros() -> None:
    block = BasicBlock(16, 32, stride=2)
    for convolution in (block.conv1, block.conv2):
        torch.nn.init.zeros_(convolution.weight)
    maps = torch.rand(2, 16, 8, 8)
    out = block.eval()(maps)
    torch.testing.assert_close(out[:, 8:24], maps[:, :, ::2, ::2])
    assert out[:, :8].abs().max() == out[:, 24:].abs().max() == 0


def test_names_of_saved_weights_stay() -> None:
    layers = ["conv1.weight", "conv2.weight", *(f"{norm}.{name}" for norm in ("norm1", "norm2") for name in NORM)]
    blocks = {f"groups.{group}.{block}.{name}" for group in range(3) for block in range(5) for name in layers}
    assert set(ResNet32().state_dict()) == blocks | {"stem.0.weight"} | {f"stem.1.{name}" for name in NORM}
