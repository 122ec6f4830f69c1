"""A batch shared by processes: order, augmentation and mixing are of the global batch, whoever decodes its images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from longtail.data.augmenting.augmentation import Chain, CropFlip, RandomResizedCropFlip
from longtail.data.loading.loader import Loader
from longtail.data.mixing import Mixing, cutmix, manifold_mixup, mixup
from longtail.data.parts import Part
from longtail.data.sources.digits import digits
from longtail.draws import Key
from longtail.moment import Mixed
from longtail.samplers import LabelIndex, instance, reversed_
from longtail.training.loop.pieces import Pieces
from longtail.training.loop.sources import Images, Order, Sample, order_of
from longtail.training.stage import Stage, Targets
from longtail.world import ALONE, World
from processes import in_processes
from shared_training import trained
from tiny_training import DIGITS, FLOAT32, stage

KEY = Key.of_seed(5).at("epoch", 1)
BATCH, STEPS = 13, 4  # a batch that nobody shares evenly
AUGMENTATION = Chain(RandomResizedCropFlip(), CropFlip(padding=1))


@pytest.fixture(scope="module")
def part() -> Part:
    return digits().train


def what(mixing: Mixing | None) -> Stage:
    return stage(batch_size=BATCH, samplings=(instance(), reversed_()), augmentation=AUGMENTATION, mixing=mixing)


def seen(part: Part, what: Stage, world: World, workers: int = 0) -> Iterator[tuple[Sample, Pieces]]:
    """What one of the processes gets to see of the first steps."""
    pieces = Pieces(BATCH, len(what.samplings), world=world)
    order = Order(
        *(rows[:STEPS] for rows in order_of(what, LabelIndex.of(part.labels, 10), KEY, 1, len(part) // BATCH))
    )
    loader = Loader(part, DIGITS, AUGMENTATION, batch_size=2 * BATCH, workers=workers, loading="decode")
    with closing(Images(loader, DIGITS, FLOAT32, what, pieces, nn.Identity(), learns=False)) as source:
        yield from ((sample, pieces) for sample in source.samples(order, KEY, 1))


def flat(targets: Targets) -> list[torch.Tensor]:
    return list(targets) if isinstance(targets, Mixed) else [targets]


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_a_sample_is_the_same_in_every_world(part: Part, size: int, workers: int) -> None:
    assert_shared(part, what(cutmix(probability=0.5)), size, workers)


@pytest.mark.parametrize("mixing", [None, mixup(), manifold_mixup()], ids=str)
def test_however_it_is_mixed(part: Part, mixing: Mixing | None) -> None:
    assert_shared(part, what(mixing), size=3)


def assert_shared(part: Part, what: Stage, size: int, workers: int = 0) -> None:
    alone = [sample for sample, _ in seen(part, what, World())]
    owners = np.zeros((STEPS, 2 * BATCH), int)
    for rank in range(size):
        shared = zip(seen(part, what, World(rank, size), workers), alone, strict=True)
        for step, ((sample, pieces), whole) in enumerate(shared):
            assert torch.equal(sample.inputs, whole.inputs[pieces.own])
            assert torch.equal(sample.positions, whole.positions)
            assert all(torch.equal(*pair) for pair in zip(flat(sample.targets), flat(whole.targets), strict=True))
            owners[step, pieces.own] += 1
    assert (owners == 1).all()
    assert len({sample.inputs.sum().item() for sample in alone}) == STEPS


@pytest.mark.parametrize("accumulate", [1, 2])
def test_processes_train_what_one_trains(accumulate: int, tmp_path: Path) -> None:
    """Two epochs with mixing, a loss that counts, and batch norm over all rows; and the test is the same to the bit."""
    alone = trained(ALONE, tmp_path / "alone", accumulate, sync_bn=True)
    for found in in_processes(3, trained, tmp_path, tmp_path, accumulate, True):
        assert found.keys() == alone.keys()
        for name, tensor in found.items():
            torch.testing.assert_close(tensor, alone[name], rtol=1e-4, atol=1e-4)
        assert torch.equal(found["logits"], found["logits alone"])


def test_batch_norm_of_each_process_is_the_first_ones_in_the_end(tmp_path: Path) -> None:
    first, *others = in_processes(2, trained, tmp_path, tmp_path, 1, False)
    for found in others:
        assert all(torch.equal(tensor, first[name]) for name, tensor in found.items())
    synced = trained(ALONE, tmp_path / "alone", 1, sync_bn=False)
    assert not torch.allclose(first["backbone.norm.running_mean"], synced["backbone.norm.running_mean"], rtol=1e-3)
