"""Gradients written by hand are those that autograd finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from longtail import losses
from longtail.draws import Key
from longtail.losses import Criterion, Focus, by_hand
from longtail.losses.rotation import only_acute, straight_through
from longtail.moment import Mixed

B, C = 21, 40
COUNTS = [1 + (7 * index) % 90 for index in range(C)]
BUILD: dict[str, Callable[[], Criterion]] = {
    "cross_entropy": losses.cross_entropy,
    "weighted": lambda: losses.weighted_cross_entropy(COUNTS),
    "focal": losses.focal,
    "logit_adjustment": lambda: losses.logit_adjustment(COUNTS),
    "lade": lambda: losses.lade(COUNTS),
    "ldam": lambda: losses.ldam(COUNTS),
    "arcface": losses.arcface,
    "arcface, straight through": lambda: losses.arcface(beyond=straight_through),
    "kps, adjusted": lambda: losses.kps(COUNTS, adjust_from=2),
    "ala": lambda: losses.ala(COUNTS),
    "gcl": lambda: losses.gcl(COUNTS, target_margin=0.1, focus=Focus(1, detached=True)),
    "gcl_angular": lambda: losses.gcl_angular(COUNTS, amplitude=0.5),
    "gcl_angular, easy": lambda: losses.gcl_angular(COUNTS, beyond=only_acute),
    "equalization": lambda: losses.equalization(COUNTS),
    "seesaw": lambda: losses.seesaw(COUNTS),
}


def cosines(dtype: torch.dtype = torch.float64) -> Tensor:
    """(B, C), with targets at both ends, where a sine has no derivative."""
    scores = 2 * torch.rand(B, C, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) - 1
    scores[0, 0], scores[1, 5] = 1, -1
    return scores.to(dtype).requires_grad_()


def loss_of(criterion: Criterion, scores: Tensor, mixed: bool = False) -> Tensor:
    targets = torch.arange(B) * 5 % C
    labels = Mixed(targets, targets.flip(0), torch.tensor(0.3)) if mixed else targets
    loss: Tensor = criterion(scores, labels, epoch=3, draws=Key.of_seed(1).draws(torch.arange(B)))
    return loss


@pytest.fixture(params=list(BUILD.values()), ids=list(BUILD))
def build(request: pytest.FixtureRequest) -> Callable[[], Criterion]:
    made: Callable[[], Criterion] = request.param
    return made


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Gradients by hand, in blocks that do not divide the batch, or by autograd."""
    monkeypatch.setattr(by_hand, "BLOCK", 4 * C)
    return lambda on: monkeypatch.setattr(by_hand, "SMALLEST", 0 if on else 10**9)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_same_to_the_second_derivative(
    build: Callable[[], Criterion], mixed: bool, switch: Callable[[bool], None]
) -> None:
    found, scores = [], cosines()
    for on in (False, True):
        switch(on)
        loss = loss_of(build(), scores, mixed)
        (gradient,) = torch.autograd.grad(loss, scores, retain_graph=True)
        (again,) = torch.autograd.grad(loss, scores, create_graph=True)
        (second,) = torch.autograd.grad(again.square().sum(), scores)
        torch.testing.assert_close(again, gradient)
        found.append((loss, gradient, second))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_scores_of_lower_precision(
    build: Callable[[], Criterion], dtype: torch.dtype, switch: Callable[[bool], None]
) -> None:
    """The loss is as exact as in float32; the gradient is rounded to the scores' dtype."""
    scores = cosines(dtype)
    switch(False)
    wanted = loss_of(build(), scores)
    (gradient,) = torch.autograd.grad(wanted, scores)
    switch(True)
    loss = loss_of(build(), scores)
    (found,) = torch.autograd.grad(loss, scores)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(found, gradient)


def test_many_classes_in_half_precision(switch: Callable[[bool], None]) -> None:
    """A sum over 70,000 equal classes is beyond float16; probabilities are not."""
    switch(True)
    scores = torch.zeros(1, 70_000, dtype=torch.float16, requires_grad=True)
    losses.cross_entropy()(scores, torch.tensor([0])).backward()
    assert scores.grad is not None
    assert scores.grad[0, 0] == -1
