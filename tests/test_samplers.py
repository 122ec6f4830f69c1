"""Samplers against exact probabilities and against the published loops, played out one draw at a time."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

from longtail.counts import ClassCounts
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.samplers import (
    LabelIndex,
    LongTailSampler,
    Sampling,
    cben,
    class_aware,
    class_balanced,
    effective_number,
    instance,
    progressive,
    reversed_,
    square_root,
)
from longtail.samplers.counter import hashed, uniforms
from longtail.samplers.orders import shuffled

COUNTS = (3, 50, 1, 12, 7)  # not in descending order
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), COUNTS))
IMAGES = len(LABELS)
KEY = Key.of_seed(7)

BY_CLASS = [class_balanced(), square_root(), effective_number(), reversed_(), progressive(), cben(), cben(per="class")]
RULES = [instance(), *BY_CLASS, class_aware(3)]


@pytest.fixture
def index() -> LabelIndex:
    return LabelIndex.of(LABELS, 5)


def drawn(rule: Sampling, index: LabelIndex, positions: int | NDArray[np.int64], epoch: int = 1) -> NDArray[np.int64]:
    return rule.indices(index, KEY, epoch, 5, np.arange(positions) if isinstance(positions, int) else positions)


def plausible(observed: NDArray[np.integer], probability: NDArray[np.float64]) -> bool:
    """Whether a chi-square test at 1 in 10,000 lets the frequencies pass."""
    expected = probability * observed.sum()
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(observed) - 1) / 2)
    return bool(torch.special.gammaincc(freedom, torch.tensor(statistic / 2)) > 1e-4)


# The index


@pytest.mark.parametrize("block", [1, 10, 1 << 20])
def test_index_is_a_stable_sort(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longtail.samplers.index._BLOCK", block)
    index = LabelIndex.of(LABELS)
    assert index.order.dtype == np.int32
    assert np.array_equal(index.order, np.argsort(LABELS, kind="stable"))
    assert index.starts.tolist() == [0, *itertools.accumulate(COUNTS)]
    assert index.counts == ClassCounts(COUNTS)


def test_index_takes_lists_tensors_and_memory_maps(tmp_path: Path, index: LabelIndex) -> None:
    np.save(tmp_path / "labels.npy", LABELS.astype(np.uint8))
    mapped = np.load(tmp_path / "labels.npy", mmap_mode="r")
    for labels in (LABELS.tolist(), torch.from_numpy(LABELS), mapped):
        assert np.array_equal(LabelIndex.of(labels).order, index.order)


def test_index_of_more_classes_than_16_bits_count() -> None:
    labels = np.random.default_rng(1).permutation(70_000)
    assert np.array_equal(LabelIndex.of(labels).order, np.argsort(labels))


@pytest.mark.parametrize(
    ("labels", "classes", "sentence"),
    [
        ([0, 2, 2], None, "Class 1 has 0 training images"),
        ([0, 1], 3, "Class 2 has 0 training images"),
        ([0, 3], 3, "Label 3 is no class index"),
        ([0, -1], None, "Label -1 is no class index"),
        ([0.0, 1.0], None, "one row of whole numbers"),
        ([[0, 1]], None, "one row of whole numbers"),
        (np.zeros(0, np.int64), None, "one row of whole numbers"),
    ],
)
def test_index_refuses_what_are_no_labels(labels: object, classes: int | None, sentence: str) -> None:
    with pytest.raises(LongtailError, match=sentence):
        LabelIndex.of(labels, classes)  # type: ignore[arg-type]


# The frequencies


@pytest.mark.parametrize("rule", BY_CLASS, ids=repr)
def test_draws_have_the_exact_probabilities(rule: Sampling, index: LabelIndex) -> None:
    images = drawn(rule, index, 200_000)
    probability = rule.class_probability(index.counts, 1, 5)
    assert probability is not None
    assert probability.sum() == pytest.approx(1, abs=1e-12)
    assert plausible(np.bincount(LABELS[images], minlength=5), probability)
    assert plausible(np.bincount(images, minlength=IMAGES), (probability / COUNTS)[LABELS])
    successive = LABELS[images][:-1] * 5 + LABELS[images][1:]
    assert plausible(np.bincount(successive, minlength=25), np.outer(probability, probability).ravel())


def test_probabilities_by_hand() -> None:
    n = np.array(COUNTS, np.float64)
    counts = ClassCounts(COUNTS)

    def probability(rule: Sampling, epoch: int = 0, epochs: int = 1) -> NDArray[np.float64]:
        return np.asarray(rule.class_probability(counts, epoch, epochs), np.float64)

    beta = 0.999 + 0.0009 * np.log(50 / n) / np.log(50)
    rho = (1 - beta) / (1 - beta**n)
    np.testing.assert_allclose(probability(class_balanced()), np.full(5, 0.2))
    np.testing.assert_allclose(probability(square_root()), np.sqrt(n) / np.sqrt(n).sum())
    np.testing.assert_allclose(probability(reversed_()), (1 / n) / (1 / n).sum())
    np.testing.assert_allclose(probability(cben()), n * rho / (n * rho).sum())
    np.testing.assert_allclose(probability(cben(per="class")), rho / rho.sum())
    np.testing.assert_allclose(probability(progressive(), 0, 5), n / n.sum())
    np.testing.assert_allclose(probability(progressive(), 1, 5), 0.75 * n / n.sum() + 0.25 / 5)
    np.testing.assert_allclose(probability(progressive(), 4, 5), np.full(5, 0.2))
    np.testing.assert_allclose(probability(progressive("bag_of_tricks"), 0, 5), 0.8 * n / n.sum() + 0.2 / 5)
    np.testing.assert_allclose(probability(progressive(), 0, 1), n / n.sum())
    assert instance().class_probability(counts, 0, 1) is None


def test_hash_gives_the_published_numbers_of_splitmix64() -> None:
    first = hashed(np.zeros(1, np.uint64), np.arange(3, dtype=np.uint64))
    assert first.tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_uniforms_are_uniform() -> None:
    numbers = uniforms(KEY, np.arange(200_000, dtype=np.uint64))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for fine in (1, 2**20):  # the first digits and later ones
        assert plausible(np.histogram(numbers * fine % 1, 100, (0, 1))[0], np.full(100, 0.01))


# The orders


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9, 10, 97, 1000, 1024])
def test_shuffled_is_a_permutation(size: int) -> None:
    places = np.arange(size, dtype=np.uint64)
    for start in range(20):
        order = shuffled(places, np.array([size], np.uint64), np.array([start], np.uint64))
        assert np.array_equal(np.sort(order), places)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_every_order_is_as_likely_as_any(size: int) -> None:
    starts = np.random.default_rng(2).integers(0, 2**63, (60_000, 1)).astype(np.uint64)
    orders = shuffled(np.arange(size, dtype=np.uint64), np.array([size], np.uint64), starts).astype(np.int64)
    codes = orders @ size ** np.arange(size)
    possible = [np.dot(order, size ** np.arange(size)) for order in itertools.permutations(range(size))]
    observed = np.array([(codes == code).sum() for code in possible])
    assert observed.sum() == len(starts)
    assert plausible(observed, np.full(len(possible), 1 / len(possible)))


def test_neighbours_in_an_order_are_strangers() -> None:
    size = 50
    starts = np.random.default_rng(3).integers(0, 2**63, (4_000, 1)).astype(np.uint64)
    orders = shuffled(np.arange(size, dtype=np.uint64), np.array([size], np.uint64), starts).astype(np.int64)
    places = np.bincount((np.arange(size) * size + orders).ravel(), minlength=size * size)
    assert plausible(places, np.full(size * size, size**-2.0))
    gaps = np.bincount(((orders[:, 1:] - orders[:, :-1]) % size).ravel(), minlength=size)
    assert gaps[0] == 0
    assert plausible(gaps[1:], np.full(size - 1, 1 / (size - 1)))


def test_instance_shows_every_image_once_in_a_new_order_each_epoch(index: LabelIndex) -> None:
    first, second = drawn(instance(), index, IMAGES, epoch=0), drawn(instance(), index, IMAGES, epoch=1)
    assert sorted(first) == sorted(second) == list(range(IMAGES))
    assert not np.array_equal(first, second)
    beyond = drawn(instance(), index, np.arange(IMAGES, 2 * IMAGES), epoch=0)
    assert sorted(beyond) == list(range(IMAGES))
    assert not np.array_equal(first, beyond)


def test_class_aware_deals_as_the_published_loop_does(index: LabelIndex) -> None:
    """Class after class from a shuffled cycle, three images of each, each class through its own shuffled cycle."""
    images = drawn(class_aware(3), index, 40 * 5 * 3)
    visited = LABELS[images].reshape(40, 5, 3)
    assert (visited == visited[..., :1]).all()
    passes = visited[..., 0]
    assert (np.sort(passes, axis=1) == np.arange(5)).all()
    assert len({tuple(order) for order in passes.tolist()}) > 20
    for label, count in enumerate(COUNTS):
        dealt = images[LABELS[images] == label]
        assert len(dealt) == 40 * 3
        for cycle in range(len(dealt) // count):
            assert sorted(dealt[cycle * count : (cycle + 1) * count]) == np.flatnonzero(label == LABELS).tolist()


def test_classes_of_one_size_are_dealt_in_different_orders() -> None:
    labels = np.repeat([0, 1], 40)
    dealt = drawn(class_aware(4), LabelIndex.of(labels), 80)
    assert not np.array_equal(dealt[labels[dealt] == 0], dealt[labels[dealt] == 1] - 40)


def test_class_aware_deals_at_least_one_image() -> None:
    with pytest.raises(LongtailError, match="at least 1 image"):
        class_aware(0)


@pytest.mark.parametrize("make", [lambda: progressive("both"), lambda: cben(per="image")])  # type: ignore[arg-type]
def test_unknown_forms_are_named(make: object) -> None:
    with pytest.raises(LongtailError, match="Unknown"):
        make()  # type: ignore[operator]


# The place of a draw


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_draw_depends_on_its_position_alone(rule: Sampling, index: LabelIndex) -> None:
    whole = drawn(rule, index, 300)
    anywhere = np.random.default_rng(4).permutation(300)
    assert np.array_equal(drawn(rule, index, anywhere), whole[anywhere])
    assert np.array_equal(drawn(rule, index, np.array([299])), whole[299:])
    assert not np.array_equal(drawn(rule, index, 300, epoch=2), whole)
    assert not np.array_equal(rule.indices(index, Key.of_seed(8), 1, 5, np.arange(300)), whole)


# The PyTorch sampler


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_ranks_together_draw_what_one_process_draws(rule: Sampling, world_size: int) -> None:
    whole = LongTailSampler(LABELS, rule, seed=7, epochs=5)
    whole.set_epoch(3)
    slices = []
    for rank in range(world_size):
        part = LongTailSampler(LABELS, rule, seed=7, epochs=5, rank=rank, world_size=world_size)
        part.set_epoch(3)
        slices.append(list(part))
        assert len(part) == len(slices[-1])
    together = [index for row in itertools.zip_longest(*slices) for index in row if index is not None]
    assert together == list(whole)
    assert all(type(index) is int for index in together)


@pytest.mark.parametrize("workers", [0, 2])
def test_any_data_loader_takes_it_and_workers_change_nothing(workers: int) -> None:
    data = TensorDataset(torch.arange(IMAGES))
    sampler = LongTailSampler(LABELS, cben(), seed=7, epochs=5, length=200)
    loader = DataLoader(data, batch_size=16, sampler=sampler, num_workers=workers)
    seen = torch.cat([batch for (batch,) in loader]).tolist()
    assert len(seen) == 200
    assert seen == list(sampler)


def test_one_integer_resumes_anywhere() -> None:
    def stream(start: int, world_size: int = 1, rank: int = 0) -> list[int]:
        sampler = LongTailSampler(
            LABELS, square_root(), epochs=3, length=100, start=start, rank=rank, world_size=world_size
        )
        drawn: list[int] = []
        for epoch in range(sampler.epoch, 3):
            sampler.set_epoch(epoch)
            drawn += sampler
        return drawn

    whole = stream(0)
    for start in (0, 1, 99, 100, 101, 250):
        assert stream(start) == whole[start:]
    assert stream(120, world_size=2, rank=1) == whole[121::2]


def test_epochs_before_the_start_are_empty() -> None:
    sampler = LongTailSampler(LABELS, square_root(), epochs=3, length=100, start=130)
    assert sampler.epoch == 1
    lengths = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        lengths.append((len(sampler), len(list(sampler))))
    assert lengths == [(0, 0), (70, 70), (100, 100)]


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(LongTailSampler(LABELS, cben(), epochs=1))
    monkeypatch.setattr("longtail.samplers.stream._BLOCK", 7)
    assert list(LongTailSampler(LABELS, cben(), epochs=1)) == whole


@pytest.mark.parametrize(
    "wrong", [{"rank": 2, "world_size": 2}, {"rank": -1}, {"epochs": 0}, {"length": 0}, {"start": -1}]
)
def test_sampler_refuses_what_makes_no_stream(wrong: dict[str, int]) -> None:
    with pytest.raises(LongtailError):
        LongTailSampler(LABELS, instance(), **({"epochs": 1} | wrong))
