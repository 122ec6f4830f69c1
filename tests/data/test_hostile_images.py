"""A sample of what benchmarks/mutated_images.py does by the hundred thousand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hostile_checks import check_mutated, refusal
from hostile_images import FORMATS, Bomb, bombs, seeds
from longtail.data.images.limits import MEGAPIXELS_VARIABLE, objection, pixel_limit
from longtail.data.images.reading import open_image, read
from longtail.data.loading.cache import Store
from longtail.data.pixels import InMemory
from longtail.errors import LongtailError

BOMBS = list(bombs())
LARGE = ("profile.png", "text.png", "deflate.tif", "tile.tif", "canvas-16k.webp", "frames.gif", "scans.jpg")


def test_there_are_enough_bombs() -> None:
    assert len({name for name, _ in BOMBS}) >= 30
    assert {name for name, _ in BOMBS} >= set(LARGE)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("bomb", [bomb for bomb in BOMBS if bomb[0] in LARGE], ids=lambda bomb: bomb[0])
def test_a_bomb_is_refused_soon_and_without_memory(tmp_path: Path, bomb: Bomb) -> None:
    path = tmp_path / bomb[0]
    path.write_bytes(bomb[1])
    found = refusal(path)
    assert found.reason is not None
    assert found.seconds < 2
    assert found.megabytes < 300


@pytest.mark.parametrize("form", FORMATS)
def test_the_files_to_mutate_are_whole(tmp_path: Path, form: str) -> None:
    for number, content in enumerate(seeds(form)):
        (tmp_path / f"{number}.bin").write_bytes(content)
        assert read(tmp_path / f"{number}.bin").mode == "RGB"


def test_mutated_files_are_images_or_reasons() -> None:
    tally = check_mutated(300, seed=1)
    assert tally["files"] == 375
    assert 100 < tally["refused"] < 300


def test_a_progressive_jpeg_of_ten_scans_is_no_bomb(tmp_path: Path) -> None:
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "image.jpg", progressive=True)
    with open_image(tmp_path / "image.jpg") as image:
        assert objection(image) is None
    assert read(tmp_path / "image.jpg").size == (256, 256)


def test_the_limit_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (2000, 1000)).save(tmp_path / "image.png")
    try:
        for megapixels, fits in (("1", False), ("2", True)):
            monkeypatch.setenv(MEGAPIXELS_VARIABLE, megapixels)
            pixel_limit.cache_clear()
            if fits:
                read(tmp_path / "image.png")
            else:
                with pytest.raises(LongtailError, match=f"limit is 1 megapixels, {MEGAPIXELS_VARIABLE} sets another"):
                    read(tmp_path / "image.png")
        for wrong in ("many", "0", "179"):
            monkeypatch.setenv(MEGAPIXELS_VARIABLE, wrong)
            pixel_limit.cache_clear()
            with pytest.raises(LongtailError, match="whole number from 1 to 178"):
                read(tmp_path / "image.png")
    finally:
        monkeypatch.undo()
        pixel_limit.cache_clear()


def test_metadata_reach_nothing_that_is_kept(tmp_path: Path) -> None:
    secret, exif = b"51.5007N-0.1246W", Image.Exif()
    exif[0x010E] = secret.decode()
    Image.new("RGB", (40, 30)).save(tmp_path / "image.jpg", exif=exif, comment=secret, icc_profile=secret)
    assert secret in (tmp_path / "image.jpg").read_bytes()
    seen = read(tmp_path / "image.jpg")
    seen.save(tmp_path / "again.png")
    assert secret not in (tmp_path / "again.png").read_bytes()
    store = Store(tmp_path / "cache")
    pixels = InMemory(torch.zeros(1, 3, 30, 40, dtype=torch.uint8))
    store.put(pixels, 0, pixels.digest(0), np.asarray(seen))
    assert store.get(pixels, 0) is not None
    assert not any(secret in path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
