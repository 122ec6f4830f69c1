"""Generated folders and damaged files: a correct data set or a clear sentence, never a shifted label."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import FORMATS, UnreadableImage, UnreadableImages, read
from longtail.data.loading.loader import Loader
from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.errors import LongtailError

NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8)
SUFFIX = st.sampled_from(
    [".png", ".PNG", ".jpg", ".Jpeg", ".bmp", ".gif", ".webp", ".ppm", ".tif", ".txt", "", ".heic"]
)
CONTENT = st.sampled_from(["whole", "whole", "whole", "half", "text", "empty"])
FOLDER = st.sampled_from(["{}", "{}", "{}/deep", "train/{}", "test/{}", "val/{}", "."])
FILES = st.lists(st.tuples(FOLDER, st.integers(0, 3), NAMES, SUFFIX, CONTENT), max_size=40)


def content(kind: str, suffix: str, label: int) -> bytes:
    """A file whose colour is its class."""
    if kind in ("text", "empty"):
        return b"no image at all" if kind == "text" else b""
    formats = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".ppm": "PPM"}
    name = formats.get(suffix.lower(), suffix[1:].upper() if suffix[1:].upper() in FORMATS else "PNG")
    written = io.BytesIO()
    Image.new("RGB", (24, 18), (60 * label, 60 * label, 60 * label)).save(written, name)
    whole = written.getvalue()
    return whole[: len(whole) // 2] if kind == "half" else whole


def write(root: Path, folder: str, label: int, name: str, suffix: str, kind: str) -> None:
    path = root / folder.format(f"class {label}") / f"{name}{suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(kind, suffix, label))
    except OSError:  # a name that this file system does not take, or a file where a folder should be
        return


def readable(root: Path) -> ImageSet:
    """The set beneath `root` without what cannot be read."""
    images = open_images(root)
    images = images.without(images.unreadable)
    for part in images.parts.values():
        try:
            Loader(part, Preprocessing((18, 24)), batch_size=8).decode_all()
        except UnreadableImages as error:
            images = images.without(error.reasons)
    return images


@settings(max_examples=150, deadline=None)
@given(files=FILES)
def test_a_generated_folder_is_a_correct_set_or_a_sentence(files: list[tuple[str, int, str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "photos"
        root.mkdir()
        for file in files:
            write(root, *file)
        try:
            images = readable(root)
        except LongtailError:
            return
        for part in images.parts.values():
            for batch in Loader(part, Preprocessing((18, 24)), batch_size=8).batches():
                for image, label in zip(batch.images.float(), batch.labels.tolist(), strict=True):
                    assert round(float(image.mean()) / 60) == int(images.classes[label].removeprefix("class "))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF"])
def test_mutated_files_are_read_or_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    generator = np.random.default_rng(0)
    written = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(written, name)
    whole, reasons = bytearray(written.getvalue()), list[str]()
    path = tmp_path / "image"
    for turn in range(150):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(damaged) if turn % 2 else 64, generator.integers(1, 9)):
            damaged[place] = generator.integers(0, 256)
        if turn % 5 == 0:
            damaged = damaged[: generator.integers(0, len(damaged))]
        path.write_bytes(damaged)
        reasons += [why for why in [reason_of(path)] if why is not None]
        assert path.read_bytes() == damaged
    assert len(reasons) > 15
    assert all(reason and "\n" not in reason for reason in reasons)


def reason_of(path: Path) -> str | None:
    """None for an image that can be read."""
    try:
        read(path)
    except UnreadableImage as error:
        return error.reason
    return None
