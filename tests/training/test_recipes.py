"""Every recipe trains, ends in finite numbers and can be used; those of the papers have the papers' shape."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import longtail
from longtail.counts import ClassCounts
from longtail.data.sources.digits import digits
from longtail.errors import LongtailError
from longtail.samplers import class_balanced
from longtail.training.planning.settings import CIFAR, DIGITS, PHOTOGRAPHS
from longtail.training.recipes import RECIPES, find_recipe

COUNTS = ClassCounts((50, 5))
NAMES = (
    *("ce", "ce_mixup", "ce_mixup_crt", "focal", "cb_focal", "cosface", "arcface", "ldam_drw", "equalization"),
    *("logit_adjustment", "balanced_softmax", "lade", "pc_softmax", "tde", "decoupling", "decoupling_lws"),
    *("decoupling_tau_norm", "decoupling_ncm", "posthoc", "disalign", "mislas", "bbn", "ride", "gcl", "gcl_angular"),
    *("kps", "kps_drw", "kps_ga", "kps_mixup", "kps_mislas", "fbl", "ala", "gcl_ride"),
)
FINAL_HEADS = {
    **dict.fromkeys(("decoupling_lws", "mislas"), "learnable_weight_scaling"),
    **dict.fromkeys(("pc_softmax", "posthoc"), "shifted"),
    **dict.fromkeys(("ride", "gcl_ride"), "experts"),
    **dict.fromkeys(("cosface", "arcface", "ldam_drw", "gcl", "gcl_angular", "ala"), "cosine"),
    **dict.fromkeys(("kps", "kps_drw", "kps_ga", "kps_mixup", "kps_mislas"), "cosine"),
    "decoupling_tau_norm": "tau_normalised",
    "decoupling_ncm": "nearest_mean",
    "disalign": "disalign",
    "tde": "causal_norm",
}
"""Of all others it is linear."""


def test_no_recipe_is_missing_and_none_unknown_to_methods() -> None:
    assert set(RECIPES) == set(NAMES)
    listed = {card.name for card in longtail.methods() if card.kind.singular == "recipe"}
    assert listed == set(NAMES)
    for name in NAMES:
        assert any(card.call == f"longtail train --recipe {name}" for card in longtail.methods(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_trains(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longtail.report.page.write_run_page", lambda path: None)  # two seconds of drawing
    run = longtail.train(recipe=name, epochs=1, out=tmp_path / "run", device="cpu")
    metrics, predictions = run.metrics, run.folder.predictions
    assert metrics is not None
    assert predictions is not None
    assert metrics["images"] == 1413
    assert all(math.isfinite(metrics[key]) for key in ("accuracy", "balanced_accuracy", "expected_calibration_error"))
    assert all(math.isfinite(metrics["groups"][group]["accuracy"]) for group in ("many", "medium", "few"))
    assert all(math.isfinite(record["loss"]) for record in run.folder.steps)
    assert len(run.folder.epochs) == sum(stage["epochs"] for stage in run.folder.config["stages"])

    again = longtail.load(run.path)
    assert again.model.head.description()["kind"] == FINAL_HEADS.get(name, "linear")
    test = digits().test
    assert test is not None
    images = torch.stack([again.model.transform(test.pixels.open(index)) for index in range(32)])
    with torch.no_grad():
        logits = again.model(images).numpy()
    scale = np.abs(predictions.logits[:32]).max()
    np.testing.assert_allclose(logits, predictions.logits[:32], rtol=0, atol=1e-5 * scale)


def test_two_branches_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longtail.report.page.write_run_page", lambda path: None)
    run = longtail.train(recipe="bbn", epochs=4, out=tmp_path / "run", device="cpu")
    losses = [record["loss"] for record in run.folder.epochs]
    assert losses[-1] < 0.6 * losses[0]
    (stage,) = run.folder.config["stages"]
    assert stage["sampling"] == "instance() and reversed_()"
    assert len(run.folder.steps) == 4 * (384 // stage["batch_size"])


@pytest.mark.parametrize(("epochs", "second"), [(200, 30), (30, 4), (1, 1)])
def test_later_stages_scale_with_the_first(epochs: int, second: int) -> None:
    stages = RECIPES["gcl"](COUNTS, replace(CIFAR, epochs=epochs)).stages
    assert [stage.epochs for stage in stages] == [epochs, second]


def test_gcl_on_cifar_has_the_numbers_of_the_paper() -> None:
    """Thesis Table 5.1: batch 128, learning rate 0.1, decayed by 0.01 at epochs 160 and 180 of 200."""
    first, second = RECIPES["gcl"](COUNTS, CIFAR).stages
    rates = [first.lr * first.lr_schedule.at(epoch) for epoch in (0, 4, 159, 160, 179, 180, 199)]
    assert rates == pytest.approx([0.02, 0.1, 0.1, 0.001, 0.001, 0.00001, 0.00001])
    assert (first.batch_size, dict(second.learns)) == (128, {"head": 1.0})
    assert second.lr * second.lr_schedule.at(0) == pytest.approx(0.002)


def test_few_images_get_a_smaller_batch_and_rate_in_proportion() -> None:
    setting = DIGITS.for_images(384)
    assert setting.batch_size == 32
    assert setting.lr == pytest.approx(0.025)
    assert CIFAR.for_images(12_406) == CIFAR
    assert PHOTOGRAPHS.for_images(900).batch_size == 45


def test_one_may_call_ones_file_as_one_likes(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("from longtail.training.recipes import ce as mine\n")
    before = sys.modules["random"]
    assert find_recipe(f"{tmp_path}/random.py:mine") is RECIPES["ce"]
    assert sys.modules["random"] is before


@pytest.mark.parametrize(
    ("text", "asked", "sentence"),
    [
        ("x = 1\n", "mine.py:absent", "has no function 'absent'"),
        ("x = 1\n", "mine.py:x", "has no function 'x'"),
        ("import no_such_module\n", "mine.py:f", "cannot be run as a recipe: ModuleNotFoundError"),
        ("def f(:\n", "mine.py:f", "cannot be run as a recipe: SyntaxError"),
        ("", "other.py:f", "There is no file"),
        ("", "mine.txt:f", "There is no file"),
    ],
)
def test_a_recipe_of_ones_own_that_cannot_be_had(text: str, asked: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(LongtailError, match=sentence):
        find_recipe(f"{tmp_path}/{asked}")


def test_another_sampling_takes_the_place_of_the_recipes_own() -> None:
    recipe = RECIPES["decoupling"](COUNTS, CIFAR)
    first, second = recipe.sampled_by(class_balanced(), "decoupling").stages
    assert [str(sampling) for sampling in first.samplings] == [str(class_balanced())]
    assert second == recipe.stages[1]
    with pytest.raises(LongtailError, match="Recipe bbn has 2 samplings"):
        RECIPES["bbn"](COUNTS, CIFAR).sampled_by(class_balanced(), "bbn")
