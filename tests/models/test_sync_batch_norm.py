"""Batch norm over several processes, against torch's own over the whole batch in one."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from longtail.models.folding import folded
from longtail.models.resnet32 import ResNet32
from longtail.models.sync_batch_norm import SyncBatchNorm, synchronised
from longtail.world import ALONE, World
from processes import in_processes
from shared_norms import NORMS, far_from_zero, in_bfloat16, norms, resnet32

SIZES = pytest.mark.parametrize("size", [2, 3])


def off(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest number where that is above 1."""
    return float((found.double() - expected).abs().max() / expected.double().abs().max().clamp_min(1))


@SIZES
def test_every_norm_is_that_of_the_whole_batch(size: int, tmp_path: Path) -> None:
    alone, exact = norms(ALONE, torch.float32), norms(ALONE, torch.float64)
    assert {name.partition(":")[0] for name in alone} == NORMS.keys()
    for dtype, expected, tolerance in ((torch.float32, alone, 1e-6), (torch.float64, exact, 1e-13)):
        for found in in_processes(size, norms, tmp_path, dtype):
            assert found.keys() == expected.keys()
            for name, tensor in found.items():
                assert tensor.dtype == expected[name].dtype
                assert off(tensor, expected[name]) <= tolerance, name


@SIZES
def test_resnet32_is_that_of_the_whole_batch(size: int, tmp_path: Path) -> None:
    """Exactly in float64; in float32 as nearly as the rounding of one process lets anyone tell."""
    alone, exact = resnet32(ALONE, torch.float32), resnet32(ALONE, torch.float64)
    rounding = max(off(tensor, exact[name]) for name, tensor in alone.items())
    assert rounding < 5e-6
    for dtype, expected, tolerance in ((torch.float32, alone, 2 * rounding), (torch.float64, exact, 1e-13)):
        for found in in_processes(size, resnet32, tmp_path, dtype):
            assert found.keys() == expected.keys()
            for name, tensor in found.items():
                assert off(tensor, expected[name]) <= tolerance, name
            assert off(found["loss"], expected["loss"]) <= 1e-6


@SIZES
def test_with_the_same_norm_one_process_computes_what_several_do(size: int, tmp_path: Path) -> None:
    """Then nothing but the sums of the weights' gradients can round otherwise."""
    alone = resnet32(ALONE, torch.float32, same_norm=True)
    for found in in_processes(size, resnet32, tmp_path, torch.float32):
        assert torch.equal(found["features"], alone["features"])
        assert torch.equal(found["loss"], alone["loss"])
        for name, tensor in found.items():
            assert off(tensor, alone[name]) <= 1e-6, name


def test_numbers_far_from_zero_keep_their_variance(tmp_path: Path) -> None:
    for found in in_processes(2, far_from_zero, tmp_path):
        var, mean = torch.var_mean(found["values"].double(), dim=(0, 2, 3))
        torch.testing.assert_close(found["running_mean"].double(), mean, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found["running_var"].double(), var, rtol=1e-4, atol=0)


def test_statistics_are_float32_under_autocast(tmp_path: Path) -> None:
    alone = in_bfloat16(ALONE)
    for found in in_processes(2, in_bfloat16, tmp_path):
        for name, tensor in found.items():
            assert tensor.dtype == alone[name].dtype
            assert off(tensor, alone[name]) <= (1e-6 if "running" in name else 2e-2), name
    assert alone["outputs"].dtype == torch.bfloat16


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Sequential(nn.Conv2d(8, 4, 1), BatchNormAct2d(4)), nn.Flatten()
    )


def test_names_parameters_and_buffers_stay() -> None:
    plain = network()
    before = dict(plain.state_dict(keep_vars=True))
    synced = synchronised(plain, World(0, 2))
    assert synced is plain
    assert [type(norm) for norm in synced.modules() if isinstance(norm, nn.BatchNorm2d)] == [SyncBatchNorm] * 2
    after = synced.state_dict(keep_vars=True)
    assert after.keys() == before.keys()
    assert all(after[name] is tensor for name, tensor in before.items())
    network().load_state_dict(synced.state_dict())


def test_in_evaluation_it_is_the_ordinary_norm() -> None:
    plain = network()
    plain(torch.randn(4, 3, 6, 6))
    synced, images = synchronised(deepcopy(plain), World(1, 2)).eval(), torch.randn(2, 3, 6, 6)
    assert torch.equal(synced(images), plain.eval()(images))  # with what timm's norm does besides
    assert torch.equal(deepcopy(synced)(images), plain(images))


def test_it_folds_as_the_ordinary_norm_does() -> None:
    plain = ResNet32()
    plain(torch.randn(4, 3, 8, 8))
    images = torch.randn(2, 3, 8, 8)
    expected = folded(plain)(images)
    synced = folded(synchronised(plain, World(0, 2)))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in synced.modules())
    assert torch.equal(synced(images), expected)


def test_another_world_takes_its_place() -> None:
    twice = synchronised(synchronised(nn.BatchNorm1d(3), World(0, 2)), World(2, 3))
    assert isinstance(twice, SyncBatchNorm)
    assert twice.world == World(2, 3)
