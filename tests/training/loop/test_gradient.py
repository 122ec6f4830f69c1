"""A batch in pieces has the gradient of the batch as a whole, for every kind of loss and head."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from longtail import losses
from longtail.data.loading.loader import Loader
from longtail.data.mixing import Mixing, cutmix, manifold_mixup, mixup
from longtail.data.parts import Part
from longtail.data.sources.digits import digits
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.losses.criterion import Criterion
from longtail.models.classifier import Classifier
from longtail.models.heads import CausalNorm, Cosine, Experts, Head, Linear
from longtail.samplers import LabelIndex, instance, reversed_
from longtail.training.loop.gradient import Gradient
from longtail.training.loop.learning import Learning
from longtail.training.loop.pieces import Pieces
from longtail.training.loop.sources import Images, order_of
from longtail.training.stage import Stage
from tiny_training import DIGITS, FLOAT32

COUNTS = digits().counts
KEY = Key.of_seed(0)


class WithoutBatchNorm(nn.Module):
    """Each image on its own, so that pieces may be compared with the whole."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.convolution(images)).mean(dim=(2, 3))


def linear() -> Head:
    return Linear(8, 10)


def cosine() -> Head:
    return Cosine(8, 10, scale=16.0)


def experts() -> Head:
    return Experts([Linear(8, 10) for _ in range(2)])


class Side(nn.Module):
    """Two experts' features of the same images."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = WithoutBatchNorm(), WithoutBatchNorm()

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.one(images), self.other(images)], dim=1)


CASES: dict[str, tuple[Callable[[], Head], Criterion, Mixing | None]] = {
    "ce": (linear, losses.cross_entropy(), None),
    "weighted mean": (linear, losses.class_balanced(COUNTS), None),
    "weighted mean of mixed targets": (linear, losses.class_balanced(COUNTS), mixup()),
    "focal": (linear, losses.focal(), cutmix()),
    "gcl": (cosine, losses.gcl(COUNTS), mixup()),
    "fbl": (linear, losses.fbl(COUNTS), None),
    "seesaw": (linear, losses.seesaw(COUNTS), None),
    "ride": (experts, losses.ride(COUNTS), None),
    "causal norm": (lambda: CausalNorm(8, 10), losses.cross_entropy(), None),
}


@pytest.fixture(scope="module")
def part() -> Part:
    return digits().train


def taken(what: Stage, head: Callable[[], Head], part: Part, steps: int = 2) -> tuple[list[float], dict[str, Tensor]]:
    """Losses of some steps, and gradients and state behind the last of them; nothing learns."""
    torch.manual_seed(0)
    backbone = Side() if head is experts else WithoutBatchNorm()
    what = replace(what, objective=deepcopy(what.objective))  # which may count as it goes
    learning = Learning.of(what, Classifier(backbone, head()), FLOAT32)
    pieces = Pieces(what.batch_size, len(what.samplings), what.accumulate)
    loader = Loader(part, DIGITS, batch_size=what.batch_size)
    source = Images(loader, DIGITS, FLOAT32, what, pieces, learning.classifier.backbone, learns=True)
    gradient = Gradient(what, learning, source, pieces, FLOAT32)
    order = order_of(what, LabelIndex.of(part.labels, 10), KEY, 1, steps)
    found = [float(gradient.of(sample, KEY, 1, step)) for step, sample in enumerate(source.samples(order, KEY, 1))]
    gradients = {
        name: tensor.grad for name, tensor in learning.classifier.named_parameters() if tensor.grad is not None
    }
    return found, gradients | dict(learning.classifier.named_buffers()) | dict(learning.objective.named_buffers())


@pytest.mark.parametrize("pieces", [2, 3, 5])
@pytest.mark.parametrize("case", CASES)
def test_pieces_add_up_to_the_batch(case: str, pieces: int, part: Part) -> None:
    head, objective, mixing = CASES[case]
    whole = Stage("test", objective, epochs=2, batch_size=64, lr=0.1, mixing=mixing)
    (losses_whole, gradients), (losses_pieces, others) = (
        taken(what, head, part) for what in (whole, replace(whole, accumulate=pieces))
    )
    assert losses_pieces == pytest.approx(losses_whole, rel=1e-5)
    assert gradients.keys() == others.keys()
    for name, expected in gradients.items():
        torch.testing.assert_close(others[name], expected, rtol=1e-4, atol=1e-6, msg=f"{case}: {name}")


def test_features_mixed_in_pairs_want_the_whole_batch(part: Part) -> None:
    what = Stage("test", losses.cross_entropy(), epochs=2, batch_size=64, lr=0.1, mixing=manifold_mixup(), accumulate=2)
    with pytest.raises(LongtailError, match=r"manifold_mixup.*mixes the features of a batch.*--accumulate"):
        taken(what, linear, part, steps=6)


def test_what_looks_at_the_whole_batch_is_refused() -> None:
    with pytest.raises(LongtailError, match="accumulate"):
        Stage("test", losses.lade(COUNTS), epochs=2, batch_size=64, lr=0.1, accumulate=2)
    two = (instance(), reversed_())
    with pytest.raises(LongtailError, match="accumulate"):
        Stage("test", losses.cross_entropy(), epochs=2, batch_size=64, lr=0.1, samplings=two, accumulate=2)
