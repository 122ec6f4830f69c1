"""Every kind of image becomes upright RGB, and every kind of damage one reason."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from longtail.data.images.limits import pixel_limit
from longtail.data.images.reading import UnreadableImage, UnreadableImages, open_image, read

GRADIENT = np.linspace(0, 255, 12 * 10, dtype=np.uint8).reshape(12, 10)
COLOURS = np.stack([GRADIENT, GRADIENT[::-1], 255 - GRADIENT], axis=2)


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG file that claims a size; no pixels follow."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + struct.pack(">I", 0) + b"IDAT"


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "webp", "ppm", "tif", "jpg"])
def test_every_allowed_format_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    exactly: dict[str, dict[str, Any]] = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
    picture = Image.fromarray(GRADIENT if suffix == "gif" else COLOURS)
    picture.save(path, **exactly.get(suffix, {}))
    difference = np.asarray(read(path), dtype=int) - np.asarray(picture.convert("RGB"), dtype=int)
    assert np.abs(difference).max() <= (3 if suffix == "jpg" else 0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
def test_every_mode_becomes_three_channels_of_eight_bits(tmp_path: Path, mode: str) -> None:
    if mode in ("I;16", "I"):
        source = Image.fromarray(GRADIENT.astype(np.uint16) * 257).convert(mode)
        expected = np.repeat(GRADIENT[:, :, None], 3, axis=2)
    else:
        source = Image.fromarray(COLOURS).convert(mode)
        expected = np.asarray(source.convert("RGB"))
    path = tmp_path / "image.tif"
    source.save(path)
    image = read(path)
    assert image.mode == "RGB"
    np.testing.assert_allclose(np.asarray(image, dtype=int), expected, atol=1)


def test_transparency_shows_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[..., 0], pixels[0, :, 3], pixels[1, 0, 3] = 200, 255, 128
    Image.fromarray(pixels).save(tmp_path / "image.png")
    seen = np.asarray(read(tmp_path / "image.png"))
    np.testing.assert_array_equal(seen[0, 0], [200, 0, 0])
    np.testing.assert_array_equal(seen[1, 1], [255, 255, 255])
    np.testing.assert_allclose(seen[1, 0], [227, 127, 127], atol=1)


def test_transparent_palette_and_colour_key_show_white(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 255]))
    palette.save(tmp_path / "palette.gif", transparency=0)
    Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)).save(
        tmp_path / "key.png", transparency=(1, 2, 3)
    )
    for name, opaque in {"palette.png": [40, 50, 60], "palette.gif": [40, 50, 60], "key.png": [4, 5, 6]}.items():
        np.testing.assert_array_equal(np.asarray(read(tmp_path / name))[0], [[255, 255, 255], opaque], err_msg=name)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOURS).save(path, exif=exif)
    with Image.open(path) as image:
        image.load()
        expected = ImageOps.exif_transpose(image).convert("RGB")
    assert read(path).tobytes() == expected.tobytes()
    assert read(path).size == ((12, 10) if orientation >= 5 else (10, 12))


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert read(tmp_path / name).getpixel((1, 1)) == (255, 0, 0), name


def test_a_camera_file_of_several_pictures_gives_the_first(tmp_path: Path) -> None:
    frames = [Image.fromarray(COLOURS), Image.new("RGB", (10, 12), "blue")]
    frames[0].save(tmp_path / "camera.jpg", "MPO", save_all=True, append_images=frames[1:], quality=100)
    seen = np.asarray(read(tmp_path / "camera.jpg"), dtype=int)
    assert np.abs(seen - COLOURS).mean() < 8


def test_damaged_exif_does_not_cost_the_image(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "image.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7fbroken")
    assert read(tmp_path / "image.jpg").size == (10, 12)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "webp", "ppm", "tif"])
@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_truncated_files_are_refused_with_their_name(tmp_path: Path, suffix: str, kept: float) -> None:
    whole, path = io.BytesIO(), tmp_path / f"image.{suffix}"
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    noisy.save(path)
    whole.write(path.read_bytes())
    path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * kept)])
    with pytest.raises(UnreadableImage, match=f"image.{suffix}: ") as caught:
        read(path)
    assert "\n" not in caught.value.reason


def test_reasons_are_plain(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(whole, "JPEG")
    written = {
        "half.jpg": (whole.getvalue()[:500], "image file is truncated"),
        "text.jpg": (b"this is no image", "not an image"),
        "empty.jpg": (b"", "empty file"),
        "page.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
    }
    for name, (content, reason) in written.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImage) as caught:
            read(tmp_path / name)
        assert caught.value.reason == reason
    for missing, reason in {tmp_path / "absent.jpg": "no such file or directory", tmp_path: "not a file"}.items():
        with pytest.raises(UnreadableImage) as caught:
            read(missing)
        assert caught.value.reason == reason


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GRADIENT.astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(GRADIENT.astype(np.int32) * 100_000).save(tmp_path / "wide.tif")
    for name in ("float.tif", "wide.tif"):
        with pytest.raises(UnreadableImage, match="no known range"):
            read(tmp_path / name)


@pytest.mark.parametrize("side", [8001, 12_000, 20_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    begin = time.perf_counter()
    with pytest.raises(UnreadableImage, match="too large"):
        read(tmp_path / "bomb.png")
    assert time.perf_counter() - begin < 1


def test_the_largest_allowed_image_passes_the_header(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png_header(8000, pixel_limit() // 8000))
    with open_image(tmp_path / "large.png") as image:
        assert image.size == (8000, 8000)


def test_many_unreadable_images_in_one_message() -> None:
    error = UnreadableImages({f"train/cat/{i}\n.jpg": "not an image" for i in range(30)})
    assert len(error.reasons) == 30
    assert "30 images cannot be read" in str(error)
    assert "--bad-images drop" in str(error)
    assert "and 10 more" in str(error)
    assert r"'train/cat/0\n.jpg': not an image" in str(error)
