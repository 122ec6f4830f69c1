"""Mixing against loops over single samples, and the laws that every rule keeps."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from longtail.counts import ClassCounts
from longtail.data.blending import average, paste
from longtail.data.mixing import Mixing, cumulative, cutmix, manifold_mixup, mixup, remix
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.moment import Mixed

B = 8
COUNTS = ClassCounts((5, 300, 100, 20))
TARGETS = torch.tensor([0, 1, 2, 3, 1, 1, 0, 2])
RULES = [
    mixup(),
    mixup(0.2),
    cutmix(),
    cutmix(probability=0.5),
    manifold_mixup(),
    remix(COUNTS),
    remix(COUNTS, cutmix()),
]


def images(seed: int = 0) -> Tensor:
    return torch.rand(B, 3, 12, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbered() -> Tensor:
    """Images whose every pixel is the number of the image."""
    return torch.arange(B).reshape(B, 1, 1, 1).expand(B, 3, 12, 16).double()


def test_average_sample_by_sample() -> None:
    batch, partners = images(), torch.randperm(B, generator=torch.Generator().manual_seed(1))
    mixed, share = average(batch, batch[partners], 0.3)
    assert share == 0.3
    for i in range(B):
        torch.testing.assert_close(mixed[i], 0.3 * batch[i] + 0.7 * batch[partners[i]])


@pytest.mark.parametrize("seed", range(20))
def test_paste_puts_one_box_of_the_partner_into_each_image(seed: int) -> None:
    batch, partners = numbered(), torch.arange(B).roll(1)
    wanted = 0.6
    mixed, share = paste(batch, batch[partners], wanted, np.random.default_rng(seed))
    pasted = (mixed != batch).any(dim=1)
    assert (pasted == pasted[0]).all()
    rows, columns = pasted[0].any(dim=1), pasted[0].any(dim=0)
    assert torch.equal(pasted[0], rows[:, None] & columns)
    assert rows.int().diff().abs().sum() <= 2
    assert rows.sum() <= 12 * (1 - wanted) ** 0.5
    assert columns.sum() <= 16 * (1 - wanted) ** 0.5
    assert share == pytest.approx(1 - pasted[0].double().mean().item())
    assert torch.equal(mixed[:, :, pasted[0]], batch[partners][:, :, pasted[0]])


def test_boxes_lie_everywhere_and_are_cut_off_at_the_border() -> None:
    batch, others = numbered(), numbered().roll(1, dims=0)
    boxes = torch.stack(
        [(paste(batch, others, 0.75, np.random.default_rng(seed))[0] != batch)[1, 0] for seed in range(500)]
    )
    assert boxes.any(dim=0).all()
    assert boxes.double().mean(dim=0).max() < 0.35  # a box of a quarter of the area, nowhere always
    sizes = boxes.sum(dim=(1, 2))
    assert sizes.max() == 12 * 16 // 4
    assert sizes.min() < sizes.max()


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_key_decides_and_nothing_else(rule: Mixing) -> None:
    batch = images()
    before = batch.clone()
    outcomes: list[tuple[Tensor, Mixed]] = []
    for step in (0, 0, 1):
        torch.manual_seed(len(outcomes))
        np.random.seed(len(outcomes))  # noqa: NPY002
        outcomes.append(rule.mix(batch, TARGETS, Key.of_seed(0).at("step", step)))
    assert torch.equal(batch, before)
    (first, once), (again, twice), (other, _) = outcomes
    assert torch.equal(first, again)
    assert all(torch.equal(*pair) for pair in zip(once, twice, strict=True))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_some_rows_are_mixed_from_what_they_need_as_in_the_whole_batch(rule: Mixing, size: int) -> None:
    """Over the steps of an epoch, whatever is drawn; the rows of a process need not be in order."""
    batch, loaded = images(), 0
    for step in range(30):
        key = Key.of_seed(0).at("step", step)
        if rule.place(key) == "features":
            assert all(rule.needed(rows, B, key) is rows for rows in np.array_split(np.arange(B), size))
            continue
        whole, labels = rule.mix(batch, TARGETS, key)
        for rows in np.array_split(np.random.default_rng(step).permutation(B), size):
            needed = rule.needed(rows, B, key)
            own, own_labels = rule.mix(batch[needed], TARGETS, key, rows=rows)
            assert torch.equal(own, whole[rows])
            assert all(torch.equal(*pair) for pair in zip(own_labels, labels, strict=True))
            assert set(rows) <= set(needed) <= set(range(B))
            assert len(needed) <= 2 * len(rows)
            loaded += len(needed)
    assert loaded


def test_batches_that_stay_as_they_are_need_no_partners() -> None:
    rows = np.arange(2, 4)
    needed = [len(cutmix(probability=0.5).needed(rows, B, Key(step))) for step in range(100)]
    assert 30 < needed.count(2) < 75
    assert max(needed) == 4
    assert cumulative(2).needed(rows, B, Key(0)) is rows


@pytest.mark.parametrize("rule", [mixup(), cutmix(), manifold_mixup()], ids=repr)
def test_share_and_labels_belong_to_the_samples(rule: Mixing) -> None:
    batch = torch.eye(B).reshape(B, B, 1, 1).expand(B, B, 12, 16)  # channel i of a mixture is the share of sample i
    mixed, targets = rule.mix(batch, torch.arange(B), Key.of_seed(3))
    shares = mixed.mean(dim=(2, 3))
    expected = torch.zeros(B, B)
    for i in range(B):
        expected[i, targets.first[i]] += targets.share
        expected[i, targets.second[i]] += 1 - targets.share
    torch.testing.assert_close(shares, expected)
    assert sorted(targets.second.tolist()) == list(range(B))


def test_shares_come_from_the_beta_distribution() -> None:
    shares = torch.stack(
        [
            mixup(0.5).mix(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long), Key(step))[1].share
            for step in range(2000)
        ]
    )
    # Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)).
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(1 / 8, abs=0.01)


def test_half_the_batches_stay_as_they_are() -> None:
    rule = cutmix(probability=0.5)
    untouched = [torch.equal(rule.mix(numbered(), TARGETS, Key(step))[0], numbered()) for step in range(400)]
    boxless = [torch.equal(cutmix().mix(numbered(), TARGETS, Key(step))[0], numbered()) for step in range(400)]
    assert 0.4 < (np.mean(untouched) - np.mean(boxless)) / (1 - np.mean(boxless)) < 0.6
    _, targets = cutmix(probability=0).mix(numbered(), TARGETS, Key(0))
    assert targets.share == 1


def test_remix_pair_by_pair() -> None:
    kappa, tau = 3.0, 0.5
    seen = Counter[str]()
    for step in range(50):
        key = Key.of_seed(step)
        plain, pairs = mixup().mix(images(), TARGETS, key)
        mixed, targets = remix(COUNTS, kappa=kappa, tau=tau).mix(images(), TARGETS, key)
        assert torch.equal(mixed, plain)
        assert torch.equal(targets.second, pairs.second)
        share = pairs.share.item()
        for one, two, label_share in zip(targets.first, targets.second, targets.share, strict=True):
            n1, n2 = COUNTS.per_class[one], COUNTS.per_class[two]
            expected = share
            if n1 / n2 >= kappa and share < tau:
                expected = 0.0
            if n1 / n2 <= 1 / kappa and 1 - share < tau:
                expected = 1.0
            assert label_share.item() == expected
            seen["as mixed" if expected == share else str(expected)] += 1
    assert min(seen.values()) > 20
    assert len(seen) == 3


def test_manifold_mixup_draws_what_is_mixed() -> None:
    places = Counter(manifold_mixup().place(Key(step)) for step in range(400))
    assert 150 < places["images"] < 250
    assert places["images"] + places["features"] == 400
    assert {rule.place(Key(step)) for rule in (mixup(), cutmix(), remix(COUNTS)) for step in range(9)} == {"images"}


def test_features_can_be_mixed_and_carry_gradients() -> None:
    features = torch.randn(B, 5, requires_grad=True)
    mixed, targets = manifold_mixup().mix(features, TARGETS, Key.of_seed(0))
    mixed.sum().backward()
    assert features.grad is not None
    torch.testing.assert_close(features.grad, torch.ones(B, 5))
    assert targets.share.requires_grad is False


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_images_keep_their_precision_and_shares_have_their_own(rule: Mixing, dtype: torch.dtype) -> None:
    mixed, targets = rule.mix(images().to(dtype), TARGETS, Key.of_seed(0))
    assert mixed.dtype == dtype
    assert targets.share.dtype == torch.promote_types(dtype, torch.float32)


def test_a_batch_of_one_is_mixed_with_itself() -> None:
    mixed, targets = mixup().mix(images()[:1], TARGETS[:1], Key.of_seed(0))
    torch.testing.assert_close(mixed, images()[:1])
    assert torch.equal(targets.first, targets.second)


@pytest.mark.parametrize("make", [lambda: mixup(0), lambda: mixup(float("nan")), lambda: cutmix(probability=1.5)])
def test_numbers_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(LongtailError, match="alpha must be above 0"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(("epochs", "over"), [(200, 200), (90, 100), (180, 200), (7, 7)])
def test_cumulative_learning_goes_from_the_one_branch_to_the_other(epochs: int, over: int) -> None:
    rule, features = cumulative(epochs), torch.rand(3, 8, dtype=torch.float64)
    targets = torch.tensor([1, 2, 3, 6, 5, 4])
    shares = []
    for epoch in range(epochs):
        mixed, (first, second, share) = rule.mix(features, targets, Key(epoch), epoch)
        shares.append(share.item())
        for row in range(3):
            for column in range(8):
                weight = 2 * share if column < 4 else 2 - 2 * share
                assert mixed[row, column] == pytest.approx(float(weight * features[row, column]), rel=1e-12)
        assert (first.tolist(), second.tolist()) == ([1, 2, 3], [6, 5, 4])
    assert shares == pytest.approx([1 - (epoch / over) ** 2 for epoch in range(epochs)], rel=1e-12)
    assert {rule.place(Key(step)) for step in range(9)} == {"features"}


def test_each_branch_gets_its_share_of_the_gradient() -> None:
    features = torch.randn(3, 4, dtype=torch.bfloat16, requires_grad=True)
    mixed, targets = cumulative(4).mix(features, torch.zeros(6, dtype=torch.long), Key(0), epoch=2)
    mixed.sum().backward()
    assert mixed.dtype == torch.bfloat16
    assert targets.share.dtype == torch.float32
    assert features.grad is not None
    assert features.grad[0].tolist() == [1.5, 1.5, 0.5, 0.5]


def test_cumulative_learning_refuses_what_is_not_of_two_branches() -> None:
    labels = torch.zeros(6, dtype=torch.long)
    for features, targets in ((torch.rand(3, 5), labels), (torch.rand(3, 4), labels[:3]), (images()[:3], labels)):
        with pytest.raises(LongtailError, match=r"takes features \(B, 2D\) of two branches and 2B targets"):
            cumulative(5).mix(features, targets, Key(0))
    with pytest.raises(LongtailError, match="of 5 epochs has no epoch 5, counted from 0"):
        cumulative(5).mix(torch.rand(3, 4), labels, Key(0), epoch=5)
    with pytest.raises(LongtailError, match="at least 1 epoch, not 0"):
        cumulative(0)


def test_repr_tells_the_numbers() -> None:
    assert repr(cumulative(200)) == "cumulative(epochs=200)"
    assert repr(remix(COUNTS, cutmix(0.5))) == "remix(cutmix(alpha=0.5, probability=1), kappa=3, tau=0.5)"
