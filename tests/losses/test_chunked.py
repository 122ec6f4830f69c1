"""The chunked form gives what the dense form gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from longtail import losses
from longtail.draws import Key
from longtail.losses import ClassWeights, Criterion, Objective, chunked
from longtail.moment import Mixed

B, C, Q = 21, 40, 6
COUNTS = [1 + (7 * index) % 90 for index in range(C)]
BUILD: dict[str, Callable[[], Criterion]] = {
    "cross_entropy": losses.cross_entropy,
    "weighted": lambda: losses.weighted_cross_entropy(COUNTS),
    "focal": losses.focal,
    "logit_adjustment": lambda: losses.logit_adjustment(COUNTS),
    "ldam": lambda: losses.ldam(COUNTS),
    "cosface": losses.cosface,
    "arcface": losses.arcface,
    "kps": lambda: losses.kps(COUNTS, adjust_from=2),
    "ala": lambda: losses.ala(COUNTS),
    "gcl": lambda: losses.gcl(COUNTS, target_margin=0.1),
    "gcl_angular": lambda: losses.gcl_angular(COUNTS),
    "fbl": lambda: losses.fbl(COUNTS),
    "equalization": lambda: losses.equalization(COUNTS),
    "equalization_sigmoid": lambda: losses.equalization_sigmoid(COUNTS),
    "seesaw": lambda: losses.seesaw(COUNTS),
    "label_aware_smoothing": lambda: losses.label_aware_smoothing(COUNTS),
}
every_loss = pytest.mark.parametrize("build", BUILD.values(), ids=BUILD.keys())


@pytest.fixture
def inputs() -> list[Tensor]:
    """Unit queries (B, Q), unit anchors (C, Q), offsets (C,) that keep cosines in range, features (B, Q)."""
    generator = torch.Generator().manual_seed(2)
    queries, anchors, features = (torch.randn(rows, Q, dtype=torch.float64, generator=generator) for rows in (B, C, B))
    offsets = 0.001 * torch.randn(C, dtype=torch.float64, generator=generator)
    ready = (0.9 * F.normalize(queries), F.normalize(anchors), offsets, features)
    return [tensor.requires_grad_() for tensor in ready]


@every_loss
@pytest.mark.parametrize("mixed", [False, True])
def test_chunked_equals_dense(build: Callable[[], Criterion], mixed: bool, inputs: list[Tensor]) -> None:
    queries, anchors, offsets, features = inputs
    targets = torch.arange(B) * 5 % C
    labels = Mixed(targets, targets.flip(0) // 2, torch.tensor(0.3)) if mixed else targets
    draws = Key.of_seed(1).draws(torch.arange(B))
    dense = build()(queries @ anchors.T + offsets, labels, features=features, epoch=3, draws=draws)
    wanted = torch.autograd.grad(dense, inputs, allow_unused=True, materialize_grads=True)
    loss = chunked(build(), queries, anchors, labels, offsets=offsets, features=features, epoch=3, draws=draws, rows=8)
    torch.testing.assert_close(loss, dense)
    found = torch.autograd.grad(loss, inputs)
    torch.testing.assert_close(found, wanted)


def test_terms_of_other_weights(inputs: list[Tensor]) -> None:
    """Mixed targets with class weights: each term is divided by its own sum of weights."""
    queries, anchors, _, _ = inputs
    criterion = Objective(class_weights=ClassWeights(COUNTS))
    targets = Mixed(torch.arange(B), torch.arange(B) // 3, torch.rand(B, generator=torch.Generator().manual_seed(0)))
    dense = criterion(queries @ anchors.T, targets)
    wanted = torch.autograd.grad(dense, (queries, anchors))
    loss = chunked(criterion, queries, anchors, targets, rows=4)
    torch.testing.assert_close(loss, dense)
    torch.testing.assert_close(torch.autograd.grad(2 * loss, (queries, anchors)), tuple(2 * g for g in wanted))


def test_lade_refuses_chunks(inputs: list[Tensor]) -> None:
    queries, anchors, _, _ = inputs
    with pytest.raises(ValueError, match="belongs to the whole batch"):
        chunked(losses.lade(COUNTS), queries, anchors, torch.zeros(B, dtype=torch.int64))
