"""Where features come from: the frozen network, in big blocks, and kept features, in views, against the plain way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chisquare
from torch import Tensor

from longtail.data.augmenting.augmentation import CropFlip
from longtail.data.blending import average
from longtail.data.loading.loader import Loader
from longtail.data.mixing import Mixing, RandomPairs, mixup
from longtail.data.parts import Part
from longtail.data.sources.digits import digits
from longtail.draws import Key
from longtail.moment import Mixed
from longtail.samplers import LabelIndex, class_balanced, instance, reversed_
from longtail.training.loop.log import Turn
from longtail.training.loop.pieces import Pieces
from longtail.training.loop.sources import CachedFeatures, FrozenNetwork, Images, Order, Sample, Source, order_of
from longtail.training.stage import Stage, Targets
from tiny_training import DIGITS, FLOAT32, Counting, classifier, stage, state, trainer

KEY = Key.of_seed(3).at("epoch", 1)
FEATURES_MIXED = RandomPairs("features alone", 1.0, average, places=("features",))


@pytest.fixture(scope="module")
def part() -> Part:
    return digits().train


def images_of(part: Part, what: Stage, backbone: torch.nn.Module) -> Images:
    loader = Loader(part, DIGITS, what.augmentation, batch_size=what.batch_size * len(what.samplings))
    return Images(loader, DIGITS, FLOAT32, what, Pieces(what.batch_size, len(what.samplings)), backbone, learns=False)


def order(part: Part, what: Stage) -> Order:
    return order_of(what, LabelIndex.of(part.labels, 10), KEY, 1, len(part) // what.batch_size)


def met(source: Source, what: Stage, part: Part) -> list[tuple[Tensor, Targets, Tensor]]:
    """Features, targets and positions as the loop gets them, batch by batch."""

    def batch(step: int, sample: Sample) -> tuple[Tensor, Targets, Tensor]:
        features = source.features(sample, Pieces(what.batch_size).all[0])
        return (*what.mixed("features", features, sample.targets, KEY.at("step", step), 1), sample.positions)

    return [batch(step, sample) for step, sample in enumerate(source.samples(order(part, what), KEY, 1))]


def flat(targets: Targets) -> list[Tensor]:
    return list(targets) if isinstance(targets, Mixed) else [targets]


def assert_alike(one: Source, other: Source, what: Stage, part: Part) -> None:
    pairs = list(zip(met(one, what, part), met(other, what, part), strict=True))
    assert len(pairs) == len(part) // what.batch_size
    for (features, targets, positions), (others, other_targets, other_positions) in pairs:
        torch.testing.assert_close(features, others, rtol=1e-5, atol=1e-5)
        for mine, theirs in zip(flat(targets), flat(other_targets), strict=True):
            assert torch.equal(mine, theirs)
        assert torch.equal(positions, other_positions)


@pytest.mark.parametrize("mixing", [None, mixup(), FEATURES_MIXED], ids=str)
@pytest.mark.parametrize("augmentation", [None, CropFlip(padding=1)], ids=str)
def test_a_frozen_network_gives_what_the_network_itself_gives(
    part: Part, mixing: Mixing | None, augmentation: CropFlip | None
) -> None:
    backbone = classifier().backbone.eval()
    what = stage(mixing=mixing, augmentation=augmentation, samplings=(class_balanced(),))
    images = images_of(part, what, backbone)
    assert_alike(images, FrozenNetwork(images, backbone, FLOAT32, pixels=64 * 64), what, part)


def test_a_frozen_network_sees_many_batches_at_once(part: Part) -> None:
    what, backbone = stage(batch_size=32), classifier().backbone.eval()
    source = FrozenNetwork(images_of(part, what, backbone), backbone, FLOAT32, pixels=FLOAT32.pixels_at_once // 5)
    Counting.calls.clear()
    samples = list(source.samples(order(part, what), KEY, 1))
    assert [len(sample.inputs) for sample in samples] == [32] * 12
    assert Counting.calls == [160, 160, 64]


@pytest.mark.parametrize("mixing", [None, FEATURES_MIXED], ids=str)
def test_kept_features_without_augmentation_are_exact(part: Part, mixing: Mixing | None) -> None:
    backbone = classifier().backbone.eval()
    what = stage(mixing=mixing, samplings=(class_balanced(),))
    kept = features_of(backbone, part)
    assert_alike(images_of(part, what, backbone), CachedFeatures([kept], part.labels, FLOAT32, what), what, part)  # type: ignore[list-item]


def features_of(backbone: torch.nn.Module, part: Part) -> NDArray[np.float32]:
    """In float32, so that what is left is the loop's own doing."""
    batches = Loader(part, DIGITS, batch_size=len(part)).batches()
    with torch.no_grad():
        return np.asarray(backbone(DIGITS.normalise(next(iter(batches)).images)).numpy())


@pytest.mark.parametrize("mixing", [None, mixup()], ids=str)
def test_images_that_a_stage_would_mix_are_mixed_as_features(part: Part, mixing: Mixing | None) -> None:
    """Mixing features of the images is mixing what a linear map makes of them: here the identity is the map."""
    what = stage(mixing=mixing)
    values = np.arange(len(part) * 2, dtype=np.float16).reshape(-1, 2)
    for step, sample in enumerate(
        CachedFeatures([values], part.labels, FLOAT32, what).samples(order(part, what), KEY, 1)
    ):
        rows = order(part, what).indices[step]
        plain = torch.from_numpy(values[rows]).float(), torch.from_numpy(part.labels[rows])
        expected = plain if mixing is None else mixing.mix(*plain, KEY.at("step", step), 1)
        assert torch.equal(sample.inputs, expected[0])
        for mine, theirs in zip(flat(sample.targets), flat(expected[1]), strict=True):
            assert torch.equal(mine, theirs)


def viewed(number: int, images: int, batch_size: int, key: Key = KEY) -> NDArray[np.int64]:
    """Row and view that each position got: view v of image i is the feature (i, v)."""
    views = [np.stack([np.arange(images), np.full(images, view)], axis=1).astype(np.float16) for view in range(number)]
    indices = np.random.default_rng(0).integers(images, size=(6_000 // batch_size, batch_size))
    source = CachedFeatures(views, np.zeros(images, np.int64), FLOAT32, stage(batch_size=batch_size))
    samples = source.samples(Order(indices, np.arange(indices.size).reshape(indices.shape)), key, 0)
    found = torch.cat([sample.inputs for sample in samples]).numpy().astype(np.int64)
    np.testing.assert_array_equal(found[:, 0], indices.ravel())
    return np.asarray(found[:, 1])


@pytest.mark.parametrize("number", [2, 3, 8])
def test_every_position_draws_a_view_of_its_image(number: int) -> None:
    drawn = viewed(number, 100, 50)
    assert chisquare(np.bincount(drawn, minlength=number)).pvalue > 1e-3
    np.testing.assert_array_equal(drawn, viewed(number, 100, 8))  # however the epoch is cut
    other = viewed(number, 100, 50, KEY.at("another epoch"))
    assert abs((drawn == other).mean() - 1 / number) < 0.03


def test_one_view_trains_the_head_that_the_frozen_network_trains(part: Part, tmp_path: Path) -> None:
    """To the precision of float16, in which features are kept."""
    what = stage(epochs=5, samplings=(class_balanced(),))
    heads = []
    for views in (0, 1):
        model = trainer(tmp_path / str(views), views).fit(classifier(), what, part, Turn(1, 1, 1), Key.of_seed(0))
        heads.append(state(model.head))
    fresh = state(classifier().head)
    for name, tensor in heads[0].items():
        assert (tensor - fresh[name]).abs().max() > 0.05
        torch.testing.assert_close(tensor, heads[1][name], rtol=2e-3, atol=2e-3)


def test_a_batch_of_two_samplings_is_one_batch_of_each(part: Part) -> None:
    what = stage(batch_size=32, samplings=(instance(), reversed_()))
    found = order(part, what)
    assert sorted(found.positions.ravel()) == list(range(2 * 384))
    first, second = found.indices.reshape(12, 2, 32).transpose(1, 0, 2).reshape(2, -1)
    alone = order(part, stage(batch_size=32, samplings=(instance(),)))
    np.testing.assert_array_equal(first, alone.indices.ravel())
    assert len(set(first)) == len(first)
    expected = 384 * (1 / np.bincount(part.labels)) / (1 / np.bincount(part.labels)).sum()
    rare = expected > 5
    seen = np.bincount(part.labels[second], minlength=10)
    assert chisquare([*seen[rare], seen[~rare].sum()], [*expected[rare], expected[~rare].sum()]).pvalue > 1e-3
    labels = [sample.targets for sample in images_of(part, what, classifier().backbone).samples(found, KEY, 1)]
    np.testing.assert_array_equal(
        torch.cat([*map(torch.as_tensor, labels)]).numpy(), part.labels[found.indices].ravel()
    )
