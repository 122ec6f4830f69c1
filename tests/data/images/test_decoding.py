"""The fast decoder and Pillow give the same pixels, and refuse the same files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from hostile_images import mutated, seeds
from longtail.data.images import decoding
from longtail.data.images.decoding import decode, jpeg_shrink, shrink_jpeg
from longtail.data.images.reading import UnreadableImage, open_image

fast = pytest.mark.skipif(decoding._decode_jpeg is None, reason="simplejpeg does not load here")


def both(content: bytes, monkeypatch: pytest.MonkeyPatch, shrink: int = 1) -> list[np.ndarray | str]:
    """What becomes of a file with the fast decoder and with Pillow alone."""
    found: list[np.ndarray | str] = []
    for decoder in (decoding._decode_jpeg, None):
        with monkeypatch.context() as patch:
            patch.setattr(decoding, "_decode_jpeg", decoder)
            try:
                with open_image(io.BytesIO(content)) as image:
                    shrink_jpeg(image, shrink)
                    found.append(decode(image))
            except UnreadableImage as error:
                found.append(error.reason)
    return found


@fast
@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_same_pixels(monkeypatch: pytest.MonkeyPatch, shrink: int, options: dict[str, int], mode: str) -> None:
    whole = Image.fromarray(load_sample_images().images[0]).resize((203, 131)).convert(mode)
    for orientation in (1, 3, 6, 7):
        content, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = orientation
        whole.save(content, "JPEG", exif=exif, **options)
        one, other = both(content.getvalue(), monkeypatch, shrink)
        assert isinstance(one, np.ndarray)
        assert max(one.shape) == -(-203 // shrink)
        np.testing.assert_array_equal(one, other)


@fast
def test_the_same_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, refused = np.random.default_rng(0), 0
    originals = seeds("JPEG")
    for number in range(600):
        one, other = both(mutated(originals[number % len(originals)], generator), monkeypatch)
        refused += isinstance(one, str)
        if isinstance(one, str):
            assert one == other
        else:
            np.testing.assert_array_equal(one, other)
    assert 100 < refused < 500


@fast
def test_the_fast_decoder_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "image.jpg")
    sizes = []

    def spy(content: bytes, **options: object) -> np.ndarray:
        sizes.append(len(content))
        assert decoder is not None
        return decoder(content, **options)

    decoder = decoding._decode_jpeg
    monkeypatch.setattr(decoding, "_decode_jpeg", spy)
    with open_image(tmp_path / "image.jpg") as image:
        assert decode(image).shape == (30, 40, 3)
    assert sizes == [(tmp_path / "image.jpg").stat().st_size]


def test_a_file_that_is_too_long_to_hold_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "image.jpg")
    monkeypatch.setattr(decoding, "_LARGEST", 10)
    with open_image(tmp_path / "image.jpg") as image:
        assert decode(image).shape == (30, 40, 3)


def test_only_jpegs_are_shrunk(tmp_path: Path) -> None:
    for name, expected in {"image.png": 1, "image.jpg": 4}.items():
        Image.new("RGB", (400, 300)).save(tmp_path / name)
        with open_image(tmp_path / name) as image:
            assert shrink_jpeg(image, 4) == expected
            assert decode(image).shape == (300 // expected, 400 // expected, 3)


def test_the_scale_leaves_what_is_needed() -> None:
    for width in range(200, 4000, 37):
        scale = jpeg_shrink((width, 3000), (224, 224))
        assert scale == 1 or width / scale >= 224
        assert scale == 8 or width / (2 * scale) < 224
