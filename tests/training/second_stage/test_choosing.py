"""A number is chosen where the validation images say, by theory where they are too few, and never on test images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from longtail.counts import ClassCounts, ShotBorders
from longtail.data.parts import ImageSet, Part
from longtail.data.pixels import Pixels
from longtail.data.sources.digits import digits
from longtail.training.evidence import Evidence, Features
from longtail.training.second_stage.choosing import Choice, choose
from longtail.training.second_stage.rebalance import TAUS, posthoc, tau_norm
from longtail.training.stage import HeadEdit
from tiny_training import Listener, classifier, trainer

COUNTS = ClassCounts((1000, 200, 60, 30, 10, 4))
PRIOR = torch.tensor([count / COUNTS.total for count in COUNTS.per_class]).log()


def evidence(validation: Features | None) -> Evidence:
    def nobody() -> Features:
        raise AssertionError("training images were looked at")

    return Evidence(COUNTS, ShotBorders(100, 20), see_train=nobody, see_validation=lambda: validation)


def planted(tau: float, images: int, noise: float = 1.0, seed: int = 0) -> Features:
    """Logits that are fair once `tau` times the log prior is taken out, `images` of each class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(6).repeat_interleave(images)
    fair = 3.0 * torch.eye(6)[labels] + noise * torch.randn(len(labels), 6, generator=generator)
    return Features(fair + tau * PRIOR, labels)


def adjusted(tau: float, logits: Tensor) -> Tensor:
    return logits - tau * PRIOR


def chosen(validation: Features | None, by_theory: float = 1.0) -> Choice:
    return choose("tau", TAUS, by_theory, adjusted, evidence(validation))


@pytest.mark.parametrize("best", [0.4, 1.0, 1.6])
def test_the_planted_number_is_found(best: float) -> None:
    choice = chosen(planted(best, 100))
    assert choice.spread is not None
    low, high = choice.spread
    assert low - 0.1 <= best <= high + 0.1
    assert low <= choice.value <= high
    assert abs(choice.value - best) <= 0.2
    assert f"tau {choice.value:g} (50 choices on 600 validation images" in str(choice)


def test_the_left_out_images_say_how_good_it_is() -> None:
    choice = chosen(planted(1.0, 100))
    fresh = planted(1.0, 5000, seed=1)
    truth = float((adjusted(1.0, fresh.values).argmax(dim=1) == fresh.labels).double().mean())
    assert choice.held_out is not None
    mean, deviation = choice.held_out
    assert abs(mean - truth) < 0.05
    assert 0 < deviation < 0.1


def test_little_noise_leaves_little_spread_and_fewer_images_more() -> None:
    def width(images: int) -> float:
        spread = chosen(planted(1.0, images, noise=1.5)).spread
        assert spread is not None
        return spread[1] - spread[0]

    assert width(5) > width(1000)


def test_the_same_images_give_the_same_choice() -> None:
    assert chosen(planted(1.0, 30)) == chosen(planted(1.0, 30))


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([5, 5, 5, 5, 2, 2], "only 4 validation images of rare classes"),
        ([5, 5, 5, 5, 0, 0], "only 0 validation images of rare classes"),
    ],
)
def test_too_few_rare_images_leave_it_to_theory(images: list[int], reason: str) -> None:
    many = planted(0.4, 5)
    kept = torch.cat([torch.arange(5 * label, 5 * label + number) for label, number in enumerate(images)])
    choice = chosen(Features(many.values[kept], many.labels[kept]), by_theory=1.0)
    assert choice == Choice("tau", 1.0, f"the theory's value: {reason}")


def test_without_validation_images_it_is_theory_too() -> None:
    assert str(chosen(None)) == "tau 1 (the theory's value: no validation images)"


def test_one_image_a_class_cannot_be_folded() -> None:
    few = Evidence(
        ClassCounts((9,) * 6),
        ShotBorders(100, 20),
        see_train=lambda: planted(1.0, 1),
        see_validation=lambda: planted(1.0, 1),
    )
    assert "only one validation image a class" in choose("tau", TAUS, 1.0, adjusted, few).reason


def test_classes_with_an_image_or_two_are_no_hindrance() -> None:
    """Folds without a class count the classes that they have."""
    many = planted(1.0, 40)
    kept = torch.cat([torch.arange(160), torch.tensor([160, 161, 162, 163, 200])])
    assert chosen(Features(many.values[kept], many.labels[kept])).spread is not None


class Sealed(Pixels):
    """Test images that nobody may look at."""

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def size(self) -> tuple[int, int]:
        return 8, 8

    def __len__(self) -> int:
        return self._number

    def open(self, index: int) -> Image.Image:
        raise AssertionError("a test image was opened")

    def mark(self, index: int) -> str:
        raise AssertionError("a test image was looked at")

    def content(self, index: int) -> bytes:
        raise AssertionError("a test image was read")

    def digest(self, index: int) -> bytes:
        raise AssertionError("a test image was looked up")

    def subset(self, indices: NDArray[np.int64]) -> Pixels:
        return Sealed(len(indices))


def divided(poison: bool) -> ImageSet:
    """Digits with 30 validation images of each class, and a test part that is sealed and wrongly labelled."""
    images = digits()
    assert images.test is not None
    rows = np.concatenate([np.flatnonzero(images.test.labels == digit)[:30] for digit in range(10)])
    validation = images.test.subset(rows)
    labels = (images.test.labels + poison * 3) % 10
    sealed = Part(labels, images.test.identities, Sealed(len(labels)))
    return replace(images, validation=validation, test=sealed)


@pytest.mark.parametrize("edit", [tau_norm(), posthoc(digits().counts)], ids=lambda edit: edit.name)
@pytest.mark.parametrize("views", [0, None], ids=["run anew", "kept"])
def test_no_choice_looks_at_test_images(edit: HeadEdit, views: int | None, tmp_path: Path) -> None:
    choices = []
    for poison in (False, True):
        listener = Listener()
        here = replace(trainer(tmp_path / str(poison), views), watcher=listener)
        images = divided(poison)
        edited = here.edit(classifier(), edit, images, images.counts.shot_borders())
        (record,) = here.folder.choices
        choices.append((record, edited.head.description()))
        assert record["step"] == edit.name
        assert record["spread"][0] <= record["tau"] <= record["spread"][1]
        assert any("50 choices on 300 validation images" in line for line in listener.lines)
    assert choices[0] == choices[1]


def test_a_given_number_is_not_chosen(tmp_path: Path) -> None:
    images = divided(poison=True)
    here = trainer(tmp_path)
    edited = here.edit(classifier(), tau_norm(0.7), images, images.counts.shot_borders())
    assert edited.head.description()["tau"] == 0.7
    assert here.folder.choices == []


def test_of_equals_the_first_is_taken() -> None:
    choice = choose("tau", (0.0, 0.5, 1.0), 1.0, lambda tau, logits: logits, evidence(planted(0.0, 20)))
    assert choice.value == 0.0
