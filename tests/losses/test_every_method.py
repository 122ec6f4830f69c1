"""One table of all methods, and the checks that every loss has to pass."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from golden_cases.case import Given
from longtail import losses
from longtail.cards import LOSS, methods
from longtail.draws import Key
from longtail.losses import Criterion, Focus, Sigmoid, Total
from longtail.losses.per_class import PerClass
from longtail.losses.rotation import only_acute, straight_through
from longtail.moment import Mixed, Moment
from longtail.schedules import Constant

COUNTS = (30, 500, 7, 120, 120, 2)  # not sorted, with a tie
B, C, D = 12, len(COUNTS), 5
Build = Callable[..., Criterion]


@dataclass(frozen=True)
class Method:
    """How to build a loss, and what the theory says of it.

    `flat` are arguments with which every margin is 0 and every weight 1; the loss then is cross-entropy of the
    scaled scores. `level`: arguments with which it is so for equal counts alone.
    """

    build: Build
    scale: float | None = None  # of losses that take cosines
    flat: dict[str, Any] | None = None
    level: dict[str, Any] | None = None


sigmoid_focal = Sigmoid(Focus(0.5))
METHODS: dict[str, Method] = {
    "cross_entropy": Method(losses.cross_entropy, flat={}, level={}),
    "weighted_cross_entropy": Method(losses.weighted_cross_entropy, level={}),
    "focal": Method(losses.focal, flat={"gamma": 0}),
    "focal, detached, gamma 0.5": Method(partial(losses.focal, gamma=0.5, detached=True)),
    "focal_sigmoid": Method(losses.focal_sigmoid),
    "class_balanced": Method(losses.class_balanced, flat={"beta": 0.0}, level={}),
    "class_balanced, sigmoid": Method(partial(losses.class_balanced, likelihood=Sigmoid())),
    "class_balanced, focal": Method(partial(losses.class_balanced, likelihood=sigmoid_focal)),
    "generalised_reweighting": Method(losses.generalised_reweighting, flat={"rho": 0.0}, level={}),
    "label_aware_smoothing": Method(losses.label_aware_smoothing, flat={"head": 0.0}, level={}),
    "label_aware_smoothing, all": Method(partial(losses.label_aware_smoothing, spread="all"), flat={"head": 0.0}),
    "balanced_softmax": Method(losses.balanced_softmax, level={}),
    "logit_adjustment": Method(losses.logit_adjustment, flat={"tau": 0.0}, level={}),
    "equalization": Method(losses.equalization, flat={"gamma": 0.0}, level={}),
    "equalization_sigmoid": Method(losses.equalization_sigmoid),
    "seesaw": Method(losses.seesaw, flat={"p": 0.0, "q": 0.0}),
    "lade": Method(losses.lade, level={"alpha": 0.0}),
    "fbl": Method(losses.fbl, flat={"curriculum": Constant(0.0)}, level={}),
    "cosface": Method(losses.cosface, 64, flat={"margin": 0.0}),
    "arcface": Method(losses.arcface, 64, flat={"margin": 0.0}),
    "arcface, straight through": Method(partial(losses.arcface, beyond=straight_through), 64, flat={"margin": 0.0}),
    "ldam": Method(losses.ldam, 30, flat={"largest_margin": 0.0}),
    "kps": Method(losses.kps, 15, level={"largest_margin": 0.0}),
    "kps, adjusted": Method(partial(losses.kps, adjust_from=3), 15, level={"largest_margin": 0.0}),
    "ala": Method(losses.ala, 30, flat={"margin": 0.0}),
    "ala, quantity": Method(partial(losses.ala, difficulty=False), 30, flat={"margin": 0.0}),
    "gcl": Method(losses.gcl, 30, flat={"amplitude": 0.0}, level={}),
    "gcl, shared noise": Method(partial(losses.gcl, shared_noise=True), 30, flat={"amplitude": 0.0}, level={}),
    "gcl, second stage": Method(
        partial(losses.gcl, scale=20, target_margin=0.1, focus=Focus(1, detached=True)),
        20,
        flat={"amplitude": 0.0, "target_margin": 0.0, "focus": None},
    ),
    "gcl_angular": Method(losses.gcl_angular, 30, flat={"amplitude": 0.0, "target_margin": 0.0}),
    "gcl_angular, easy": Method(
        partial(losses.gcl_angular, target_margin=0.0, beyond=only_acute), 30, flat={"amplitude": 0.0}, level={}
    ),
}
OF_EXPERTS = {"ride"}
"""Losses of several heads at once, whose scores have another shape; golden/ride.json has them."""

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def scores_of(method: Method, generator: torch.Generator, rows: int = B, dtype: torch.dtype = torch.float64) -> Tensor:
    """Cosines within -0.95 and 0.95, or logits within -4 and 4."""
    uniform = torch.rand(rows, C, dtype=torch.float64, generator=generator) * 2 - 1
    return (uniform * (0.95 if method.scale else 4)).to(dtype).requires_grad_()


def batch(generator: torch.Generator, rows: int = B) -> tuple[Tensor, Tensor]:
    """Targets and features."""
    targets = torch.randint(C, (rows,), generator=generator)
    return targets, torch.randn(rows, D, dtype=torch.float64, generator=generator)


def loss_of(criterion: Criterion, scores: Tensor, targets: Tensor | Mixed, features: Tensor, **context: Any) -> Tensor:
    """The loss at epoch 4, with noise of a fixed key unless told otherwise."""
    context.setdefault("draws", Key.of_seed(5).draws(torch.arange(len(scores))))
    loss: Tensor = criterion(scores, targets, features=features.to(scores.dtype), epoch=4, **context)
    return loss


@every_method
def test_margin_zero_changes_nothing(method: Method, generator: torch.Generator) -> None:
    if method.flat is None:
        pytest.skip("has no margin that could be 0")
    scores, (targets, features) = scores_of(method, generator), batch(generator)
    loss = loss_of(method.build(COUNTS, **method.flat), scores, targets, features)
    torch.testing.assert_close(loss, F.cross_entropy((method.scale or 1) * scores, targets))


@every_method
def test_equal_counts(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator), batch(generator)
    assert_finite(loss_of(method.build((8,) * C), scores, targets, features), scores)
    if method.level is not None:
        level = loss_of(method.build((8,) * C, **method.level), scores, targets, features)
        torch.testing.assert_close(level, F.cross_entropy((method.scale or 1) * scores, targets))


@every_method
def test_permuting_the_classes_permutes_nothing_else(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator), batch(generator)
    shared = any(getattr(part, "shared", False) for part in method.build(COUNTS).modules())
    noise = torch.rand(B, 1 if shared else C, dtype=torch.float64, generator=generator).expand(B, C)
    order = torch.randperm(C, generator=generator)
    renamed = torch.argsort(order)[targets]
    loss = loss_of(method.build(COUNTS), scores, targets, features, draws=Given(noise))
    permuted = method.build([COUNTS[old] for old in order])
    other = loss_of(permuted, scores[:, order], renamed, features, draws=Given(noise[:, order]))
    torch.testing.assert_close(loss, other)


@every_method
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradients_are_finite(method: Method, generator: torch.Generator, dtype: torch.dtype) -> None:
    targets, features = batch(generator)
    features[0] = 0
    scores = scores_of(method, generator, dtype=dtype)
    with torch.no_grad():
        scores[0], scores[1] = (1, -1) if method.scale else (400, -400)
        scores[2, targets[2]], scores[3, targets[3]] = (1, -1) if method.scale else (400, -400)
    leaf = features.to(dtype).requires_grad_()
    loss = loss_of(method.build(COUNTS), scores, targets, leaf)
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert_finite(loss, scores)
    assert scores.grad is not None
    assert scores.grad.dtype == dtype
    assert leaf.grad is None or leaf.grad.isfinite().all()


@every_method
def test_one_sample_and_absent_classes(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator, rows=1), batch(generator, rows=1)
    assert_finite(loss_of(method.build(COUNTS), scores, targets, features), scores)


@every_method
def test_same_generator_same_loss(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator), batch(generator)
    criterion = method.build(COUNTS)
    first, again, other = (
        loss_of(copy.deepcopy(criterion), scores, targets, features, draws=None, generator=seeded)
        for seeded in (torch.Generator().manual_seed(seed) for seed in (0, 0, 1))
    )
    assert torch.equal(first, again)
    draws = any(getattr(part, "draws", False) for part in criterion.modules())
    assert torch.equal(first, other) != draws


@every_method
def test_without_noise_the_global_generator_is_left_alone(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator), batch(generator)
    criterion = method.build(COUNTS)
    before = torch.get_rng_state()
    loss_of(criterion, scores, targets, features, draws=None)
    draws = any(getattr(part, "draws", False) for part in criterion.modules())
    assert torch.equal(before, torch.get_rng_state()) != draws


@every_method
def test_autocast(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator, dtype=torch.float32), batch(generator)
    criterion = method.build(COUNTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss_of(copy.deepcopy(criterion), scores, targets, features)
    torch.testing.assert_close(inside, loss_of(criterion, scores, targets, features))


@every_method
def test_compiles_whole_and_once(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator, dtype=torch.float32), batch(generator)
    eager = method.build(COUNTS)
    compiled = torch.compile(copy.deepcopy(eager), backend="eager", fullgraph=True)
    features = features.to(scores.dtype)
    for epoch in range(4):
        draws = Key.of_seed(epoch).draws(torch.arange(B))
        context: dict[str, Any] = {"features": features, "epoch": torch.tensor(float(epoch)), "draws": draws}
        with torch.compiler.set_stance("default" if epoch == 0 else "fail_on_recompile"):
            loss = compiled(scores, targets, **context)
        torch.testing.assert_close(loss, eager(scores, targets, **context))
    torch._dynamo.reset()


@every_method
def test_functional_gradient(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator), batch(generator)
    criterion = method.build(COUNTS)
    loss_of(criterion, scores, targets, features).backward()
    criterion.eval()  # running statistics cannot change inside a transform: observe() is called outside
    gradient = torch.func.grad(lambda values: loss_of(criterion, values, targets, features))(scores.detach())
    torch.testing.assert_close(gradient, scores.grad)


@every_method
def test_two_halves_make_a_whole(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator), batch(generator)
    criterion = method.build(COUNTS)
    moment = Moment(targets, features, torch.tensor(4.0), Key.of_seed(5).draws(torch.arange(B)))
    criterion.observe(moment)
    whole = criterion.total(scores, moment)
    first, second = slice(0, 5), slice(5, B)
    halves = criterion.total(scores[first], moment.rows(first)) + criterion.total(scores[second], moment.rows(second))
    assert isinstance(halves, Total)
    assert torch.allclose(halves.mean(), whole.mean()) == criterion.row_separable


@every_method
def test_mixed_targets_are_two_losses_by_their_shares(method: Method, generator: torch.Generator) -> None:
    scores, (targets, features) = scores_of(method, generator), batch(generator)
    second, noise = targets.flip(0), torch.rand(B, C, dtype=torch.float64, generator=generator)
    criterion, share = method.build(COUNTS), torch.tensor(0.3, dtype=torch.float64)
    mixed = loss_of(criterion, scores, Mixed(targets, second, share), features, draws=Given(noise))
    criterion.eval()  # the labels of this batch are counted
    losses_of_both = [loss_of(criterion, scores, labels, features, draws=Given(noise)) for labels in (targets, second)]
    torch.testing.assert_close(mixed, 0.3 * losses_of_both[0] + 0.7 * losses_of_both[1])


@every_method
def test_buffers_follow_and_stay_exact(method: Method) -> None:
    criterion = method.build(COUNTS).double()
    exact = {name: buffer.clone() for name, buffer in criterion.named_buffers() if buffer.is_floating_point()}
    criterion.half()
    for name, buffer in criterion.named_buffers():
        assert not buffer.is_floating_point() or buffer.dtype == torch.float16, name
    criterion.double()
    for name, buffer in criterion.named_buffers():
        assert name not in exact or torch.equal(buffer, exact[name]), name
    criterion.to("meta")
    assert all(buffer.is_meta for buffer in criterion.buffers())


def test_repr_tells_the_numbers() -> None:
    text = repr(losses.gcl(COUNTS, scale=17, amplitude=0.25, target_margin=0.125, focus=Focus(3, detached=True)))
    parts = "Subtract(Everywhere(6 classes, 0 to 0.25, Noise(0.3333)), OnTarget(0.125)), Scale(17), Softmax()"
    assert text == f"Objective({parts}, Focus(3, detached), mean=batch)"
    assert "alpha=0.25, lambda_=0.5" in repr(losses.lade(COUNTS, alpha=0.25, lambda_=0.5))
    assert "Strength(Constant(strength=8.5))" in repr(losses.fbl(COUNTS, Constant(8.5)))
    assert "FromEpoch(start=160)" in repr(losses.deferred_reweighting(COUNTS))
    assert "beyond=only_acute" in repr(losses.arcface(beyond=only_acute))


@every_method
def test_repr_is_one_line_and_tells_every_part(method: Method) -> None:
    criterion = method.build(COUNTS)
    text = repr(criterion)
    assert "\n" not in text
    for part in criterion.modules():
        assert isinstance(part, PerClass | nn.ModuleList) or f"{type(part).__name__}(" in text


@every_method
@settings(max_examples=8, deadline=None, derandomize=True)
@given(counts=st.lists(st.integers(1, 10**7), min_size=2, max_size=9), seed=st.integers(0, 99))
def test_any_counts_give_finite_losses(method: Method, counts: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(4, len(counts), generator=generator).requires_grad_()
    targets = torch.randint(len(counts), (4,), generator=generator)
    assert_finite(loss_of(method.build(counts), scores, targets, torch.rand(4, D)), scores)


@every_method
def test_second_derivatives(method: Method, generator: torch.Generator) -> None:
    """Learnt weights (meta-learning) differentiate through a training step."""
    scores, (targets, features) = scores_of(method, generator), batch(generator)
    (gradient,) = torch.autograd.grad(
        loss_of(method.build(COUNTS), scores, targets, features), scores, create_graph=True
    )
    (second,) = torch.autograd.grad(gradient.square().sum(), scores)
    assert second.isfinite().all()


def assert_finite(loss: Tensor, scores: Tensor) -> None:
    """The loss and, after its backward, the gradient of the scores."""
    assert math.isfinite(loss.item())
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_the_table_misses_no_method() -> None:
    named = {name.partition(",")[0] for name in METHODS}
    assert {card.name for card in methods() if card.kind is LOSS} == named | OF_EXPERTS
