"""A loss of logits on cosines: the same loss of so many times the cosines, and its gradient by the chain rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from longtail import losses
from longtail.errors import LongtailError
from longtail.losses import Criterion, Scaled
from longtail.moment import Mixed
from longtail.schedules import Constant

COUNTS = (30, 500, 7, 120, 120, 2)
OF_LOGITS: dict[str, Callable[[], Criterion]] = {
    "cross_entropy": losses.cross_entropy,
    "balanced_softmax": lambda: losses.balanced_softmax(COUNTS),
    "focal": lambda: losses.focal(COUNTS, 2.0),
    "generalised_reweighting": lambda: losses.generalised_reweighting(COUNTS),
    "label_aware_smoothing": lambda: losses.label_aware_smoothing(COUNTS),
    "lade": lambda: losses.lade(COUNTS),
    "seesaw": lambda: losses.seesaw(COUNTS),
    "fbl": lambda: losses.fbl(COUNTS, Constant(60.0)),
}


@pytest.mark.parametrize("name", OF_LOGITS)
@pytest.mark.parametrize("mixed", [False, True])
def test_it_is_the_loss_of_logits(name: str, mixed: bool) -> None:
    torch.manual_seed(0)
    cosines = (1.9 * torch.rand(8, 6, dtype=torch.float64) - 0.95).requires_grad_()
    features = torch.randn(8, 5, dtype=torch.float64)
    first, second = torch.randint(6, (2, 8))
    targets = Mixed(first, second, torch.tensor(0.3, dtype=torch.float64)) if mixed else first
    logits = (16.0 * cosines.detach()).requires_grad_()
    scaled, plain = Scaled(OF_LOGITS[name](), 16.0), OF_LOGITS[name]()
    for _ in range(2):  # a running statistic sees each batch once
        loss = scaled(cosines, targets, features=features, epoch=3.0)
        expected = plain(logits, targets, features=features, epoch=3.0)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(loss, cosines)
    (of_logits,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(gradient, 16.0 * of_logits, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_it_says_what_it_takes(name: str) -> None:
    scaled, plain = Scaled(OF_LOGITS[name](), 16.0), OF_LOGITS[name]()
    assert (scaled.takes_cosines, scaled.score_scale) == (True, 16.0)
    assert (scaled.row_separable, scaled.score_dims) == (plain.row_separable, plain.score_dims)


def test_logits_are_refused() -> None:
    with pytest.raises(LongtailError, match="takes cosines, from -1 to 1, but a score is 5"):
        Scaled(losses.cross_entropy(), 16.0)(torch.full((2, 3), 5.0), torch.tensor([0, 1]))


def test_scales_multiply() -> None:
    assert Scaled(losses.ldam(COUNTS, scale=20.0), 2.0).score_scale == 40.0
