"""Every head against its formula written out, and what all heads owe to those who use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtail.errors import LongtailError
from longtail.models.calibrated_heads import DisAlignForm
from longtail.models.heads import (
    AnchoredHead,
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
    build,
)
from longtail.models.nearest_mean import Distance, Transform

B, D, C = 5, 12, 7
AnyHead = TypeVar("AnyHead", bound=Head)

ANCHORED: dict[str, Callable[[], AnchoredHead]] = {
    "linear": lambda: Linear(D, C),
    "cosine": lambda: Cosine(D, C, scale=16.0),
    "causal norm": lambda: CausalNorm(D, C, parts=3, alpha=1.0),
    "scaled linear": lambda: LearnableWeightScaling(Linear(D, C)),
    "scaled cosine": lambda: LearnableWeightScaling(Cosine(D, C)),
    "scaled causal norm": lambda: LearnableWeightScaling(CausalNorm(D, C)),
    "aligned linear": lambda: DisAlign(Linear(D, C)),
    "aligned cosine, as in code": lambda: DisAlign(Cosine(D, C), "code"),
    "aligned causal norm": lambda: DisAlign(CausalNorm(D, C)),
    "aligned, then scaled": lambda: LearnableWeightScaling(DisAlign(Cosine(D, C), "code")),
    "scaled, then aligned": lambda: DisAlign(LearnableWeightScaling(CausalNorm(D, C))),
    "tau-normalised linear": lambda: TauNormalised(Linear(D, C), tau=0.7),
    "tau-normalised linear with its bias": lambda: TauNormalised(Linear(D, C), tau=1.5, keep_bias=True),
    "tau-normalised cosine": lambda: TauNormalised(Cosine(D, C), tau=0.7),
    "scaled tau-normalised": lambda: LearnableWeightScaling(TauNormalised(Linear(D, C), tau=1.0)),
    "nearest mean": lambda: nearest("cl2n", "l2"),
    "nearest mean by cosine": lambda: nearest("un", "cos"),
}
HEADS: dict[str, Callable[[], Head]] = {
    **ANCHORED,
    "experts": lambda: Experts([Cosine(D, C) for _ in range(3)]),
    "experts of causal norm": lambda: Experts([CausalNorm(D, C) for _ in range(2)]),
    "experts, each scaled": lambda: Experts([LearnableWeightScaling(Linear(D, C)) for _ in range(3)]),
    "shifted linear": lambda: Shifted(Linear(D, C), range(C)),
    "shifted causal norm": lambda: Shifted(CausalNorm(D, C), range(C)),
    "shifted experts": lambda: Shifted(Experts([DisAlign(Cosine(D, C)) for _ in range(2)]), range(C)),
    "experts, each shifted": lambda: Experts([Shifted(Cosine(D, C)) for _ in range(2)]),
}


def nearest(transform: Transform, distance: Distance) -> NearestMean:
    """Of random features with known means."""
    return NearestMean.of(features(40), torch.arange(40) % C, C, transform, distance)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=list(HEADS.values()), ids=list(HEADS))
def head(request: pytest.FixtureRequest) -> Head:
    """One of every kind, its numbers away from where they begin, its common direction known."""
    make: Callable[[], Head] = request.param
    return moved(make())


@pytest.fixture(params=list(ANCHORED.values()), ids=list(ANCHORED))
def anchored(request: pytest.FixtureRequest) -> AnchoredHead:
    """The same, of those with anchors."""
    make: Callable[[], AnchoredHead] = request.param
    return moved(make())


def moved(head: AnyHead) -> AnyHead:
    head = head.double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    head.observe(features())
    return head


def features(rows: int = B) -> Tensor:
    return torch.rand(rows, D, dtype=torch.float64)


def test_linear_is_torch_linear() -> None:
    head, twin = Linear(D, C), nn.Linear(D, C)
    twin.load_state_dict(head.state_dict())
    f = features().float()
    torch.testing.assert_close(head(f), twin(f))
    torch.testing.assert_close(head.logits(f), twin(f))


def test_cosine_is_cosine_similarity() -> None:
    head, f = Cosine(D, C, scale=20.0).double(), features()
    expected = F.cosine_similarity(f[:, None], head.weight[None], dim=-1)
    torch.testing.assert_close(head(f), expected)
    torch.testing.assert_close(head.logits(f), 20 * expected)


def test_a_feature_that_is_no_number_is_not_taken_for_zero() -> None:
    assert Cosine(D, C)(torch.full((1, D), torch.nan)).isnan().all()


def test_cosine_weights_begin_at_unit_length() -> None:
    torch.testing.assert_close(Cosine(D, C).weight.norm(dim=1), torch.ones(C))


def test_causal_norm_part_by_part() -> None:
    head = CausalNorm(D, C, parts=3, tau=8.0, gamma=0.25, alpha=1.5).double()
    head.observe(features())
    head.observe(features())
    f = features()
    training, inference = torch.zeros(B, C).double(), torch.zeros(B, C).double()
    for k in range(3):
        part = slice(4 * k, 4 * k + 4)
        anchors = head.weight[:, part] / (head.weight[:, part].norm(dim=1, keepdim=True) + 0.25)
        unit = f[:, part] / f[:, part].norm(dim=1, keepdim=True)
        common = head.direction[part] / head.direction[part].norm()
        training += 8 / 3 * unit @ anchors.T
        inference += 8 / 3 * (unit - 1.5 * (unit @ common)[:, None] * common) @ anchors.T
    torch.testing.assert_close(head(f), training)
    torch.testing.assert_close(head.logits(f), inference)


def test_common_direction_moves_when_told() -> None:
    head = CausalNorm(D, C, momentum=0.9)
    first, second = features().float(), features().float()
    head.observe(first)
    head(second)
    head.logits(second)
    torch.testing.assert_close(head.direction, first.mean(dim=0))
    LearnableWeightScaling(head).observe(second)
    torch.testing.assert_close(head.direction, 0.9 * first.mean(dim=0) + second.mean(dim=0))


def test_causal_norm_needs_equal_parts() -> None:
    with pytest.raises(LongtailError, match="12 features into 5 equal parts"):
        CausalNorm(D, C, parts=5)


def test_learnable_scales_multiply_scores_and_bias() -> None:
    base = Linear(D, C)
    head, f = LearnableWeightScaling(base), features().float()
    torch.testing.assert_close(head(f), base(f))
    with torch.no_grad():
        head.scales.copy_(torch.linspace(0.5, 2, C))
    torch.testing.assert_close(head(f), head.scales * base(f))


@pytest.mark.parametrize("make_base", [lambda: Linear(D, C), lambda: Cosine(D, C)], ids=["linear", "cosine"])
def test_disalign_is_both_published_forms(make_base: Callable[[], Head]) -> None:
    f = features()
    forms: tuple[DisAlignForm, ...] = ("paper", "code")
    for form in forms:
        head = DisAlign(make_base(), form).double()
        z, a, b = head.base.logits(f), head.logit_scale, head.logit_bias
        with torch.no_grad():
            for parameter in (a, b, head.confidence_bias):
                parameter.add_(torch.randn_like(parameter))
        c = torch.sigmoid(f @ head.confidence_weight + head.confidence_bias)[:, None]
        expected = c * (a * z + b) + (1 - c) * z if form == "paper" else (1 + c * a) * z + c * b
        torch.testing.assert_close(head(f), expected)
        torch.testing.assert_close(head.logits(f), expected)


def test_disalign_in_the_papers_form_begins_at_the_base() -> None:
    base, f = Linear(D, C), features().float()
    torch.testing.assert_close(DisAlign(base)(f), base(f))


def test_scores_are_inner_products(anchored: AnchoredHead) -> None:
    f = features()
    scores = anchored.queries(f) @ anchored.anchors().T
    offsets = anchored.offsets()
    torch.testing.assert_close(anchored(f), scores if offsets is None else scores + offsets)


def test_a_description_makes_the_head_again(head: Head) -> None:
    again = build(json.loads(json.dumps(head.description())), D, C).double()
    again.load_state_dict(head.state_dict())
    f = features()
    assert repr(again) == repr(head)
    assert torch.equal(again(f), head(f))
    assert torch.equal(again.logits(f), head.logits(f))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_zero_feature_has_finite_scores_and_gradients(head: Head, dtype: torch.dtype) -> None:
    head.to(dtype)
    f = features().to(dtype)
    f[0] = 0
    f.requires_grad_()
    for scores in (head(f), head.logits(f)):
        assert scores.dtype == torch.promote_types(dtype, torch.float32)
        assert scores.isfinite().all()
        scores.square().sum().backward()
    dropped = {"base.bias", "base.base.bias"} if "keep_bias=False" in repr(head) else set()
    for name, tensor in (("features", f), *head.named_parameters()):
        if name not in dropped:
            assert tensor.grad is not None, name
            assert tensor.grad.isfinite().all(), name


@pytest.mark.parametrize("make", [Linear, Cosine, CausalNorm])
def test_half_precision_features_and_autocast_cost_no_precision(make: Callable[[int, int], Head]) -> None:
    head, f = make(D, C), features().bfloat16()
    exact = head(f.float())
    assert torch.equal(head(f), exact)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(f), exact)
        assert torch.equal(torch.compile(head, backend="eager", fullgraph=True)(f), exact)


def test_heads_compile_without_a_break_and_differentiate_as_functions(head: Head) -> None:
    torch.compiler.reset()
    f = features()
    assert torch.equal(torch.compile(head, backend="eager", fullgraph=True)(f), head(f))
    parameters: dict[str, Tensor] = dict(head.named_parameters())

    def total(parameters: dict[str, Tensor]) -> Tensor:
        scores: Tensor = torch.func.functional_call(head, parameters, (f,))
        return scores.square().sum()

    if not parameters:
        return
    gradients = torch.func.grad(total)(parameters)
    torch.autograd.backward(total(parameters))
    for name, parameter in parameters.items():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradients[name], expected)


@pytest.mark.parametrize("make", [Linear, Cosine, CausalNorm])
def test_a_head_starts_from_given_anchors(make: type[Linear | Cosine | CausalNorm]) -> None:
    head, means = make(D, C), torch.randn(C, D)
    head.start_from(means)
    assert torch.equal(head.weight, means)
    offsets = head.offsets()
    assert offsets is None or not offsets.any()
    with pytest.raises(LongtailError, match=r"anchors of shape \(7, 12\), not \(12, 7\)"):
        head.start_from(means.T)


@pytest.mark.parametrize("make", [Linear, Cosine, CausalNorm])
def test_the_same_generator_gives_the_same_weights(make: type[Linear | Cosine | CausalNorm]) -> None:
    one, two, other = (make(D, C, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ({"kind": "cosinus"}, "Unknown head 'cosinus'; did you mean cosine?"),
        ({}, "Unknown head 'None'"),
        ({"kind": "linear", "scale": 3.0}, "does not fit a head of kind linear"),
        ({"kind": "disalign"}, "does not fit a head of kind disalign: 'base'"),
        ({"kind": "disalign", "base": {"kind": "linear"}, "form": "cod"}, "Unknown form of DisAlign 'cod'"),
        ({"kind": "experts", "experts": 0, "base": {"kind": "linear"}}, "Experts are at least one head"),
        ({"kind": "experts", "base": {"kind": "linear"}}, "does not fit a head of kind experts: 'experts'"),
        ({"kind": "tau_normalised", "tau": -1, "base": {"kind": "linear"}}, "tau must be 0 or above, not -1"),
        ({"kind": "tau_normalised", "tau": 1, "base": {"kind": "causal_norm"}}, "not of a head of kind causal_norm"),
        ({"kind": "nearest_mean", "transform": "l2"}, "Unknown transform of features 'l2'; did you mean l2n"),
        ({"kind": "nearest_mean", "distance": "cosine"}, "Unknown distance 'cosine'; did you mean cos"),
    ],
)
def test_a_description_that_fits_nothing_is_said_so(description: dict[str, object], sentence: str) -> None:
    with pytest.raises(LongtailError) as caught:
        build(description, D, C)
    assert sentence in str(caught.value)
