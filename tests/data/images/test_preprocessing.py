"""Evaluation pixels are timm's own, small images keep theirs, and everything goes through JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data import create_transform

from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import open_image, rgb
from longtail.data.sources.digits import digits
from longtail.errors import LongtailError

TIMM: dict[str, Any] = {
    "input_size": (3, 48, 48),
    "interpolation": "bicubic",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "crop_pct": 0.875,
    "crop_mode": "center",
}


def picture(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@settings(max_examples=100, deadline=None)
@given(
    short=st.integers(1, 300),
    aspect=st.floats(1, 16),
    upright=st.booleans(),
    interpolation=st.sampled_from(["bilinear", "bicubic", "lanczos"]),
    crop=st.sampled_from([0.8, 0.875, 0.9, 0.95, 1.0]),
)
def test_pixels_are_timms(short: int, aspect: float, upright: bool, interpolation: str, crop: float) -> None:
    config = {**TIMM, "interpolation": interpolation, "crop_pct": crop}
    size = (short, min(int(short * aspect), 800))
    image = picture(*size) if upright else picture(*reversed(size))
    theirs = create_transform(**config, is_training=False)(image)
    torch.testing.assert_close(Preprocessing.of_timm(config)(image), theirs, atol=1e-5, rtol=1e-5)


def test_a_ribbon_does_not_fill_the_memory() -> None:
    ribbon = Image.new("L", (1_000_000, 1))
    ribbon.paste(255, (499_990, 0, 500_010, 1))
    pixels = Preprocessing((48, 48)).pixels(ribbon)
    assert pixels.float().mean() == 255


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 40), st.integers(1, 40), st.floats(0.3, 1))
@settings(deadline=None)
def test_every_size_comes_out_as_asked(width: int, height: int, rows: int, columns: int, crop: float) -> None:
    pixels = Preprocessing((rows, columns), crop_fraction=crop).pixels(Image.new("RGB", (width, height), (9, 8, 7)))
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, torch.tensor([9, 8, 7], dtype=torch.uint8)[:, None, None].expand(3, rows, columns))


def test_an_image_of_the_size_keeps_its_pixels(tmp_path: Path) -> None:
    image = picture(31, 17)
    image.save(tmp_path / "image.png")
    pixels = Preprocessing((17, 31)).pixels(tmp_path / "image.png")
    np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(image))


def test_normalise_is_the_formula() -> None:
    preprocessing = Preprocessing((4, 4), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    images = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocessing.mean, preprocessing.std))
    for layout in (torch.contiguous_format, torch.channels_last):
        laid = images.contiguous(memory_format=layout)
        seen = preprocessing.normalise(laid)
        torch.testing.assert_close(seen, (images / 255 - mean) / std, atol=1e-6, rtol=1e-5)
        assert seen.is_contiguous(memory_format=layout)
        assert torch.equal(laid, images)
        assert laid.dtype == torch.uint8


def test_description_goes_through_json() -> None:
    for preprocessing in (Preprocessing.of_timm(TIMM), Preprocessing.native(digits()), Preprocessing((3, 5)).at(64)):
        assert Preprocessing.of(json.loads(json.dumps(preprocessing.description()))) == preprocessing


@pytest.mark.parametrize("size", [(1030, 1100), (2048, 1536), (1500, 4000)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_large_jpegs_are_decoded_smaller_within_a_tolerance(
    tmp_path: Path, size: tuple[int, int], orientation: int
) -> None:
    preprocessing, exif = Preprocessing((224, 224), crop_fraction=0.875), Image.Exif()
    exif[0x0112] = orientation
    for number, array in enumerate(load_sample_images().images):
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(array).resize(size, Image.Resampling.LANCZOS).save(path, quality=92, exif=exif)
        with open_image(path) as image:
            whole = preprocessing.pixels(rgb(image))
        with open_image(path) as image:
            seen = preprocessing.pixels(image)
            assert min(image.size) <= max(size) / 2  # really smaller
        difference = (seen.float() - whole.float()).abs()
        assert 0 < difference.mean() < 0.6
        assert difference.max() <= 10


def test_torchs_resizing_is_pillows_within_a_tolerance() -> None:
    pixels = load_sample_images().images[0]
    for interpolation in ("bilinear", "bicubic", "lanczos"):
        preprocessing = Preprocessing((96, 80), interpolation=interpolation)
        for window in (pixels, pixels[20:300, 50:170], pixels[5:60, 10:90]):
            expected = np.asarray(Image.fromarray(window).resize((80, 96), preprocessing.resampling))
            difference = np.abs(preprocessing.resize(window).permute(1, 2, 0).numpy().astype(int) - expected)
            assert difference.max() <= (0 if interpolation == "lanczos" else 3)
            assert difference.mean() < 0.25


def test_bad_settings_have_a_sentence() -> None:
    with pytest.raises(LongtailError, match="Unknown interpolation 'cubic'; did you mean bicubic"):
        Preprocessing((8, 8), interpolation="cubic")
    with pytest.raises(LongtailError, match="at least 1 pixel"):
        Preprocessing((0, 8))
