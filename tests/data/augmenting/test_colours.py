"""Colour jitter is torchvision's, with the same factors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from longtail.data.augmenting.colours import ColourJitter, brighten, saturate, stretch_contrast, turn_hue
from longtail.draws import Key
from longtail.errors import LongtailError

KEY = Key.of_seed(3)


def some_images(count: int = 6, side: int = 17) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side + 2), dtype=torch.uint8, generator=generator)
    images[0, :, :4] = 90  # grey
    images[1] = 0
    images[2, :2, 3:6] = 255  # two channels are the largest
    return images


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (brighten, functional.adjust_brightness, [0, 0.3, 0.7, 1, 1.4, 2.5]),
        (stretch_contrast, functional.adjust_contrast, [0, 0.3, 0.7, 1, 1.4, 2.5]),
        (saturate, functional.adjust_saturation, [0, 0.3, 0.7, 1, 1.4, 2.5]),
        (turn_hue, functional.adjust_hue, [-0.5, -0.3, -0.01, 0, 0.2, 0.5]),
    ],
)
def test_every_change_is_torchvisions(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor], factors: list[float]
) -> None:
    for shift in range(6):
        turned = factors[shift:] + factors[:shift]
        images = some_images()
        expected = torch.stack([theirs(image, factor) for image, factor in zip(images, turned, strict=True)])
        seen = ours(images, torch.tensor(turned))
        assert seen.dtype == torch.uint8
        difference = (seen.int() - expected.int()).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.01  # where a product falls on a whole number


def test_a_row_depends_on_its_image_and_position_alone() -> None:
    jitter, images = ColourJitter(0.4, 0.4, 0.4, 0.1), some_images()
    whole = jitter(images, KEY.draws(torch.arange(6) + 40))
    for row in range(6):
        alone = jitter(images[row : row + 1], KEY.draws(torch.tensor([40 + row])))
        assert torch.equal(alone[0], whole[row])
    assert not torch.equal(whole, jitter(images, KEY.at("next").draws(torch.arange(6) + 40)))
    assert torch.equal(images, some_images())


def test_factors_lie_in_their_range_and_orders_vary() -> None:
    grey = torch.full((2000, 3, 1, 1), 100, dtype=torch.uint8)
    values = ColourJitter(0.4, 0, 0)(grey, KEY.draws(torch.arange(2000)))[:, 0, 0, 0].float()
    assert 59 <= values.min() < 63
    assert 136 < values.max() <= 140
    assert 97 < values.mean() < 102
    image = some_images()[3:4, :, :2, :2].expand(300, -1, -1, -1)
    seen = ColourJitter(0.9, 0.9, 0.9, 0.5)(image, KEY.draws(torch.arange(300)))
    assert len({one.numpy().tobytes() for one in seen}) > 280


def test_nothing_asked_changes_nothing() -> None:
    assert torch.equal(ColourJitter(0, 0, 0, 0)(some_images(), KEY.draws(torch.arange(6))), some_images())


def test_bad_numbers_have_a_sentence() -> None:
    for wrong in ({"hue": 0.6}, {"brightness": -1.0}):
        with pytest.raises(LongtailError, match="at least 0, and hue at most"):
            ColourJitter(**wrong)
