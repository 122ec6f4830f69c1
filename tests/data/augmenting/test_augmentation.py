"""Augmentations do what a slow loop does, and depend on key and position alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import Tensor

from longtail.data.augmenting.augmentation import CropFlip, RandomResizedCropFlip
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import UnreadableImage, open_image
from longtail.draws import Draws, Key

KEY = Key.of_seed(5)


def draws(positions: list[int]) -> Draws:
    return KEY.draws(torch.tensor(positions))


def some_images(count: int, height: int, width: int) -> Tensor:
    return torch.randint(
        0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def every_crop(image: Tensor, padding: int, flip: bool) -> list[Tensor]:
    """All images that padding, cropping and mirroring `image` (3, H, W) can give, by slicing."""
    _, height, width = image.shape
    padded = torch.nn.functional.pad(image, (padding,) * 4)
    crops = [
        padded[:, top : top + height, left : left + width]
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    ]
    return crops + [crop.flip(2) for crop in crops] if flip else crops


@pytest.mark.parametrize(("padding", "flip"), [(1, False), (2, True), (1, True)])
def test_crops_are_all_of_the_possible_ones_about_equally_often(padding: int, flip: bool) -> None:
    image = some_images(1, 6, 5)
    crops = every_crop(image[0], padding, flip)
    seen = CropFlip(padding, flip)(image.expand(4000, -1, -1, -1), draws(list(range(4000))))
    found = [[torch.equal(crop, one) for crop in crops].index(True) for one in seen]
    counts = np.bincount(found, minlength=len(crops))
    expected = 4000 / len(crops)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < len(crops) + 5 * np.sqrt(2 * len(crops))


def test_a_row_depends_on_its_image_and_position_alone() -> None:
    images, positions = some_images(7, 8, 8), [3, 1, 4, 15, 9, 2, 6]
    whole = CropFlip(2)(images, draws(positions))
    for row, position in enumerate(positions):
        assert torch.equal(CropFlip(2)(images[row : row + 1], draws([position]))[0], whole[row])
    other = CropFlip(2)(images, Key.of_seed(6).draws(torch.tensor(positions)))
    assert not torch.equal(whole, other)


def test_equal_images_at_different_positions_differ() -> None:
    image = some_images(1, 32, 32).expand(20, -1, -1, -1)
    seen = CropFlip(4)(image, draws(list(range(20))))
    assert len({one.numpy().tobytes() for one in seen}) > 15


@settings(deadline=None, max_examples=200)
@given(
    size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    seed=st.integers(0, 1000),
    low=st.floats(0.05, 0.9),
)
def test_windows_lie_inside_and_have_an_allowed_area_and_shape(size: tuple[int, int], seed: int, low: float) -> None:
    augmentation = RandomResizedCropFlip(scale=(low, 1.0))
    numbers = np.random.default_rng(seed).random(augmentation.numbers).tolist()
    left, top, right, bottom = augmentation.window(size, numbers)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    width, height = right - left, bottom - top
    widest = width == size[0] or height == size[1]
    share = width * height / (size[0] * size[1])
    if min(size) >= 50 and not widest:
        assert low * 0.9 <= share <= 1
        assert 3 / 4 * 0.9 <= width / height <= 4 / 3 * 1.1


def test_areas_are_uniform_on_the_scale() -> None:
    augmentation = RandomResizedCropFlip(scale=(0.1, 0.5))
    numbers = draws(list(range(3000))).uniform(torch.empty(3000, augmentation.numbers), "image").tolist()
    boxes = np.array([augmentation.window((400, 400), row) for row in numbers])
    shares = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 400**2
    np.testing.assert_allclose(np.quantile(shares, [0.1, 0.5, 0.9]), [0.14, 0.3, 0.46], atol=0.02)
    centres = (boxes[:, 0] + boxes[:, 2]) / 800
    np.testing.assert_allclose(centres.mean(), 0.5, atol=0.02)


def test_a_window_is_cut_from_the_image_and_mirrored(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "image.png")
    augmentation, preprocessing = RandomResizedCropFlip(scale=(0.3, 1.0)), Preprocessing((24, 24))
    for seed in range(6):
        numbers = np.random.default_rng(seed).random(augmentation.numbers).tolist()
        left, top, right, bottom = augmentation.window((80, 60), numbers)
        cut = Image.fromarray(values[top:bottom, left:right])
        expected = np.asarray(cut.resize((24, 24), Image.Resampling.BICUBIC), dtype=int)
        expected = expected[:, ::-1] if numbers[-1] < 0.5 else expected
        with open_image(tmp_path / "image.png") as image:
            seen = augmentation(image, numbers, preprocessing).permute(1, 2, 0).numpy()
        assert np.abs(seen - expected).max() <= 2


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "ppm", "tif"])
def test_half_a_picture_is_never_a_sample(tmp_path: Path, suffix: str) -> None:
    path, augmentation = tmp_path / f"image.{suffix}", RandomResizedCropFlip()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(path)
    whole, numbers = path.read_bytes(), np.random.default_rng(0).random(augmentation.numbers).tolist()
    for kept in (0.3, 0.8, 0.99):
        path.write_bytes(whole[: int(len(whole) * kept)])
        for side in (16, 224):  # a JPEG is decoded at a smaller scale for the first
            with pytest.raises(UnreadableImage), open_image(path) as image:
                augmentation(image, numbers, Preprocessing((side, side)))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_scaled_jpeg_decoding_gives_the_same_picture_within_a_tolerance(tmp_path: Path, orientation: int) -> None:
    coarse = np.random.default_rng(2).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((1600, 1200), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "image.jpg", exif=exif, quality=95)
    picture.save(tmp_path / "image.webp", exif=exif, quality=95)  # decoded whole
    augmentation, preprocessing = RandomResizedCropFlip(scale=(0.3, 1.0)), Preprocessing((64, 64))
    for seed in range(4):
        numbers = np.random.default_rng(seed).random(augmentation.numbers).tolist()
        seen = []
        for name in ("image.jpg", "image.webp"):
            with open_image(tmp_path / name) as image:
                seen.append(augmentation(image, numbers, preprocessing).float())
                decoded = image.size
            if name == "image.jpg":
                assert max(decoded) <= 800  # really scaled
        assert (seen[0] - seen[1]).abs().mean() < 2.5
