"""Second stages as steps: what learns, what stays to the bit, and the closed forms against plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtail import losses
from longtail.counts import ClassCounts
from longtail.data.parts import ImageSet
from longtail.data.sources.digits import digits
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.models.classifier import Classifier
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
)
from longtail.samplers import cben, class_aware
from longtail.training.loop.log import Turn
from longtail.training.planning.settings import DIGITS
from longtail.training.second_stage import rebalance
from longtail.training.second_stage.ways import BY_SAMPLING, IN_CLOSED_FORM, WAYS, Way, find_loss, ways
from longtail.training.stage import HEAD_ALONE, HeadEdit, Stage
from tiny_training import changed, classifier, state, trainer

IMAGES = digits()
COUNTS = IMAGES.counts
SETTING = replace(DIGITS, epochs=2, batch_size=64)
CONFIDENCE = {"head.confidence_weight", "head.confidence_bias"}


def fitted(model: Classifier, what: Stage, folder: Path) -> Classifier:
    return trainer(folder).fit(model, what, IMAGES.train, Turn(1, 1, 1), Key.of_seed(0))


def edited(model: Classifier, step: HeadEdit, folder: Path, images: ImageSet = IMAGES) -> Head:
    return trainer(folder).edit(model, step, images, images.counts.shot_borders()).head


def gcl() -> losses.Criterion:
    return losses.gcl(COUNTS, scale=20.0)


@pytest.mark.parametrize("objective", [losses.cross_entropy(), gcl()], ids=["logits", "cosines"])
def test_crt_begins_with_a_fresh_head_of_the_losss_kind(objective: losses.Criterion, tmp_path: Path) -> None:
    model = classifier(Linear(8, 10))
    before = state(model.backbone)
    what = rebalance.crt(SETTING, objective, class_aware())
    still = fitted(model, replace(what, lr=0.0), tmp_path / "still")
    assert not torch.equal(still.head.weight, model.head.weight)  # type: ignore[arg-type]
    trained = fitted(classifier(Linear(8, 10)), what, tmp_path / "trained")
    assert isinstance(trained.head, Cosine if objective.takes_cosines else Linear)
    assert trained.head.inference_scale == objective.score_scale
    assert not changed(before, trained.backbone)
    assert changed(state(still.head), trained.head) == set(trained.head.state_dict())


def test_warm_crt_goes_on_with_the_head_as_it_is(tmp_path: Path) -> None:
    model = classifier(Cosine(8, 10))
    before = state(model)
    what = rebalance.crt(SETTING, gcl(), cben(), warm=True)
    assert not changed(before, fitted(model, replace(what, lr=0.0), tmp_path / "still"))
    assert changed(before, fitted(model, what, tmp_path / "trained")) == {"head.weight"}


def test_lws_learns_a_factor_a_class_and_nothing_else(tmp_path: Path) -> None:
    before = state(classifier())
    trained = fitted(classifier(), rebalance.lws(SETTING, losses.cross_entropy(), class_aware()), tmp_path)
    assert isinstance(trained.head, LearnableWeightScaling)
    assert not changed({name.removeprefix("head."): tensor for name, tensor in before.items()}, trained.head.base)
    assert not changed({n.removeprefix("backbone."): t for n, t in before.items()}, trained.backbone)
    assert (trained.head.scales != 1).all()


def test_disalign_learns_its_line_and_its_confidence(tmp_path: Path) -> None:
    beginning = rebalance.disalign(COUNTS, SETTING).begin(classifier())
    before = state(beginning)
    trained = fitted(classifier(), rebalance.disalign(COUNTS, SETTING), tmp_path)
    assert isinstance(trained.head, DisAlign)
    assert changed(before, trained) == {"head.logit_scale", "head.logit_bias", *CONFIDENCE}


@pytest.mark.parametrize("shift", [False, True])
def test_mislas_learns_scales_and_classifier_and_may_move_the_statistics(shift: bool, tmp_path: Path) -> None:
    what = rebalance.mislas(COUNTS, SETTING, shift_batch_norm=shift)
    before = state(what.begin(classifier()))
    trained = fitted(classifier(), what, tmp_path)
    statistics = {f"backbone.norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    learnt = {"head.base.weight", "head.base.bias", "head.scales"}
    assert changed(before, trained) == learnt | (statistics if shift else set())


def test_mislass_classifier_learns_at_its_share_of_the_rate(tmp_path: Path) -> None:
    def moved(head_rate: float) -> torch.Tensor:
        plain = replace(
            rebalance.mislas(COUNTS, SETTING, head_rate=head_rate), epochs=1, batch_size=384, optimizer=torch.optim.SGD
        )
        before = state(plain.begin(classifier()))["head.base.weight"]
        return state(fitted(classifier(), plain, tmp_path / str(head_rate)))["head.base.weight"] - before

    torch.testing.assert_close(moved(0.2), 0.2 * moved(1.0), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("how", ["crt", "lws", "disalign", "mislas"])
def test_second_stages_end_at_rate_zero(how: str) -> None:
    (way,) = ways([how], ["cben"])
    what = way.step(COUNTS, replace(SETTING, epochs=10, retraining=1.0), Linear(8, 10))
    assert isinstance(what, Stage)
    assert what.epochs == 10
    rates = [what.lr_schedule.at(epoch) for epoch in range(10)]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[9] == pytest.approx((1 + np.cos(np.pi * 9 / 10)) / 2)


def features(model: Classifier, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    found = trainer(folder).inference.features(model.backbone, IMAGES.train)
    return found.values.numpy().astype(np.float64), found.labels.numpy()


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_tau_normalisation_by_hand(tau: float, tmp_path: Path) -> None:
    model = classifier()
    values, _ = features(model, tmp_path / "features")
    weight = model.head.weight.detach().numpy().astype(np.float64)  # type: ignore[operator]
    lengths = np.sqrt((weight**2).sum(axis=1, keepdims=True))
    head = edited(model, rebalance.tau_norm(tau), tmp_path / "edited")
    logits = head.logits(torch.from_numpy(values).float()).detach().numpy()
    np.testing.assert_allclose(logits, values @ (weight / lengths**tau).T, rtol=1e-4, atol=1e-5)


def test_class_means_by_hand(tmp_path: Path) -> None:
    model = classifier()
    values, labels = features(model, tmp_path / "features")
    centred = values - values.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    means = np.stack([unit[labels == digit].mean(axis=0) for digit in range(10)])
    nearest = np.linalg.norm(unit[:, None] - means[None], axis=2).argmin(axis=1)
    head = edited(model, rebalance.ncm(), tmp_path / "edited")
    np.testing.assert_array_equal(head.logits(torch.from_numpy(values).float()).argmax(dim=1).numpy(), nearest)


def test_posthoc_takes_the_prior_out(tmp_path: Path) -> None:
    model = classifier()
    values = torch.randn(20, 8)
    head = edited(model, rebalance.posthoc(COUNTS, 0.7), tmp_path)
    shares = np.array(COUNTS.per_class) / COUNTS.total
    expected = model.head.logits(values).detach().numpy() - 0.7 * np.log(shares)
    found = head.logits(values).detach().numpy()
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step", [rebalance.tau_norm(), rebalance.posthoc(COUNTS)], ids=lambda step: step.name)
def test_without_validation_images_theory_says_one(step: HeadEdit, tmp_path: Path) -> None:
    here = trainer(tmp_path)
    here.edit(classifier(), step, IMAGES, COUNTS.shot_borders())
    (record,) = here.folder.choices
    assert (record["tau"], record["reason"]) == (1.0, "the theory's value: no validation images")


@pytest.mark.parametrize("step", [rebalance.tau_norm(1.0), rebalance.posthoc(COUNTS, 1.0)], ids=lambda step: step.name)
def test_experts_are_edited_each(step: HeadEdit, tmp_path: Path) -> None:
    experts = Experts([Linear(8, 10) for _ in range(3)])
    values = torch.randn(20, 3, 8)
    found = edited(classifier(experts), step, tmp_path / "all").logits(values)
    alone = [
        edited(classifier(head), step, tmp_path / str(number)).logits(values[:, number])  # type: ignore[arg-type]
        for number, head in enumerate(experts.heads)
    ]
    torch.testing.assert_close(found, torch.stack(alone).mean(dim=0))


@pytest.mark.parametrize("how", ["crt", "crt-warm", "lws", "disalign", "mislas"])
def test_no_second_stage_trains_experts(how: str) -> None:
    experts = Experts([Linear(8, 10) for _ in range(3)])
    (way,) = ways([how], ["cben"])
    what = way.step(COUNTS, SETTING, experts)
    assert isinstance(what, Stage)
    with pytest.raises(LongtailError, match="Experts are re-balanced by tau-norm or posthoc"):
        what.begin(classifier(experts))
    with pytest.raises(LongtailError, match="Experts are re-balanced by tau-norm or posthoc"):
        rebalance.ncm().edit(experts, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", [Linear(8, 10), NearestMean(8, 10), Shifted(Linear(8, 10)), DisAlign(Linear(8, 10))])
@pytest.mark.parametrize("how", ["lws", "crt-warm"])
def test_a_loss_of_cosines_does_not_fit_a_head_of_logits(head: Head, how: str) -> None:
    with pytest.raises(LongtailError, match=r"This loss takes cosines.*--how crt"):
        Way(how, "cben", "ldam").step(COUNTS, SETTING, head)
    assert isinstance(Way("crt", "cben", "ldam").step(COUNTS, SETTING, head), Stage)


def test_a_loss_of_logits_reaches_as_far_on_cosines() -> None:
    for head in (Cosine(8, 10, 16.0), LearnableWeightScaling(Cosine(8, 10, 16.0))):
        what = Way("lws", "cben", "balanced_softmax").step(COUNTS, SETTING, head)
        assert isinstance(what, Stage)
        assert what.objective.score_scale == 16.0
        values, labels = torch.randn(5, 8), torch.arange(5)
        expected = losses.balanced_softmax(COUNTS)(head.logits(values), labels)
        torch.testing.assert_close(what.objective(head(values), labels), expected)


@pytest.mark.parametrize(
    ("head", "kind"), [(Linear(8, 10), "logits"), (CausalNorm(8, 10), "logits"), (Cosine(8, 10), "cosines")]
)
def test_without_a_loss_cosines_get_gcls(head: Head, kind: str) -> None:
    for how in BY_SAMPLING:
        what = Way(how, "cben").step(COUNTS, replace(SETTING, retraining_mixup=0.5), head)
        assert isinstance(what, Stage)
        assert what.objective.takes_cosines == (kind == "cosines")
        assert (what.mixing is not None) == (kind == "cosines")


def test_what_has_nothing_to_learn_is_said(tmp_path: Path) -> None:
    model = classifier(NearestMean(8, 10))
    with pytest.raises(LongtailError, match=r"'head'.*kind nearest_mean has no parameters"):
        fitted(model, rebalance.crt(SETTING, losses.cross_entropy(), class_aware(), warm=True), tmp_path / "ncm")
    typo = replace(rebalance.crt(SETTING, losses.cross_entropy(), class_aware()), learns={**HEAD_ALONE, "haed": 1.0})
    with pytest.raises(LongtailError, match="'haed'"):
        fitted(classifier(), typo, tmp_path / "typo")


def test_ways_by_name() -> None:
    every = list(ways(WAYS, ["cben", "instance"]))
    assert [way.name for way in every] == [
        *("crt-cben", "crt-instance", "crt-warm-cben", "crt-warm-instance", "lws-cben", "lws-instance"),
        *("disalign", "mislas", "tau-norm", "ncm", "posthoc"),
    ]
    assert {way.how for way in every if not way.learns} == set(IN_CLOSED_FORM)
    for way in every:
        step = way.step(COUNTS, SETTING, Linear(8, 10))
        assert isinstance(step, Stage) == way.learns


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: list(ways(["crtt"], ["cben"])), "Unknown way to re-balance 'crtt'; did you mean crt"),
        (lambda: list(ways(["crt"], ["cbne"])), "Unknown sampler 'cbne'; did you mean cben"),
        (lambda: list(ways(["crt"], ["cben"], "gc")), "Unknown loss 'gc'"),
        (lambda: find_loss("ride"), "Unknown loss 'ride'"),  # of experts
        (lambda: find_loss("deferred_reweighting"), "Unknown loss"),  # weights, not a loss
        (lambda: find_loss("chunked"), "Unknown loss"),
    ],
)
def test_what_there_is_not_is_said(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(LongtailError, match=sentence):
        make()


def test_every_loss_that_is_offered_takes_counts_alone() -> None:
    for name in ("cross_entropy", "balanced_softmax", "gcl", "kps", "ldam", "fbl", "lade", "seesaw", "focal"):
        assert isinstance(find_loss(name)(ClassCounts((5, 3))), losses.Criterion)


def test_a_tau_normalised_head_has_no_bias(tmp_path: Path) -> None:
    head = edited(classifier(), rebalance.tau_norm(1.0), tmp_path)
    assert isinstance(head, TauNormalised)
    assert head.offsets() is None
