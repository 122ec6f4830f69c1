"""Heads that are computed rather than learnt, and heads of several experts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize
from torch import Tensor

from longtail.counts import ClassCounts
from longtail.errors import LongtailError
from longtail.models import nearest_mean
from longtail.models.heads import (
    CausalNorm,
    Cosine,
    DisAlign,
    Experts,
    Head,
    LearnableWeightScaling,
    Linear,
    NearestMean,
    Shifted,
    TauNormalised,
    around,
)
from longtail.models.nearest_mean import Transform
from longtail.priors import logit_shift

B, D, C, M = 6, 8, 5, 3


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def features(*shape: int) -> Tensor:
    return torch.rand(*shape, D, dtype=torch.float64)


def lengthened(head: Linear | Cosine) -> Linear | Cosine:
    """A head whose weights have lengths of their own."""
    with torch.no_grad():
        head.weight.mul_(torch.linspace(0.3, 4, C)[:, None])
    return head.double()


@pytest.mark.parametrize("tau", [0.0, 0.4, 1.0, 2.0])
@pytest.mark.parametrize("keep_bias", [False, True])
def test_tau_norm_class_by_class(tau: float, keep_bias: bool) -> None:
    base, f = lengthened(Linear(D, C)), features(B)
    logits = TauNormalised(base, tau, keep_bias=keep_bias).logits(f)
    for j in range(C):
        weight = base.weight[j] / base.weight[j].norm() ** tau
        bias = base.bias[j] if keep_bias and isinstance(base, Linear) else 0.0
        torch.testing.assert_close(logits[:, j], f @ weight + bias)


def test_tau_one_of_a_cosine_head_is_the_head_itself() -> None:
    base, f = lengthened(Cosine(D, C, scale=20.0)), features(B)
    torch.testing.assert_close(TauNormalised(base, 1.0)(f), base(f))
    torch.testing.assert_close(TauNormalised(base, 1.0).logits(f), base.logits(f))
    weighted = 20 * torch.nn.functional.normalize(f) @ base.weight.T
    torch.testing.assert_close(TauNormalised(base, 0.0).logits(f), weighted)


def training(number: int = 90) -> tuple[Tensor, Tensor]:
    """Features in clouds around the corners of a cube, of unequal classes that are not sorted."""
    labels = torch.cat([torch.arange(C), torch.randint(C, (number - C,)).clamp(max=3)])
    return features(number) + 2 * torch.eye(C, D, dtype=torch.float64)[labels], labels


@pytest.mark.parametrize("transform", ["un", "l2n", "cl2n"])
def test_nearest_mean_is_scikit_learns_nearest_centroid(transform: Transform) -> None:
    (f, labels), query = training(), features(200) + 1
    head = NearestMean.of(f, labels, C, transform)
    centre = f.mean(dim=0) if transform == "cl2n" else torch.zeros(D)

    def transformed(rows: Tensor) -> NDArray[np.float64]:
        moved = (rows - centre).numpy()
        return np.asarray(moved if transform == "un" else normalize(moved))

    reference = NearestCentroid().fit(transformed(f), labels.numpy())
    np.testing.assert_allclose(head.means.numpy(), reference.centroids_, rtol=1e-12)
    assert (head.logits(query).argmax(dim=1).numpy() == reference.predict(transformed(query))).all()
    assert len(set(reference.predict(transformed(query)))) > 2
    distances = torch.cdist(torch.from_numpy(transformed(query)), head.means)
    torch.testing.assert_close(head.logits(query).softmax(dim=1), (-distances.square()).softmax(dim=1))


def test_nearest_mean_by_inner_product() -> None:
    (f, labels), query = training(), features(B)
    scores = NearestMean.of(f, labels, C, "un", "cos").logits(query)
    for j in range(C):
        torch.testing.assert_close(scores[:, j], query @ f[labels == j].mean(dim=0) / D)


def test_class_means_of_half_precision_are_summed_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    f, labels = features(5000).half() + 200, torch.arange(5000) % C
    whole = NearestMean.of(f, labels, C)
    monkeypatch.setattr(nearest_mean, "ROWS", 7)
    pieces = NearestMean.of(f, labels, C)
    assert whole.means.dtype == torch.float32
    torch.testing.assert_close(whole.centre, f.double().mean(dim=0).float(), rtol=0, atol=0)
    torch.testing.assert_close(pieces.means, whole.means, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("rows", "labels", "sentence"),
    [
        (4, [0, 1, 3, 4], "Class 2 has no image, and so no mean"),
        (5, [0, 1, 2, 3, 5], "there are 5, from 0 to 4"),
        (5, [0, 1, 2, 3, -1], "there are 5, from 0 to 4"),
        (5, [0, 1, 2, 3], r"not \(5, 8\) and 4"),
    ],
)
def test_class_means_that_cannot_be_are_said_so(rows: int, labels: list[int], sentence: str) -> None:
    with pytest.raises(LongtailError, match=sentence):
        NearestMean.of(features(rows), torch.tensor(labels), C)


def bases() -> list[Head]:
    return [
        Linear(D, C),
        Cosine(D, C, scale=16.0),
        CausalNorm(D, C),
        DisAlign(Cosine(D, C)),
        Experts([Cosine(D, C) for _ in range(M)]),
    ]


@pytest.mark.parametrize("base", bases(), ids=lambda base: base.kind)
def test_a_shift_moves_what_predicts_and_nothing_else(base: Head) -> None:
    base.double().observe(features(B))
    shift = logit_shift(ClassCounts((50, 3, 20, 7, 1)), tau=1.3)
    head, f = Shifted(base, shift).double(), features(B)
    assert torch.equal(head(f), base(f))
    torch.testing.assert_close(head.logits(f), base.logits(f) + torch.tensor(shift), rtol=0, atol=1e-6)


def test_a_shift_is_one_number_per_class() -> None:
    for wrong in ([0.0] * 4, [0.0] * 4 + [float("inf")], 3.0):
        with pytest.raises(LongtailError, match="A shift is 5 finite numbers, one per class"):
            Shifted(Linear(D, C), wrong)


def test_a_shift_is_saved_and_loaded() -> None:
    head, again = Shifted(Linear(D, C), range(C)), Shifted(Linear(D, C))
    again.load_state_dict(head.state_dict())
    f = features(B).float()
    assert torch.equal(again.logits(f), head.logits(f))


@pytest.mark.parametrize("shared", [True, False])
def test_experts_are_a_loop_and_a_mean(shared: bool) -> None:
    heads = [CausalNorm(D, C, alpha=2.0).double() for _ in range(M)]
    experts, f = Experts(heads), features(B) if shared else features(B, M)
    seen = features(B) if shared else features(B, M)
    experts.observe(seen)
    logits = torch.zeros(B, C, dtype=torch.float64)
    for m, head in enumerate(heads):
        own = f if shared else f[:, m]
        torch.testing.assert_close(head.direction, (seen if shared else seen[:, m]).mean(dim=0))
        torch.testing.assert_close(experts(f)[:, m], head(own))
        logits += head.logits(own) / M
    torch.testing.assert_close(experts.logits(f), logits)


def test_an_expert_learns_from_its_own_scores_alone() -> None:
    experts = Experts([Linear(D, C) for _ in range(M)])
    f = features(B, M).float().requires_grad_()
    experts(f)[:, 1].square().sum().backward()
    moved = {name for name, tensor in experts.named_parameters() if tensor.grad is not None and tensor.grad.any()}
    assert moved == {"heads.1.weight", "heads.1.bias"}
    assert f.grad is not None
    assert f.grad.abs().sum(dim=(0, 2)).nonzero().tolist() == [[1]]


def test_experts_that_do_not_fit_are_said_so() -> None:
    with pytest.raises(LongtailError, match="of one kind, with the same numbers"):
        Experts([Cosine(D, C, scale=16.0), Cosine(D, C, scale=20.0)])
    with pytest.raises(LongtailError, match=r"3 experts take features \(B, 3, 8\), not \(6, 2, 8\)"):
        Experts([Linear(D, C) for _ in range(M)])(features(B, 2).float())


@pytest.mark.parametrize("wrap", [LearnableWeightScaling, DisAlign])
def test_what_changes_anchors_goes_around_each_expert(wrap: type[LearnableWeightScaling | DisAlign]) -> None:
    experts = Experts([Cosine(D, C) for _ in range(M)])
    for base in (experts, Shifted(Cosine(D, C))):
        with pytest.raises(LongtailError, match=f"A {wrap.kind} head .* kind {base.kind} has none"):
            wrap(base)
    wrapped, f = around(experts, wrap), features(B, M).float()
    assert wrapped.description()["base"] == wrap(Cosine(D, C)).description()
    torch.testing.assert_close(wrapped(f), torch.stack([wrap(h)(f[:, m]) for m, h in enumerate(experts.heads)], dim=1))  # type: ignore[arg-type]
    assert around(Cosine(D, C), wrap).kind == wrap.kind
