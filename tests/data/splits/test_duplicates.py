"""Copies, re-encoded and slightly changed images are found, distinct ones are left alone, and the search is exact."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from longtail.data.parts import Part
from longtail.data.pixels import Files, InMemory
from longtail.data.sources.digits import digits
from longtail.data.splits import duplicates
from longtail.data.splits.duplicates import Pairs, connected_groups, near_duplicates, pairs_of
from longtail.watching import Watcher

WATCHER = Watcher()


def near_duplicate_groups(part: Part, watcher: Watcher, workers: int = 0) -> duplicates.Indices:
    return connected_groups(near_duplicates([part], watcher, workers), len(part))


def photographs(count: int, size: tuple[int, int] = (200, 150)) -> list[Image.Image]:
    """Different pieces of two photographs."""
    wholes = [Image.fromarray(array) for array in load_sample_images().images]
    places = np.random.default_rng(0).integers(0, (640 - 160, 427 - 120), (count, 2))
    pieces = [wholes[i % 2].crop((x, y, x + 160, y + 120)) for i, (x, y) in enumerate(places.tolist())]
    return [piece.resize(size) for piece in pieces]


def part_of(folder: Path, images: list[Image.Image], suffix: str = "png") -> Part:
    names = tuple(f"{index:03}.{suffix}" for index in range(len(images)))
    for name, image in zip(names, images, strict=True):
        image.save(folder / name)
    return Part(np.zeros(len(names), np.int64), names, Files(folder, names, np.ones(len(names), np.int64), None))


def recoded(image: Image.Image) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=40)
    return Image.open(content).convert("RGB")


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((3, 2, image.width - 2, image.height - 3))


def noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, 6, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


CHANGES: list[tuple[Callable[[Image.Image], Image.Image], float]] = [
    (lambda image: image, 1.0),
    (recoded, 0.95),
    (lambda image: image.resize((image.width // 2, image.height // 2)), 0.95),
    (lambda image: ImageEnhance.Brightness(image).enhance(0.8), 0.95),
    (lambda image: ImageEnhance.Contrast(image).enhance(1.2), 0.9),
    (noisy, 0.95),
    (cropped, 0.9),
]


@pytest.mark.parametrize(("change", "least"), CHANGES)
def test_changed_copies_are_found(tmp_path: Path, change: Callable[[Image.Image], Image.Image], least: float) -> None:
    images = photographs(40)
    part = part_of(tmp_path, images + [change(image) for image in images])
    groups = near_duplicate_groups(part, WATCHER)
    assert (groups[:40] == groups[40:]).mean() >= least


def test_distinct_images_stay_apart() -> None:
    images = digits().train.pixels
    assert isinstance(images, InMemory)
    colours = torch.randint(0, 256, (300, 3, 5, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    part = Part(np.zeros(300, np.int64), tuple(map(str, range(300))), InMemory(colours))
    assert len(near_duplicates([part], WATCHER).first) == 0


def test_blank_images_are_one_another_only_if_alike() -> None:
    blank = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    blank[2:] = 255
    part = Part(np.zeros(4, np.int64), tuple("abcd"), InMemory(blank))
    groups = near_duplicate_groups(part, WATCHER).tolist()
    assert groups[0] == groups[1]
    assert groups[2] == groups[3]


def test_pairs_lie_within_and_across_parts_and_copies_are_listed_once(tmp_path: Path) -> None:
    first, second, third = photographs(3)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    train = part_of(tmp_path / "a", [first, second, first, first])
    test = part_of(tmp_path / "b", [third, recoded(second), first])
    found = near_duplicates([train, test], WATCHER)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 2), (0, 3), (0, 6), (1, 5)]
    assert found.distance[:3].tolist() == [0, 0, 0]
    assert 0 < found.distance[3] < duplicates.DISTANCE
    assert connected_groups(found, 7).tolist() == [0, 1, 0, 0, 2, 1, 0]


def test_unreadable_images_stand_alone(tmp_path: Path) -> None:
    part = part_of(tmp_path, [photographs(1)[0]] * 4)
    (tmp_path / "001.png").write_text("no image")
    (tmp_path / "002.png").unlink()
    assert near_duplicate_groups(part, WATCHER).tolist() == [0, 1, 2, 0]


def test_no_workers_or_two_find_the_same(tmp_path: Path) -> None:
    part = part_of(tmp_path, photographs(12) + [recoded(image) for image in photographs(12)], "jpg")
    alone, with_one = near_duplicate_groups(part, WATCHER), near_duplicate_groups(part, WATCHER, workers=1)
    assert alone.tolist() == with_one.tolist()


def test_the_search_finds_what_comparing_all_pairs_finds() -> None:
    generator = np.random.default_rng(0)
    base = generator.integers(0, 2**63, 60, dtype=np.uint64)
    flips = np.zeros((60, 30), np.uint64)
    for _ in range(8):
        flips ^= np.uint64(1) << generator.integers(0, 64, (60, 30), dtype=np.uint64)
    codes = (base[:, None] ^ flips).ravel()
    one, other = np.triu_indices(len(codes), 1)
    near = np.bitwise_count(codes[one] ^ codes[other]) <= duplicates.CODE_BITS
    expected = set(zip(one[near].tolist(), other[near].tolist(), strict=True))
    seen = {pair for a, b in duplicates._candidates(codes) for pair in zip(a.tolist(), b.tolist(), strict=True)}
    assert seen == expected
    assert len(expected) > 1000


def test_blocks_bound_the_memory_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), dtype=np.uint8)
    looks = np.concatenate([looks, looks ^ np.uint8(3)])
    whole = pairs_of(looks)
    monkeypatch.setattr(duplicates, "_AT_A_TIME", 7)
    again = pairs_of(looks)
    assert (whole.first.tolist(), whole.second.tolist()) == (again.first.tolist(), again.second.tolist())
    assert len(whole.first) >= 50


def test_groups_run_through_chains() -> None:
    pairs = Pairs(np.array([4, 2, 1]), np.array([5, 3, 2]), np.zeros(3, np.float32))
    assert connected_groups(pairs, 6).tolist() == [0, 1, 1, 1, 2, 2]
    nothing = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    assert connected_groups(nothing, 3).tolist() == [0, 1, 2]
