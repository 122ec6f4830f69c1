"""No path of a list is followed out of its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtail.data.open import open_images
from longtail.data.sources.inside import Inside
from longtail.errors import LongtailError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """photos/ with links in and out, and a secret beside it."""
    root = tmp_path / "photos"
    (root / "cat").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    Image.new("RGB", (4, 4), "red").save(tmp_path / "secret" / "s.png")
    Image.new("RGB", (4, 4)).save(root / "cat" / "1.png")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "cat" / "link.png").symlink_to(tmp_path / "secret" / "s.png")
    (root / "cat" / "same.png").symlink_to(root / "cat" / "1.png")
    (root / "again").symlink_to(root / "cat")
    return root


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("cat/1.png", "cat/1.png"),
        ("./cat//1.png", "cat/1.png"),
        ("cat/../cat/1.png", "cat/1.png"),
        ("cat/same.png", "cat/same.png"),
        ("again/1.png", "again/1.png"),
        ("{root}/cat/1.png", "cat/1.png"),
        (" cat /ünï\n.png", " cat /ünï\n.png"),
        ("...", "..."),
    ],
)
def test_paths_inside_are_named_by_the_root(root: Path, path: str, name: str) -> None:
    assert Inside(root).name(path.format(root=root), "here") == name


def climbing(root: Path, number: int) -> list[str]:
    """So many different ways out."""
    draw = np.random.default_rng(0)
    targets = ["secret/s.png", "photos2/x.png", ""]
    ways = []
    for index in range(number):
        ups, detour = "../" * int(draw.integers(1, 9)), "cat/../" * int(draw.integers(0, 3))
        ways.append(
            (
                f"{detour}{ups}{targets[index % 3]}{index}",
                f"/etc/../{'x/../' * int(draw.integers(0, 3))}etc/hostname{index}",
                f"out/{'./' * int(draw.integers(0, 5))}s{index}.png",
                f"{root}/../secret/{index}.png",
                f"{root}2/{index}.png",
                "cat/link.png",
            )[index % 6]
        )
    return ways


def test_a_thousand_climbing_paths_are_refused_with_their_lines(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("longtail.data.images.headers.open_image", refuse)
    monkeypatch.setattr("longtail.data.pixels.open_image", refuse)
    table = root / "list.csv"
    for path in climbing(root, 1000):
        table.write_text(f"path,label\ncat/1.png,cat\n{path},dog\n")
        with pytest.raises(LongtailError, match=r"list.csv, line 3: .* leads out of"):
            open_images(table)


@pytest.mark.parametrize("path", ["", ".", "cat/..", "a\0b"])
def test_what_names_no_file_is_refused(root: Path, path: str) -> None:
    with pytest.raises(LongtailError, match=r"here 3: .* is no path of an image"):
        Inside(root).name(path, "here 3")


def test_a_root_that_is_a_link_is_a_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(root)
    assert Inside(tmp_path / "way").name("cat/1.png", "") == "cat/1.png"
    assert Inside(tmp_path / "way").name(f"{root}/cat/1.png", "") == "cat/1.png"
