"""Generated tables, lists and folders: every image with its own label or named as left out, or one clear sentence."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from longtail.data.images.reading import UnreadableImage, rgb
from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.errors import LongtailError

NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=6)
MODES = st.sampled_from(["RGB", "L", "P", "RGBA", "CMYK", "I;16", "1", "LA"])
SUFFIX = st.sampled_from([".png", ".PNG", ".tif", ".jpg", ".gif", "", ".txt"])
CONTENT = st.sampled_from(["whole", "whole", "whole", "whole", "half", "text", "absent"])
LABEL = st.sampled_from(["0", "1", "2", "2", "Cat ", "", " "])
PART = st.sampled_from(["train", "train", "train", "test", "val", "tset"])
ODD = st.sampled_from(["{}", "{}", "{}", "./{}", "x/../{}", "../{}", "/{}", "../root/{}"])
ANY = st.tuples(NAMES, SUFFIX, MODES, st.integers(1, 40), CONTENT, LABEL, PART, ODD)
SOUND = st.tuples(
    NAMES,
    SUFFIX,
    MODES,
    st.integers(1, 40),
    CONTENT,
    st.sampled_from(["0", "1"]),
    st.sampled_from(["train", "train", "test"]),
    st.sampled_from(["{}", "./{}", "x/../{}"]),
)
FORMS = st.sampled_from(["csv", "tsv", "jsonl", "txt"])


def picture(mode: str, size: int, number: int, kind: str, suffix: str) -> bytes:
    """A file whose grey level says its number; modes that a format has not become RGB."""
    if kind == "text":
        return b"no image"
    image = Image.new("L", (size, size + 1), 5 * number)
    form = {".tif": "TIFF", ".jpg": "JPEG", ".gif": "GIF"}.get(suffix.lower(), "PNG")
    file = io.BytesIO()
    converted = image.convert("I;16") if mode == "I;16" and form in {"PNG", "TIFF"} else image
    if mode == "I;16" and form in {"PNG", "TIFF"}:
        converted = Image.new("I;16", image.size, 257 * 5 * number)
    elif (mode, form) in {
        ("CMYK", "TIFF"),
        ("CMYK", "JPEG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("LA", "PNG"),
    }:
        converted = image.convert("RGB").convert(mode) if mode == "CMYK" else image.convert(mode)
    elif mode != "1":
        converted = image.convert("RGB")
    converted.save(file, form)
    return file.getvalue()[: len(file.getvalue()) // (2 if kind == "half" else 1)]


def table(form: str, rows: list[tuple[str, str, str]]) -> str:
    if form == "txt":
        return "".join(f"{path} {label}\n" for path, label, _ in rows)
    names = ("path", "label", "split")
    if form == "jsonl":
        return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    file = io.StringIO()
    csv.writer(file, delimiter={"csv": ",", "tsv": "\t"}[form]).writerows([names, *rows])
    return file.getvalue()


def numbers_seen(images: ImageSet, labels: dict[int, str]) -> set[int]:
    """The numbers of the images that can be decoded; each has the label that its list gave it."""
    seen = set()
    for part in images.parts.values():
        for index, label in enumerate(part.labels.tolist()):
            try:
                with part.pixels.open(index) as image:
                    number = round(rgb(image).resize((1, 1)).getpixel((0, 0))[0] / 5)  # type: ignore[index]
            except UnreadableImage:
                continue
            assert images.classes[label].strip() == labels[number].strip()
            seen.add(number)
    return seen


GARBAGE = st.sampled_from(["", "", "", "", '"', "\0\n", "{\n"])


def opened(path: Path) -> ImageSet | str:
    """The set, or the sentence."""
    try:
        return open_images(path)
    except LongtailError as error:
        return str(error)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    form=FORMS,
    content=st.tuples(st.lists(SOUND, min_size=14, max_size=25), st.just(""))
    | st.tuples(st.lists(ANY, max_size=25), GARBAGE),
)
def test_a_generated_list_is_a_correct_set_or_a_sentence(
    form: str, content: tuple[list[tuple[str, str, str, int, str, str, str, str]], str]
) -> None:
    files, garbage = content
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "root"
        root.mkdir()
        rows: list[tuple[str, str, str]] = []
        labels: dict[int, str] = {}
        whole: set[int] = set()
        for number, (name, suffix, mode, size, kind, label, part, odd) in enumerate(files):
            path = root / f"{name}{suffix}"
            if form == "txt" and path.name.split() != [path.name]:
                continue  # a line cannot hold it
            try:
                if path.exists():
                    continue
                if kind != "absent":
                    path.write_bytes(picture(mode, size, number, kind, suffix))
            except (OSError, ValueError):  # a name that this file system does not take
                continue
            rows.append((odd.format(path.name), label, part))
            labels[number] = label
            if kind == "whole":
                whole.add(number)
        list_of_images = root / f"list.{form}"
        list_of_images.write_text(table(form, rows) + garbage, encoding="utf-8", newline="")
        images = opened(list_of_images)
        if isinstance(images, str):
            assert "\n" not in images
            return
        assert sum(map(len, images.parts.values())) == len(rows)
        unseen = whole - numbers_seen(images, labels)
        assert len(unseen) <= len(images.unreadable)
