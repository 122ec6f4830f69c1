"""Policies are torchvision's tables and operations; what is drawn depends on key and position alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import (
    AutoAugment as TheirAutoAugment,
    AutoAugmentPolicy,
    RandAugment as TheirRandAugment,
)

from longtail.data.augmenting.augmentation import BatchAugmentation
from longtail.data.augmenting.operations import OPERATIONS, SIGNED, operate
from longtail.data.augmenting.policies import POLICIES, AutoAugment, RandAugment
from longtail.draws import Key
from longtail.errors import LongtailError

KEY = Key.of_seed(9)
AUGMENTATIONS = (RandAugment(), RandAugment(3, 30), AutoAugment("imagenet"), AutoAugment("cifar10"))


def some_images(count: int = 5, height: int = 23, width: int = 31) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (count, 3, 6, 8), generator=generator).float()
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").to(torch.uint8)


@pytest.mark.parametrize(
    ("name", "theirs"), [("cifar10", AutoAugmentPolicy.CIFAR10), ("imagenet", AutoAugmentPolicy.IMAGENET)]
)
def test_the_tables_are_torchvisions(name: str, theirs: AutoAugmentPolicy) -> None:
    expected = [[(op, p, magnitude or 0) for op, p, magnitude in pair] for pair in TheirAutoAugment(theirs)._policies]
    assert [list(pair) for pair in POLICIES[name]] == expected


@pytest.mark.parametrize("bins", [10, 31])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_on_a_batch_is_torchvisions_on_each_image(name: str, bins: int) -> None:
    ranges = {**TheirAutoAugment._AUGMENTATION_SPACE, **TheirRandAugment._AUGMENTATION_SPACE}
    images = some_images()
    theirs = ranges[name][0](bins, 23, 31)
    assert ranges[name][1] == (name in SIGNED)
    for number in range(0, bins, 3):
        level = number / (bins - 1)
        for sign in (1, -1) if name in SIGNED else (1,):
            magnitude = sign * magnitude_of(name, level)
            if theirs is not None:
                assert abs(magnitude) == pytest.approx(float(theirs[number]), abs=1e-5)  # theirs is single precision
            expected = [
                TheirRandAugment()._apply_image_or_video_transform(
                    image, name, magnitude, interpolation=InterpolationMode.NEAREST, fill={}
                )
                for image in images
            ]
            assert torch.equal(operate(name, images, sign * level), torch.stack(expected))


def magnitude_of(name: str, level: float) -> float:
    """For images of 23 x 31 pixels."""
    match name:
        case "ShearX" | "ShearY":
            return 0.3 * level
        case "TranslateX":
            return 150 / 331 * 31 * level
        case "TranslateY":
            return 150 / 331 * 23 * level
        case "Rotate":
            return 30 * level
        case "Posterize":
            return round(8 - 4 * level)
        case "Solarize":
            return 1 - level
    return 0.9 * level


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=repr)
def test_a_row_depends_on_its_image_and_position_alone(augmentation: BatchAugmentation) -> None:
    images = some_images(12)
    whole = augmentation(images, KEY.draws(torch.arange(12) + 7))
    for row in range(12):
        assert torch.equal(augmentation(images[row : row + 1], KEY.draws(torch.tensor([7 + row])))[0], whole[row])
    assert not torch.equal(whole, augmentation(images, KEY.at("next").draws(torch.arange(12) + 7)))
    assert torch.equal(images, some_images(12))


def test_operations_are_drawn_equally_often() -> None:
    drawn: Counter[str] = Counter()
    images = some_images(1)
    possible = {
        operate(name, images, sign * 0.5).numpy().tobytes(): name
        for name in OPERATIONS[:-1]
        for sign in ((1, -1) if name in SIGNED else (1,))
    }
    seen = RandAugment(1, 15)(images.expand(2800, -1, -1, -1), KEY.draws(torch.arange(2800)))
    for one in seen:
        drawn[possible[one.numpy().tobytes()]] += 1
    counts = np.array([drawn[name] for name in OPERATIONS[:-1]])
    assert ((counts - 200) ** 2 / 200).sum() < 13 + 5 * np.sqrt(2 * 13)


def test_a_pair_happens_as_often_as_its_table_says() -> None:
    """The last pair for ImageNet, Equalize 0.8 then Equalize 0.6, is also the third; Invert is in 3 of 25 pairs."""
    dark = torch.zeros(4000, 3, 2, 2, dtype=torch.uint8)
    seen = AutoAugment("imagenet")(dark, KEY.draws(torch.arange(4000)))
    inverted = (seen == 255).all(dim=(1, 2, 3)).float().mean().item()
    assert abs(inverted - 3 / 25 * 0.6) < 0.03  # solarize and colour leave black as it is


def test_bad_settings_have_a_sentence() -> None:
    with pytest.raises(LongtailError, match="magnitude 0 to 30"):
        RandAugment(magnitude=31)
    with pytest.raises(LongtailError, match="Unknown policy 'cifar'; did you mean cifar10"):
        AutoAugment("cifar")  # type: ignore[arg-type]
