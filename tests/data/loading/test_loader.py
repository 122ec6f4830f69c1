"""Batches carry the right label for the right pixels, whatever the workers, and no broken file slips through."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from numpy.typing import NDArray
from PIL import Image

from longtail.data.augmenting.augmentation import Augmentation, Chain, CropFlip, RandomResizedCropFlip
from longtail.data.augmenting.colours import ColourJitter
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import UnreadableImages
from longtail.data.loading import holding
from longtail.data.loading.loader import Batch, Loader
from longtail.data.parts import Part
from longtail.data.pixels import Files, InMemory
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.watching import Task, Watcher

KEY = Key.of_seed(7).at("epoch", 2)
SMALL, LARGE = Preprocessing((16, 20)), Preprocessing((80, 80), crop_fraction=0.875)


def colour(index: int) -> tuple[int, int, int]:
    """A colour that tells the image; label = index % 3."""
    return 40 + 5 * (index % 40), 100, 30 + 7 * (index // 40)


def files(folder: Path, count: int, size: tuple[int, int] = (20, 16)) -> Part:
    """A part of one-coloured PNG files, `size` (width, height)."""
    folder.mkdir(exist_ok=True)
    names = tuple(f"{index:03}.png" for index in range(count))
    for index, name in enumerate(names):
        Image.new("RGB", size, colour(index)).save(folder / name)
    pixels = Files(folder, names, np.full(count, 100), (size[1], size[0]))
    return Part(np.arange(count) % 3, names, pixels)


def in_memory(count: int) -> Part:
    images = torch.randint(0, 256, (count, 3, 16, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Part(np.arange(count) % 3, tuple(map(str, range(count))), InMemory(images))


def loader(part: Part, preprocessing: Preprocessing, augmentation: Augmentation | None, **options: Any) -> Loader:
    return Loader(part, preprocessing, augmentation, **{"batch_size": 8, **options})


def everything(batches: list[Batch]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))


@pytest.mark.parametrize("preprocessing", [SMALL, LARGE], ids=["held", "decoded each time"])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_has_its_own_label(tmp_path: Path, preprocessing: Preprocessing, workers: int) -> None:
    part = files(tmp_path, 30)
    order = np.random.default_rng(0).integers(0, 30, 50)
    images, labels, indices, positions = everything(
        list(loader(part, preprocessing, None, workers=workers).batches(order, np.arange(50) + 100, KEY))
    )
    assert images.dtype == torch.uint8
    assert indices.tolist() == order.tolist()
    assert positions.tolist() == list(range(100, 150))
    assert labels.tolist() == [index % 3 for index in order]
    expected = torch.tensor([colour(int(index)) for index in order], dtype=torch.uint8)
    assert torch.equal(images, expected[:, :, None, None].expand(-1, 3, *preprocessing.size))


@pytest.mark.parametrize("augmentation", [CropFlip(2), RandomResizedCropFlip(), None])
@pytest.mark.parametrize("kind", ["files", "memory"])
def test_workers_and_batch_size_change_no_pixel(tmp_path: Path, augmentation: Augmentation | None, kind: str) -> None:
    part = files(tmp_path, 20) if kind == "files" else in_memory(20)
    order, positions = np.arange(20)[::-1].copy(), np.arange(20) + 40
    expected = everything(list(loader(part, SMALL, augmentation).batches(order, positions, KEY)))
    for options in ({"workers": 1}, {"workers": 2, "batch_size": 3}, {"batch_size": 20}):
        one = loader(part, SMALL, augmentation, **options)
        for _ in range(2):  # workers stay for a second pass
            seen = everything(list(one.batches(order, positions, KEY)))
            assert all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))
        one.close()
    half = everything(list(loader(part, SMALL, augmentation).batches(order[11:], positions[11:], KEY)))
    assert torch.equal(half[0], expected[0][11:])


def test_key_and_position_decide_the_augmentation() -> None:
    part = in_memory(4)
    repeated = np.zeros(40, dtype=np.int64)
    for augmentation in (CropFlip(3), RandomResizedCropFlip()):
        one = loader(part, SMALL, augmentation)
        images, again, other = (
            everything(list(one.batches(repeated, np.arange(40), key)))[0] for key in (KEY, KEY, KEY.at("next"))
        )
        assert torch.equal(images, again)
        assert not torch.equal(images, other)
        assert len({image.numpy().tobytes() for image in images}) > 20


def test_images_in_memory_can_be_resized() -> None:
    part = in_memory(6)
    assert isinstance(part.pixels, InMemory)
    images = everything(list(loader(part, Preprocessing((32, 40)), None).batches()))[0]
    for index, image in enumerate(images):
        whole = Image.fromarray(part.pixels.images[index].permute(1, 2, 0).numpy())
        expected = np.asarray(whole.resize((40, 32), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_the_global_generators_stay_as_they_are(tmp_path: Path) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # type: ignore[index]  # noqa: NPY002
    one = loader(files(tmp_path, 12), LARGE, RandomResizedCropFlip(), workers=1)
    list(one.batches(key=KEY))
    one.close()
    assert torch.equal(before, torch.get_rng_state())
    assert numpy_before == np.random.get_state()[1].tobytes()  # type: ignore[index]  # noqa: NPY002


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_may_be_closed_early(tmp_path: Path, workers: int) -> None:
    one = loader(files(tmp_path, 40), LARGE, RandomResizedCropFlip(), workers=workers, batch_size=4)
    expected = everything(list(one.batches(key=KEY)))
    for taken in (1, 3):
        batches = one.batches(np.arange(40)[::-1].copy(), key=KEY.at("other"))
        for _ in range(taken):
            next(batches)
        batches.close()  # type: ignore[attr-defined]
        seen = everything(list(one.batches(key=KEY)))
        assert all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))
    one.close()


def test_two_passes_at_a_time_are_refused_and_never_mixed(tmp_path: Path) -> None:
    one = loader(files(tmp_path, 24), LARGE, None, workers=1, batch_size=4)
    first = one.batches()
    next(first)
    second = one.batches()
    next(second)
    with pytest.raises(RuntimeError, match="one loader for each"):
        next(first)
    one.close()


def test_small_images_are_decoded_once_for_all_loaders_of_a_part(tmp_path: Path) -> None:
    part, watcher = files(tmp_path, 12), Recorder()
    first = everything(list(loader(part, SMALL, None, watcher=watcher).batches()))
    for name in part.identities:
        (tmp_path / name).unlink()
    again = everything(list(loader(part, SMALL, CropFlip(0, flip=False), watcher=watcher).batches(key=KEY)))
    assert torch.equal(first[0], again[0])
    assert watcher.tasks == {"Decoding into memory": [12, 12]}


def test_a_chain_changes_images_and_then_batches(tmp_path: Path) -> None:
    part, jitter = files(tmp_path, 12), ColourJitter()
    chain = Chain(RandomResizedCropFlip(), jitter)
    order = np.arange(12)[::-1].copy()
    windows = everything(list(loader(part, LARGE, RandomResizedCropFlip()).batches(order, key=KEY)))
    expected = jitter(windows[0], KEY.draws(windows[3]).of("1"))
    for options in ({}, {"workers": 1}, {"batch_size": 5}):
        one = loader(part, LARGE, chain, **options)
        assert torch.equal(everything(list(one.batches(order, key=KEY)))[0], expected)
        one.close()
    with pytest.raises(LongtailError, match="must come first"):
        Chain(jitter, RandomResizedCropFlip())


@pytest.mark.parametrize("preprocessing", [SMALL, LARGE], ids=["small", "large"])
def test_held_or_decoded_each_time_the_pixels_are_the_same(tmp_path: Path, preprocessing: Preprocessing) -> None:
    part = files(tmp_path, 12)
    seen = []
    for loading in ("memory", "decode", "auto"):
        one = loader(part, preprocessing, CropFlip(2), loading=loading)
        assert one.holding.held == (loading == "memory" or (loading == "auto" and preprocessing is SMALL))
        assert ("held in memory" in one.holding.line) == one.holding.held
        seen.append(everything(list(one.batches(key=KEY)))[0])
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


def test_what_does_not_fit_is_decoded_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = files(tmp_path, 12)
    monkeypatch.setattr(holding, "SHARE", 1e-9)
    assert not loader(part, SMALL, None).holding.held
    with pytest.raises(LongtailError, match="more than a quarter of the memory"):
        loader(part, SMALL, None, loading="memory")


def test_ways_of_loading_that_cannot_be_have_a_sentence() -> None:
    with pytest.raises(LongtailError, match="--loading memory does not hold"):
        loader(in_memory(4), SMALL, RandomResizedCropFlip(), loading="memory")
    with pytest.raises(LongtailError, match="Unknown way of loading 'ram'"):
        loader(in_memory(4), SMALL, None, loading="ram")


class Recorder(Watcher):
    def __init__(self) -> None:
        self.tasks: dict[str, list[int]] = {}

    def task(self, name: str, total: int, unit: str) -> Task:
        seen = self.tasks.setdefault(name, [total, 0])

        class Counting(Task):
            def advance(self, done: int, **facts: float) -> None:
                seen[1] += done

        return Counting()


def plant(folder: Path, names: list[str]) -> dict[str, str]:
    """Breaks files in three ways; gives the reasons to expect."""
    reasons = {}
    for turn, name in enumerate(names):
        path = folder / name
        if turn % 3 == 0:
            noisy = np.random.default_rng(turn).integers(0, 256, (30, 30, 3), dtype=np.uint8)
            Image.fromarray(noisy).save(path)
            path.write_bytes(path.read_bytes()[:-900])
            reasons[name] = "image file is truncated"
        elif turn % 3 == 1:
            path.write_text("no image")
            reasons[name] = "not an image"
        else:
            path.unlink()
            reasons[name] = "no such file or directory"
    return reasons


@pytest.mark.parametrize("preprocessing", [SMALL, LARGE], ids=["held", "decoded each time"])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_first_broken_image_names_all_of_them(tmp_path: Path, preprocessing: Preprocessing, workers: int) -> None:
    part = files(tmp_path, 50)
    expected = plant(tmp_path, ["007.png", "020.png", "021.png", "049.png"])
    watcher = Recorder()
    one = loader(part, preprocessing, None, workers=workers, watcher=watcher)
    seen: list[Batch] = []
    with pytest.raises(UnreadableImages) as caught:
        seen.extend(one.batches(np.arange(30)))
    assert caught.value.reasons == expected
    assert list(caught.value.reasons) == sorted(expected)
    assert sum(len(batch.images) for batch in seen) == 0
    assert all(total == done for total, done in watcher.tasks.values())
    one.close()
    with pytest.raises(UnreadableImages):
        loader(part, preprocessing, None, workers=workers).decode_all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    broken=st.sets(st.integers(0, 24), max_size=20),
    seed=st.integers(0, 99),
    small=st.booleans(),
)
def test_labels_never_shift_when_broken_images_are_dropped(
    tmp_path: Path, broken: set[int], seed: int, small: bool
) -> None:
    part = files(tmp_path, 25)
    expected = plant(tmp_path, [f"{index:03}.png" for index in sorted(broken)])
    preprocessing = SMALL if small else LARGE
    found: dict[str, str] = {}
    try:
        loader(part, preprocessing, None).decode_all()
    except UnreadableImages as error:
        found = error.reasons
    assert found == expected
    left = part.without(found)
    assert len(left) == 25 - len(broken)
    order: NDArray[np.int64] = np.random.default_rng(seed).permutation(len(left))
    for batch in loader(left, preprocessing, None).batches(order):
        for image, label, index in zip(batch.images, batch.labels, batch.indices, strict=True):
            original = int(left.identities[int(index)].removesuffix(".png"))
            assert original not in broken
            assert int(label) == original % 3
            assert tuple(image[:, 0, 0].tolist()) == colour(original)


def test_workers_leave_interrupts_to_the_parent(tmp_path: Path) -> None:
    one = loader(files(tmp_path, 60), LARGE, None, workers=1, batch_size=4)
    batches = one.batches()
    next(batches)
    (worker,) = one._workers._loader._iterator._workers  # type: ignore[union-attr]
    os.kill(worker.pid, signal.SIGINT)
    assert sum(len(batch.images) for batch in batches) == 56
    assert worker.is_alive()
    one.close()
    worker.join(5)
    assert not worker.is_alive()
