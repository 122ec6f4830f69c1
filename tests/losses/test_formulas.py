"""The papers' formulas written out entry by entry, where the golden values leave a gap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from golden_cases.case import Given
from longtail import losses
from longtail.counts import ClassCounts
from longtail.losses import ClassWeights, Objective
from longtail.losses.margins import cosine_rarity, cube_root_rarity, fourth_root_margin, fourth_root_rarity
from longtail.moment import Mixed
from longtail.schedules import Cosine, Falling, Linear, Parabolic, Schedule, Sine

COUNTS = (20, 500, 3)
COSINES = [[0.3, -0.2, 0.6], [-0.5, 0.9, 0.1]]
TARGETS = [2, 0]
NOISE = [[0.4, 1.5, 3.7], [0.2, 0.9, 2.1]]  # half-normals, one of them beyond the limit


def cross_entropy(scores: Sequence[float], target: int) -> float:
    highest = max(scores)
    return highest + math.log(sum(math.exp(score - highest) for score in scores)) - scores[target]


def mean(rows: Sequence[float]) -> float:
    return sum(rows) / len(rows)


def double(numbers: object) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        (cube_root_rarity, lambda n, largest: largest ** (1 / 3) - n ** (1 / 3)),
        (fourth_root_rarity, lambda n, largest: largest**0.25 - n**0.25),
        (cosine_rarity, lambda n, largest: math.cos(n / largest * math.pi / 2)),
    ],
)
def test_gcl_with_the_cloud_sizes_of_table_3(
    rule: Callable[[ClassCounts], object], size: Callable[[int, int], float]
) -> None:
    sizes = [size(n, 500) for n in COUNTS]
    rows = []
    for cosines, noise, target in zip(COSINES, NOISE, TARGETS, strict=True):
        hard = [30 * (c - 0.5 * d / max(sizes) * min(e / 3, 1)) for c, d, e in zip(cosines, sizes, noise, strict=True)]
        rows.append(cross_entropy(hard, target))
    criterion = losses.gcl(COUNTS, amplitude=0.5, cloud=rule)  # type: ignore[arg-type]
    loss = criterion(double(COSINES), torch.tensor(TARGETS), draws=Given(double(NOISE)))
    assert loss.item() == pytest.approx(mean(rows), rel=1e-12)


def test_gcl_angular_where_only_the_margin_goes_past_pi() -> None:
    """theta + cloud < pi < theta + cloud + m: one rotation by the sum, not two."""
    theta, noise, margin = 2.6, 0.9, 0.5
    cloud = math.pi / 2 * 0.5 * 1 * (noise / 3)  # class 2 is the smallest: delta = 1
    assert theta + cloud < math.pi < theta + cloud + margin
    others = [0.1, -0.3]
    delta = math.log(500 / 20) / math.log(500 / 3)
    turned = math.cos(math.acos(others[0]) + math.pi / 2 * 0.5 * delta * noise / 3)
    hard = [30 * turned, 30 * others[1], 30 * (math.cos(theta) - math.sin(cloud + margin))]
    criterion = losses.gcl_angular(COUNTS, amplitude=0.5, target_margin=margin)
    scores = double([[*others, math.cos(theta)]])
    loss = criterion(scores, torch.tensor([2]), draws=Given(double([[noise] * 3])))
    assert loss.item() == pytest.approx(cross_entropy(hard, 2), rel=1e-12)


@pytest.mark.parametrize("kind", ["difficulty", "quantity", "difficulty x LDAM"])
def test_ala_ablations_of_table_4(kind: str) -> None:
    quantity = [math.log(2) / math.log(n / 3 + 1) for n in COUNTS]
    ldam = [0.5 * (3 / n) ** 0.25 for n in COUNTS]
    rows = []
    for cosines, target in zip(COSINES, TARGETS, strict=True):
        difficulty = (1 - cosines[target]) / 2
        margin = {
            "difficulty": difficulty,
            "quantity": quantity[target],
            "difficulty x LDAM": difficulty * ldam[target],
        }[kind]
        rows.append(cross_entropy([30 * (c - margin * (j == target)) for j, c in enumerate(cosines)], target))
    criterion = {
        "difficulty": losses.ala(COUNTS, margin=1.0),
        "quantity": losses.ala(COUNTS, difficulty=False),
        "difficulty x LDAM": losses.ala(COUNTS, margin=fourth_root_margin(ClassCounts(COUNTS), 0.5)),
    }[kind]
    loss = criterion(double(COSINES), torch.tensor(TARGETS))
    assert loss.item() == pytest.approx(mean(rows), rel=1e-12)


@pytest.mark.parametrize(
    ("curriculum", "strength"),
    [
        (Falling(200, 60), 60 * (1 - 80 / 200)),
        (Linear(200, 60), 60 * 80 / 200),
        (Sine(200, 60), 60 * math.sin(math.pi * 80 / 400)),
        (Cosine(200, 60), 60 * (1 - math.cos(math.pi * 80 / 400))),
        (Parabolic(200, 60), 60 * (80 / 200) ** 2),
    ],
)
def test_fbl_with_the_curricula_of_table_4_4(curriculum: Schedule, strength: float) -> None:
    features = [[3.0, 4.0], [0.6, 0.8]]
    rarity = [math.log(500 / n) / math.log(500 / 3) for n in COUNTS]
    rows = []
    for logits, feature, target in zip(COSINES, features, TARGETS, strict=True):
        norm = math.hypot(*feature)
        hard = [z - strength * r / norm for z, r in zip(logits, rarity, strict=True)]
        rows.append(cross_entropy(hard, target))
    loss = losses.fbl(COUNTS, curriculum)(double(COSINES), torch.tensor(TARGETS), features=double(features), epoch=80)
    assert loss.item() == pytest.approx(mean(rows), rel=1e-12)


def test_kps_adjusts_its_gradient_from_an_epoch_on() -> None:
    radius = [math.log(50 * n / 3) / math.log(50) for n in COUNTS]
    opposite = [max(radius) + 1 - r for r in radius]
    criterion = losses.kps(COUNTS, adjust_from=120)
    for epoch in (119, 120):
        rows = []
        for cosines, target in zip(COSINES, TARGETS, strict=True):
            scale = 15 * (opposite[target] if epoch >= 120 else 1)
            margin = 0.5 * opposite[target] / max(opposite)
            hard = [scale * (radius[j] * c - margin * (j == target)) for j, c in enumerate(cosines)]
            rows.append(cross_entropy(hard, target))
        loss = criterion(double(COSINES), torch.tensor(TARGETS), epoch=epoch)
        assert loss.item() == pytest.approx(mean(rows), rel=1e-12), epoch


def test_seesaw_over_two_successive_batches() -> None:
    criterion, seen = losses.seesaw(COUNTS), [0, 0, 0]
    for logits, targets in (([[1.0, 0.2, 0.7]] * 3, [1, 1, 0]), ([[0.1, 0.9, -0.4], [2.0, 1.0, 0.0]], [1, 2])):
        for target in targets:
            seen[target] += 1
        rows = [seesaw_row(row, target, seen) for row, target in zip(logits, targets, strict=True)]
        loss = criterion(double(logits), torch.tensor(targets))
        assert loss.item() == pytest.approx(mean(rows), rel=1e-12)
    assert criterion.state_dict()["steps.0.margins.0.factors.0.seen"].tolist() == [1, 3, 1]


def seesaw_row(logits: Sequence[float], target: int, seen: Sequence[int]) -> float:
    total = sum(math.exp(z) for z in logits)
    p = [math.exp(z) / total for z in logits]
    n = [max(1, count) for count in seen]
    hard = [
        z + 0.8 * math.log(min(1, n[j] / n[target])) + 2 * math.log(max(1, p[j] / max(p[target], 0.01)))
        if j != target
        else z
        for j, z in enumerate(logits)
    ]
    return cross_entropy(hard, target)


def test_logit_adjustment_on_a_scaled_cosine_head() -> None:
    """The margin is in logit units: it belongs after the head's scale."""
    prior = [n / sum(COUNTS) for n in COUNTS]
    rows = [
        cross_entropy([16 * c + 1.5 * math.log(p) for c, p in zip(cosines, prior, strict=True)], target)
        for cosines, target in zip(COSINES, TARGETS, strict=True)
    ]
    loss = losses.logit_adjustment(COUNTS, tau=1.5)(16 * double(COSINES), torch.tensor(TARGETS))
    assert loss.item() == pytest.approx(mean(rows), rel=1e-12)


@pytest.mark.parametrize("share", [0.35, [0.35, 0.9]])
def test_mixed_targets_with_class_weights(share: float | list[float]) -> None:
    """Each of the two losses keeps its own weighted mean, as published for one share."""
    weights, second = [0.5, 2.0, 7.0], [1, 2]
    shares = share if isinstance(share, list) else [share, share]
    expected = 0.0
    for targets, parts in ((TARGETS, shares), (second, [1 - part for part in shares])):
        weighted = [
            part * weights[target] * cross_entropy(logits, target)
            for logits, target, part in zip(COSINES, targets, parts, strict=True)
        ]
        expected += sum(weighted) / sum(weights[target] for target in targets)
    criterion = Objective(class_weights=ClassWeights(weights))
    loss = criterion(double(COSINES), Mixed(torch.tensor(TARGETS), torch.tensor(second), double(share)))
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_the_mean_of_two_means_is_not_the_mean() -> None:
    """What `Total` is for: parts of a batch weigh differently."""
    criterion = losses.weighted_cross_entropy(COUNTS)
    scores, targets = double(COSINES), torch.tensor(TARGETS)
    parts = [criterion(scores[row : row + 1], targets[row : row + 1]) for row in (0, 1)]
    assert not torch.allclose(torch.stack(parts).mean(), criterion(scores, targets))


def test_focal_on_a_saturated_sample_has_a_gradient() -> None:
    logits = torch.tensor([[80.0, 0.0], [0.0, 0.0]], requires_grad=True)
    losses.focal(gamma=0.5)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[1].abs().sum() > 0
