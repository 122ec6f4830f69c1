"""Losses of several experts against loops over the experts, and every loss with experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from longtail import losses
from longtail.draws import Draws, Key
from longtail.losses import Criterion, Diversity, Focus, PerExpert
from longtail.losses.criterion import Total
from longtail.moment import Mixed, Moment
from longtail.schedules import Constant

COUNTS = (30, 500, 7, 120, 120, 2)  # not sorted, with a tie
B, M, C, D = 8, 3, len(COUNTS), 5
EXPERT: dict[str, Callable[[], Criterion]] = {
    "ldam": lambda: losses.ldam(COUNTS, scale=20),
    "gcl": lambda: losses.gcl(COUNTS),
    "gcl, second stage": lambda: losses.gcl(COUNTS, 20, target_margin=0.1, focus=Focus(1, detached=True)),
    "gcl_angular": lambda: losses.gcl_angular(COUNTS),
    "kps": lambda: losses.kps(COUNTS, adjust_from=3),
    "fbl": lambda: losses.fbl(COUNTS, Constant(60.0)),
    "seesaw": lambda: losses.seesaw(COUNTS),
    "balanced_softmax": lambda: losses.balanced_softmax(COUNTS),
    "balanced_softmax of cosines": lambda: losses.Scaled(losses.balanced_softmax(COUNTS), 16.0),
    "lade": lambda: losses.lade(COUNTS),
}
SCALES = {
    "ldam": 20,
    "gcl": 30,
    "gcl, second stage": 20,
    "gcl_angular": 30,
    "kps": 15,
    "balanced_softmax of cosines": 16,
}  # of others 1

every_expert = pytest.mark.parametrize("name", EXPERT)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def cosines() -> Tensor:
    return (1.9 * torch.rand(B, M, C, dtype=torch.float64) - 0.95).requires_grad_()


def moment_of(features: Tensor | None = None) -> Moment:
    """At epoch 4, with noise of a fixed key."""
    features = torch.randn(B, M, D, dtype=torch.float64) if features is None else features
    targets, draws = torch.randint(C, (B,)), Key.of_seed(5).draws(torch.arange(B))
    return Moment(targets, features, torch.tensor(4.0, dtype=torch.float64), draws)


def drawn(moment: Moment) -> Draws:
    assert moment.draws is not None
    return moment.draws


@pytest.mark.parametrize("epoch", [2, 3])
def test_ride_is_the_formula(epoch: int) -> None:
    n = torch.tensor(COUNTS, dtype=torch.float64)
    k, rho, c, y = -0.45, 0.02, cosines(), torch.randint(C, (B,))
    deferred = epoch >= 3
    weights = (1 - 0.9999) / (1 - 0.9999**n)
    weights = C * weights / weights.sum() if deferred else torch.ones(C, dtype=torch.float64)
    temperature = C * n / n.sum() * rho + 1 - rho
    temperature = temperature / temperature.max() if deferred else torch.ones(C, dtype=torch.float64)
    together = (30 * c.mean(dim=1) / temperature).softmax(dim=1)
    expected = torch.zeros((), dtype=torch.float64)
    for m in range(M):
        margins = 0.5 * (n.min() / n) ** 0.25
        harder = 30 * (c[:, m] - margins * F.one_hot(y, C))
        expected = expected + F.cross_entropy(harder, y, weights)
        alone = (30 * c[:, m] / temperature).softmax(dim=1)
        divergence = (together * (together / alone).log()).sum(dim=1).mean()
        expected = expected + k * temperature.mean() ** 2 * divergence
    found = losses.ride(COUNTS, k, temperature_span=rho, start=3)(c, y, epoch=epoch)
    torch.testing.assert_close(found, expected)


def test_diversity_moves_each_expert_along_its_distance_from_the_mean() -> None:
    c, temperature = cosines(), torch.linspace(0.5, 1, C, dtype=torch.float64)
    Diversity(0.7, temperature.tolist(), scale=4.0)(c, torch.zeros(B, dtype=torch.long)).backward()
    together = (4 * c.detach().mean(dim=1, keepdim=True) / temperature).softmax(dim=2)
    alone = (4 * c.detach() / temperature).softmax(dim=2)
    expected = 0.7 * temperature.mean() ** 2 * 4 / temperature * (alone - together) / B
    torch.testing.assert_close(c.grad, expected)


@every_expert
@pytest.mark.parametrize("own_features", [True, False])
def test_experts_are_a_loop_with_noise_and_features_of_their_own(name: str, own_features: bool) -> None:
    criterion, c = PerExpert(EXPERT[name]()), cosines()
    moment = moment_of(None if own_features else torch.randn(B, D, dtype=torch.float64))
    assert moment.features is not None
    criterion.observe(moment)
    expected = torch.zeros((), dtype=torch.float64)
    for m in range(M):
        features = moment.features[:, m] if own_features else moment.features
        draws = drawn(moment).of(f"expert {m}")
        expected = expected + criterion.loss.total(c[:, m], replace(moment, features=features, draws=draws)).mean()
    torch.testing.assert_close(criterion.total(c, moment).mean(), expected)


def test_the_same_scores_get_other_noise_in_every_expert() -> None:
    same, moment = cosines()[:, :1].expand(B, M, C), moment_of()
    one, *others = PerExpert(losses.gcl(COUNTS)).total(same, moment).sum
    assert all(not torch.isclose(one, other) for other in others)


@every_expert
def test_every_loss_takes_experts(name: str) -> None:
    expert, c = EXPERT[name](), cosines()
    criterion, moment = losses.ride(COUNTS, expert=expert), moment_of()
    assert criterion.terms[1].scale == SCALES.get(name, 1)
    features = None if moment.features is None else moment.features.requires_grad_()
    call = {"features": features, "epoch": 4, "draws": moment.draws}
    loss = criterion(c, moment.targets, **call)
    loss.backward()
    assert loss.isfinite()
    assert c.grad is not None
    assert c.grad.isfinite().all()
    assert c.grad.abs().sum(dim=(0, 2)).all()
    if name == "fbl":
        assert features is not None
        assert features.grad is not None
        assert features.grad.abs().sum(dim=(0, 2)).all()


@every_expert
def test_two_halves_of_a_batch_make_a_whole(name: str) -> None:
    criterion, c, moment = losses.ride(COUNTS, expert=EXPERT[name]()), cosines(), moment_of()
    criterion.observe(moment)
    first, second = slice(0, 3), slice(3, B)
    halves = criterion.total(c[first], moment.rows(first)) + criterion.total(c[second], moment.rows(second))
    assert isinstance(halves, Total)
    assert torch.allclose(halves.mean(), criterion.total(c, moment).mean()) == criterion.row_separable


@pytest.mark.parametrize("name", ["ldam", "balanced_softmax"])
def test_mixed_targets_are_two_losses_by_their_shares(name: str) -> None:
    criterion, c = losses.ride(COUNTS, expert=EXPERT[name]()), cosines()
    first, second, share = torch.randint(C, (B,)), torch.randint(C, (B,)), torch.tensor(0.3, dtype=torch.float64)
    mixed = criterion(c, Mixed(first, second, share), epoch=4)
    torch.testing.assert_close(mixed, 0.3 * criterion(c, first, epoch=4) + 0.7 * criterion(c, second, epoch=4))


@every_expert
def test_it_compiles_whole_and_once(name: str) -> None:
    torch._dynamo.reset()
    criterion, moment = losses.ride(COUNTS, expert=EXPERT[name]()).eval(), moment_of()
    compiled = torch.compile(criterion, backend="eager", fullgraph=True)
    c = cosines()
    call = {"features": moment.features, "epoch": moment.epoch, "draws": moment.draws}
    criterion(c, moment.targets, **call)
    torch.testing.assert_close(compiled(c, moment.targets, **call), criterion(c, moment.targets, **call))


def test_logits_are_no_cosines_and_cosines_need_experts() -> None:
    with pytest.raises(ValueError, match="takes cosines, from -1 to 1, but a score is 30"):
        losses.ride(COUNTS)(torch.full((B, M, C), 30.0), torch.zeros(B, dtype=torch.long), epoch=0)
    with pytest.raises(ValueError, match=r"Scores must be \(B, experts, 6\)"):
        losses.ride(COUNTS)(torch.zeros(B, C), torch.zeros(B, dtype=torch.long), epoch=0)
