"""The numbers of papers and code: names that exist, values of the reference table, and which row is taken."""

from __future__ import annotations

import csv
import inspect
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longtail.counts import ClassCounts
from longtail.data.parts import ImageSet, Kind, Part
from longtail.data.pixels import InMemory
from longtail.data.sources.forms import NAMED
from longtail.samplers import BY_NAME
from longtail.training.planning.plan import make_plan
from longtail.training.planning.published import CIFAR, LARGE, Numbers, Row, published, rows
from longtail.training.planning.settings import CIFAR as CIFAR_SETTING, PHOTOGRAPHS, PHOTOGRAPHS_FROM_SCRATCH, Setting
from longtail.training.planning.wishes import Wishes
from longtail.training.recipes import RECIPES
from longtail.training.stage import Stage

REFERENCE = Path(__file__).parents[3] / "shared/reference/paper_settings.csv"


def images(name: str = "mine", ratio: float = 100, classes: int = 10, kind: Kind = "cifar") -> ImageSet:
    """Of the most frequent class 200 images, of the least `200 / ratio`."""
    counts = np.geomspace(200, 200 / ratio, classes).round().astype(int)
    labels = np.repeat(np.arange(classes), counts)
    pixels = InMemory(torch.zeros(1, 3, 1, 1, dtype=torch.uint8).expand(len(labels), -1, -1, -1))
    part = Part(labels, tuple(map(str, range(len(labels)))), pixels)
    return ImageSet(name, kind, tuple(map(str, range(classes))), part, None, None)


def named(name: str, ratio: float = 100) -> ImageSet:
    if name in CIFAR:
        return images(name, ratio, 100 if name == "cifar100" else 10)
    return images(name, ratio, 30, "photographs")


def setting(name: str, row: Row) -> Setting:
    return row.applied_to(CIFAR_SETTING if name in CIFAR else PHOTOGRAPHS_FROM_SCRATCH)


def test_every_name_exists() -> None:
    of_images = {"source", "backbone", "weights"}  # chosen before a row is applied
    for row in rows():
        assert set(row.sets) <= {*CIFAR, *LARGE} <= set(NAMED)
        assert set(row.training) <= {field.name for field in fields(Setting)} - of_images
        assert row.numbers in ("paper", "code")
        assert row.method or row.training
        for recipe in row.recipes:
            assert set(row.method) <= set(inspect.signature(RECIPES[recipe]).parameters) - {"counts", "setting"}


def test_every_row_makes_a_recipe() -> None:
    counts = ClassCounts((500, 100, 20, 5))
    for row in rows():
        for name in row.sets:
            for recipe in row.recipes:
                chosen = setting(name, row)
                first, *_ = RECIPES[recipe](counts, chosen, **row.method).stages
                rates = [first.lr * first.lr_schedule.at(epoch) for epoch in range(first.epochs)]
                assert max(rates) == pytest.approx(chosen.lr)
                assert rates[-1] < 0.1 * chosen.lr


def test_no_two_rows_say_the_same_or_contradict() -> None:
    seen = set()
    for row in rows():
        for recipe in row.recipes:
            for name in row.sets:
                place = (recipe, name, row.numbers, row.ratio, row.sets)
                assert place not in seen
                seen.add(place)


LITERALS: list[tuple[str, str, Numbers, dict[str, Any]]] = [
    ("gcl", "cifar10", "paper", {"batch_size": 128, "lr": 0.1, "weight_decay": 2e-4, "epochs": 200}),
    ("gcl", "cifar10", "code", {"batch_size": 64, "amplitude": 0.5, "retraining_epochs": 30}),
    ("gcl", "imagenet-lt", "paper", {"batch_size": 256, "lr": 0.1, "weight_decay": 2e-4, "epochs": 200}),
    ("gcl", "places-lt", "paper", {"batch_size": 512, "lr": 0.2, "weight_decay": 5e-4, "epochs": 90}),
    ("gcl", "inaturalist2018", "paper", {"batch_size": 256, "lr": 0.1, "weight_decay": 1e-4, "epochs": 180}),
    ("kps_ga", "cifar100", "paper", {"batch_size": 64, "largest_margin": 0.5}),
    ("kps_ga", "cifar100", "code", {"batch_size": 64, "largest_margin": 0.2, "largest_scale": 50}),
    ("kps", "imagenet-lt", "paper", {"batch_size": 128, "largest_margin": 0.35, "epochs": 180}),
    ("kps_ga", "inaturalist2018", "paper", {"batch_size": 512, "lr": 0.2, "largest_margin": 0.3}),
    ("fbl", "cifar10", "paper", {"batch_size": 128, "strength": 60}),
    ("fbl", "cifar10", "code", {"batch_size": 64, "strength": 60}),
    ("fbl", "imagenet-lt", "paper", {"batch_size": 512, "lr": 0.2, "strength": 150, "epochs": 200}),
    ("lade", "cifar100", "paper", {"batch_size": 256, "lr": 0.2, "alpha": 0.1, "regularity": 0.1}),
    ("lade", "cifar100", "code", {"batch_size": 256, "lr": 0.2, "alpha": 0.1, "regularity": 0.01}),
    ("lade", "inaturalist2018", "paper", {"alpha": 0.05, "regularity": 0.5, "weight_decay": 1e-4}),
    ("tde", "cifar10", "paper", {"alpha": 1.0, "batch_size": 256, "lr": 0.2}),
    ("tde", "imagenet-lt", "paper", {"alpha": 3.0, "batch_size": 512, "epochs": 90}),
    ("decoupling", "imagenet-lt", "paper", {"batch_size": 512, "epochs": 90, "retraining_epochs": 10}),
    ("decoupling", "inaturalist2018", "paper", {"weight_decay": 1e-4, "retraining_epochs": 30}),
    ("decoupling_lws", "imagenet-lt", "paper", {"retraining_epochs": 5}),
    ("disalign", "imagenet-lt", "paper", {"rho": 1.2, "batch_size": 256, "retraining_epochs": 10}),
    ("mislas", "cifar10", "paper", {"smooth_head": 0.3, "head_rate": 0.5, "retraining_epochs": 10}),
    ("mislas", "cifar100", "paper", {"smooth_head": 0.4, "smooth_tail": 0.1, "shift_batch_norm": True}),
    ("mislas", "places-lt", "paper", {"smooth_head": 0.4, "head_rate": 0.05, "retraining_epochs": 10, "epochs": 90}),
    ("bbn", "inaturalist2018", "paper", {"batch_size": 128, "lr": 0.05, "weight_decay": 1e-4, "epochs": 180}),
    ("ride", "cifar100", "paper", {"diversity": -0.45, "weight_decay": 5e-4, "nesterov": True}),
    ("ride", "imagenet-lt", "paper", {"temperature_span": 0.02, "weight_decay": 2e-4, "epochs": 100}),
    ("ride", "inaturalist2018", "paper", {"temperature_span": 0.015, "batch_size": 512, "lr": 0.2}),
]


@pytest.mark.parametrize(("recipe", "name", "numbers", "expected"), LITERALS)
def test_a_handful_of_numbers_by_hand(recipe: str, name: str, numbers: Numbers, expected: Mapping[str, Any]) -> None:
    row = published(recipe, named(name), numbers)
    chosen = setting(name, row)
    for key, value in expected.items():
        found = row.method[key] if key in row.method else getattr(chosen, key, None) or _default(recipe, key)
        assert found == pytest.approx(value), key


def _default(recipe: str, argument: str) -> Any:
    return inspect.signature(RECIPES[recipe]).parameters[argument].default


DECAYS: list[tuple[str, str, Numbers, dict[int, float]]] = [  # epoch, counted from 0 -> learning rate
    ("gcl", "cifar10", "paper", {4: 0.1, 159: 0.1, 160: 0.001, 180: 1e-5}),
    ("gcl", "cifar10", "code", {4: 0.1, 159: 0.1, 160: 0.01, 180: 0.001}),
    ("gcl", "places-lt", "paper", {0: 0.2, 59: 0.2, 60: 0.02, 80: 0.002}),
    ("kps", "cifar10", "code", {160: 0.01, 180: 0.001}),
    ("kps", "imagenet-lt", "paper", {0: 0.1, 119: 0.1, 120: 0.01, 160: 0.001}),
    ("fbl", "cifar10", "code", {160: 0.001, 180: 1e-5}),
    ("fbl", "imagenet-lt", "code", {119: 0.2, 120: 0.02, 160: 0.002}),
    ("fbl", "places-lt", "code", {59: 0.2, 60: 0.02, 80: 0.002}),
    ("mislas", "cifar10", "paper", {159: 0.1, 160: 0.01, 180: 0.001}),
    ("lade", "cifar100", "paper", {119: 0.2, 120: 0.002, 160: 2e-5}),
    ("bbn", "cifar100", "paper", {119: 0.1, 120: 0.001, 160: 1e-5}),
    ("bbn", "inaturalist2018", "paper", {0: 0.05, 119: 0.05, 120: 0.005, 160: 0.0005}),
    ("ride", "imagenet-lt", "paper", {4: 0.1, 59: 0.1, 60: 0.01, 80: 0.001}),
    ("decoupling", "imagenet-lt", "paper", {0: 0.2, 45: 0.1}),
]


@pytest.mark.parametrize(("recipe", "name", "numbers", "rates"), DECAYS)
def test_the_learning_rate_falls_when_the_papers_does(
    recipe: str, name: str, numbers: Numbers, rates: Mapping[int, float]
) -> None:
    chosen = setting(name, published(recipe, named(name), numbers))
    for epoch, rate in rates.items():
        assert chosen.lr * chosen.decay(chosen.epochs).at(epoch) == pytest.approx(rate), epoch


def test_the_row_of_the_nearest_ratio_is_taken() -> None:
    """Nearest as a ratio: 200 is twice 100 and four times 50; 70 lies nearer to 50 (1.40) than to 100 (1.43)."""
    smoothing = {
        ratio: published("mislas", named("cifar10", ratio)).method["smooth_head"] for ratio in (8, 25, 70, 200)
    }
    assert smoothing == {8: 0.1, 25: 0.2, 70: 0.2, 200: 0.3}


def test_what_stands_for_fewer_sets_is_taken() -> None:
    assert published("gcl", named("places-lt")).source == "GCL, thesis Table 5.1"
    assert published("gcl", named("imagenet-lt")).source == "GCLLoss, Places-LT"


def test_the_code_where_it_speaks_and_else_the_paper() -> None:
    assert published("gcl", named("cifar10"), "code").method["amplitude"] == 0.5
    assert str(published("gcl", named("cifar10"), "code").method["retraining_sampling"]) == str(
        BY_NAME["class-balanced"]()
    )
    assert published("tde", named("cifar10"), "code") == published("tde", named("cifar10"))


@pytest.mark.parametrize(
    ("own", "like"),
    [
        (images(classes=10), "cifar10"),
        (images(classes=100), "cifar100"),
        (images(classes=10, kind="small"), "cifar10"),
        (images(classes=10, kind="digits"), "cifar10"),
        (images(classes=5, kind="photographs"), "imagenet-lt"),
    ],
)
def test_other_images_get_the_method_but_not_the_training_of_their_kind(own: ImageSet, like: str) -> None:
    for recipe in ("tde", "mislas", "kps", "lade"):
        row = published(recipe, own)
        assert row.method == published(recipe, named(like)).method
        assert row.applied_to(PHOTOGRAPHS) == PHOTOGRAPHS


def test_a_recipe_without_a_row_keeps_its_own_numbers() -> None:
    row = published("mine", images())
    assert not row.method
    assert row.applied_to(CIFAR_SETTING) == CIFAR_SETTING


def test_numbers_of_the_code_reach_the_stages() -> None:
    def stages(wishes: Wishes) -> tuple[Stage, ...]:
        return make_plan(named("cifar10"), "gcl", 0, {"device": "cpu", **wishes}).recipe.stages

    paper, code = stages({}), stages({"numbers": "code"})
    assert "0 to 0.5, Noise" in repr(code[0].objective)  # a cloud of half the size
    assert "0 to 1, Noise" in repr(paper[0].objective)
    assert ["cben" in str(second.samplings) for second in (paper[1], code[1])] == [True, False]
    assert stages({"numbers": "code", "epochs": 7})[0].epochs == 7  # what is asked for comes last


METHODS = {  # method of the reference table -> recipe
    "KPS-GA": "kps_ga",
    "FBL": "fbl",
    "GCL": "gcl",
    "LDAM-DRW": "ldam_drw",
    "Causal norm / TDE": "tde",
    "BBN": "bbn",
    "LADE": "lade",
    "MiSLAS (CE + mixup)": "mislas",
    "CE (stage 1 of decoupling)": "decoupling",
    "RIDE (3 experts)": "ride",
    "ALA": "ala",
    "ALA (third party)": "ala",
}
SETS = {
    "CIFAR-10-LT": "cifar10",
    "CIFAR-100-LT": "cifar100",
    "ImageNet-LT": "imagenet-lt",
    "Places-LT": "places-lt",
    "iNaturalist 2018": "inaturalist2018",
}
WITH_CODE = {"kps_ga", "gcl", "fbl"}  # whose code differs from their paper
LEFT_OUT = {
    ("lade", "places-lt"),  # two learning rates
    ("ala", "places-lt"),  # epochs alone are known
    ("gcl", "places-lt code"),  # trains one block more of a frozen network
}


def reference() -> list[tuple[str, str, Numbers, dict[str, str]]]:
    if not REFERENCE.exists():
        return []
    found: list[tuple[str, str, Numbers, dict[str, str]]] = []
    with REFERENCE.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            recipe = METHODS.get(line["method"])
            is_code = recipe in WITH_CODE and line["source"].startswith("code")
            if recipe is None or line["stage"] != "1" or "4.4.1.2 (text" in line["source"]:
                continue
            for name in _sets(line["dataset"]):
                if (recipe, name) in LEFT_OUT or (is_code and (recipe, f"{name} code") in LEFT_OUT):
                    continue
                found.append((recipe, name, "code" if is_code else "paper", line))
    return found


def _sets(words: str) -> list[str]:
    """`CIFAR-10/100-LT`, `ImageNet-LT; Places-LT` as our names."""
    parts = [part.partition(" ratio")[0] for part in words.replace("10/100-LT", "10-LT; CIFAR-100-LT").split("; ")]
    return [SETS[part] for part in parts if part in SETS]


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference table lies beside the repository")
@pytest.mark.parametrize(("recipe", "name", "numbers", "line"), reference(), ids=lambda value: str(value)[:15])
def test_numbers_are_those_of_the_reference_table(
    recipe: str, name: str, numbers: Numbers, line: Mapping[str, str]
) -> None:
    chosen = setting(name, published(recipe, named(name), numbers))
    for key in ("batch_size", "lr", "weight_decay", "epochs"):
        if line[key]:
            assert getattr(chosen, key) == pytest.approx(float(line[key])), key
    schedule = [chosen.decay(chosen.epochs).at(epoch) for epoch in range(chosen.epochs)]
    falls = [int(word) for word in line["decay_epochs"].removeprefix("after ").partition(" (")[0].split(";") if word]
    found = [epoch for epoch in range(10, chosen.epochs) if schedule[epoch] < 0.9 * schedule[epoch - 1]]
    if line["lr_schedule"] == "multi-step":
        assert found == falls
        if line["decay_factor"].replace(".", "").isdigit():
            assert schedule[falls[0]] == pytest.approx(float(line["decay_factor"]))
    if line["warmup"].startswith(("linear", "5 epochs")):
        assert schedule[4] == pytest.approx(1)
        assert schedule[3] < 1
    if line["warmup"] == "none":
        assert schedule[0] == pytest.approx(1)


def test_the_reference_table_was_read() -> None:
    assert not REFERENCE.exists() or len(reference()) > 30
