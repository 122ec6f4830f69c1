"""Images a second, from files and from memory to a normalised float batch, against torchvision.

    python benchmarks/data.py [--only memory 500x375 2048x1536 4000x3000] [--rounds 7] [--workers 0 2]

Torchvision's ImageFolder with transforms v1 and v2 and a DataLoader, and this library's Loader, with the same
transform, one after the other in each round of one run. Figures are medians (least, most); ratios are to the best of
torchvision's. First it is checked that both make the same pixels of the same window. Photographs are made of
scikit-learn's two samples, enlarged, with grain, as JPEGs of quality 90; `memory` are 32 x 32 pixels. How long a large
JPEG takes at any scale depends on its bits a pixel, all of which have to be read: cameras write 1 to 3, so that the
largest photographs are measured at several.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as v1
from torchvision.transforms import functional, v2

from longtail.data.augmenting.augmentation import Augmentation, CropFlip, RandomResizedCropFlip
from longtail.data.images import decoding
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.loader import Loader
from longtail.data.parts import Part
from longtail.data.pixels import Files, InMemory
from longtail.draws import Key

HALF = (0.5, 0.5, 0.5)
TARGET = 224
PASS = {"memory": 20_000, "500x375": 384, "2048x1536": 96, "4000x3000": 32}  # images, each time
BATCH = {"memory": 128, "500x375": 32, "2048x1536": 16, "4000x3000": 8}
DIFFERENT_FILES = 16
QUALITY = 90
BITS = {"4000x3000": (1.0, 1.4, 2.1)}  # a pixel, in place of that quality

Transform = Callable[[Image.Image], Tensor]
Run = Callable[[], float]
"""One pass; images a second."""


def photographs(folder: Path, size: tuple[int, int], count: int, bits: float | None = None) -> Part:
    """`count` JPEGs of about so many bits a pixel, some of them links to others, in one class folder."""
    samples = [Image.fromarray(array) for array in load_sample_images().images]
    enlarged = [sample.resize(size, Image.Resampling.BICUBIC) for sample in samples]
    qualities = [QUALITY if bits is None else quality_for(_grainy(sample, 0), bits) for sample in enlarged]
    (folder / "class").mkdir(parents=True)
    names = [f"class/{number:05}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        if number < DIFFERENT_FILES:
            _grainy(enlarged[number % 2], number).save(folder / name, quality=qualities[number % 2])
        else:
            (folder / name).hardlink_to(folder / names[number % DIFFERENT_FILES])
    lengths = np.array([(folder / name).stat().st_size for name in names])
    found = 8 * lengths.mean() / (size[0] * size[1])
    print(f"\n{size[0]} x {size[1]}: {lengths.mean() / 1000:.0f} kB a file, {found:.2f} bits a pixel")
    return Part(np.zeros(count, np.int64), tuple(names), Files(folder, tuple(names), lengths, size[::-1]))


def _grainy(image: Image.Image, seed: int) -> Image.Image:
    grain = np.random.default_rng(seed).normal(0, 5, (image.height, image.width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def quality_for(image: Image.Image, bits: float) -> int:
    """The least quality that takes so many bits a pixel."""

    def taken(quality: int) -> float:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return 8 * len(file.getvalue()) / (image.width * image.height)

    return bisect_left(range(100), bits, lo=1, key=taken)


class Small(Dataset[tuple[Tensor, int]]):
    """Images in memory as torchvision's CIFAR10 holds them: an array, made a Pillow image one by one."""

    def __init__(self, images: np.ndarray[Any, Any], transform: Transform) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), 0


def theirs(data: Dataset[Any], batch: int, workers: int) -> Run:
    """Passes over a torchvision data set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = DataLoader(data, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    return partial(_rate, lambda: (images for images, _ in loader))


def ours(loader: Loader) -> Run:
    """Passes over a part, normalised as training does it."""
    epoch = iter(range(10**9))

    def batches() -> Iterator[Tensor]:
        key = Key.of_seed(0).at("epoch", next(epoch))
        order = key.generator().permutation(len(loader.part))
        for batch in loader.batches(order, key=key):
            yield loader.preprocessing.normalise(batch.images)

    return partial(_rate, batches)


def _rate(batches: Callable[[], Iterable[Tensor]]) -> float:
    begin, count = time.perf_counter(), 0
    for images in batches():
        count += len(images)
    return count / (time.perf_counter() - begin)


def without_simplejpeg(run: Run) -> Run:
    """The same with Pillow alone; for runs without workers, which take over what they find at their start."""

    def plain() -> float:
        found, decoding._decode_jpeg = decoding._decode_jpeg, None
        try:
            return run()
        finally:
            decoding._decode_jpeg = found

    return plain


def compare(runs: dict[str, Run], rounds: int) -> None:
    """Prints a table; ratios are to the best of torchvision."""
    for run in runs.values():
        run()
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            rates[name].append(run())
    best = max(statistics.median(found) for name, found in rates.items() if name.startswith("torchvision"))
    for name, found in rates.items():
        middle = statistics.median(found)
        print(f"  {name:44s} {middle:9.1f} ({min(found):.1f}, {max(found):.1f})   {middle / best:5.2f}", flush=True)


def memory(arguments: argparse.Namespace) -> None:
    """32 x 32 pixels: padding by 4, crop, flip."""
    count, batch = PASS["memory"], BATCH["memory"]
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    part = Part(
        np.zeros(count, np.int64), tuple(map(str, range(count))), InMemory(torch.tensor(images).permute(0, 3, 1, 2))
    )
    print(f"\n32 x 32 in memory: {count} images")
    runs: dict[str, Run] = {}
    for name, transform in {"v1": _v1(_crop_v1()), "v2": _v2(_crop_v2())}.items():
        for workers in arguments.workers:
            runs[f"torchvision {name}, {workers} workers"] = theirs(Small(images, transform), batch, workers)
    runs["longtail"] = ours(Loader(part, Preprocessing((32, 32), HALF, HALF), CropFlip(4), batch_size=batch))
    compare(runs, arguments.rounds)


def files(name: str, arguments: argparse.Namespace, bits: float | None = None) -> None:
    """JPEGs to 224 by a random window and flip."""
    width, height = (int(side) for side in name.split("x"))
    preprocessing = Preprocessing((TARGET, TARGET), HALF, HALF, "bilinear", 0.875)
    with tempfile.TemporaryDirectory() as place:
        part = photographs(Path(place) / "images", (width, height), PASS[name], bits)
        _check_pixels(part, preprocessing)
        augmentation: Augmentation = RandomResizedCropFlip()
        runs: dict[str, Run] = {}
        for version, transform in {"v1": _v1(_window_v1()), "v2": _v2(_window_v2())}.items():
            for workers in arguments.workers:
                data = torchvision.datasets.ImageFolder(Path(place) / "images", transform)
                runs[f"torchvision {version}, {workers} workers"] = theirs(data, BATCH[name], workers)
        for workers in arguments.workers:
            make = partial(Loader, part, preprocessing, augmentation, batch_size=BATCH[name], workers=workers)
            runs[f"longtail, {workers} workers"] = ours(make())
            runs[f"longtail, {workers} workers, cache"] = ours(make(cache=Path(place) / "cache"))
        if 0 in arguments.workers:
            runs["longtail, 0 workers, without simplejpeg"] = without_simplejpeg(runs["longtail, 0 workers"])
        compare(runs, arguments.rounds)


def _check_pixels(part: Part, preprocessing: Preprocessing) -> None:
    """How far our windows are from torchvision's."""
    augmentation = RandomResizedCropFlip(flip=False)
    differences = []
    for index in range(min(len(part), DIFFERENT_FILES)):
        numbers = np.random.default_rng(index).random(augmentation.numbers).tolist()
        with part.pixels.open(index) as image:
            left, top, right, bottom = augmentation.window(image.size, numbers)
            mine = augmentation(image, numbers, preprocessing)
        with part.pixels.open(index) as image:
            whole = image.convert("RGB")
        cut = functional.resized_crop(whole, top, left, bottom - top, right - left, list(preprocessing.size))
        differences.append((mine.float() - functional.pil_to_tensor(cut).float()).abs())
    every = torch.stack(differences)
    print(f"  levels between our windows and torchvision's: {every.mean():.2f} on average, at most {every.max():.0f}")
    assert every.mean() < 2


def _v1(first: list[Any]) -> Transform:
    transform: Transform = v1.Compose([*first, v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(HALF, HALF)])
    return transform


def _v2(first: list[Any]) -> Transform:
    last = [v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(HALF), list(HALF))]
    transform: Transform = v2.Compose([v2.ToImage(), *first, *last])
    return transform


def _crop_v1() -> list[Any]:
    return [v1.RandomCrop(32, padding=4)]


def _crop_v2() -> list[Any]:
    return [v2.RandomCrop(32, padding=4)]


def _window_v1() -> list[Any]:
    return [v1.RandomResizedCrop(TARGET)]


def _window_v2() -> list[Any]:
    return [v2.RandomResizedCrop(TARGET, antialias=True)]


def main() -> None:
    """Reads the words and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PASS), default=list(PASS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--threads", type=int, default=1, help="of this process")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    fast = "with" if decoding._decode_jpeg else "without"
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {fast} simplejpeg, images a second")
    for name in arguments.only:
        if name == "memory":
            memory(arguments)
        else:
            for bits in BITS.get(name, (None,)):
                files(name, arguments, bits)


if __name__ == "__main__":
    main()
