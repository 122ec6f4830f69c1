"""CIFAR-10 at ratio 100 with its test images, as a folder of lossless pictures that is small enough to take along.

python benchmarks/gpu_data.py OUT --data-root DIR    # from the official files; 37 MiB
python benchmarks/gpu_data.py OUT                    # made images of the same size and number, coloured by class
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from longtail.data.open import open_images
from longtail.data.splits.imbalance import exponential

CLASSES, LARGEST, RATIO, TESTED, SIDE = 10, 5000, 100, 1000, 32


class Labelled(NamedTuple):
    """A picture and the name of its class."""

    picture: Image.Image
    name: str


def main() -> None:
    """Reads the words and writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data-root", type=Path)
    options = parser.parse_args()
    if options.data_root:
        write_official(options.out, options.data_root)
    else:
        write_made(options.out)
    sizes = [path.stat().st_size for path in options.out.rglob("*.webp")]
    print(f"{len(sizes):,} pictures, {sum(sizes) / 2**20:.1f} MiB")


def write_official(folder: Path, root: Path) -> None:
    """The long-tailed training images and all test images."""
    images = open_images("cifar10", {"data_root": root, "imbalance": RATIO})
    for name in ("train", "test"):
        part = images.parts[name]
        pictures = (
            Labelled(part.pixels.open(number).convert("RGB"), images.classes[label])
            for number, label in enumerate(part.labels.tolist())
        )
        write(folder / name, pictures)


def write_made(folder: Path, share: float = 1.0) -> None:
    """Noise in the colour of its class; `share` of the number of images, and no less than two a class."""
    counts = exponential(LARGEST, CLASSES, RATIO)
    write(folder / "train", made([max(2, int(share * count)) for count in counts], seed=0))
    write(folder / "test", made([max(2, int(share * TESTED))] * CLASSES, seed=1))


def made(counts: Sequence[int], seed: int) -> Iterator[Labelled]:
    """So many pictures of each class."""
    draw = np.random.default_rng(seed)
    colours = np.random.default_rng(9).integers(60, 196, (len(counts), 3))
    for number, count in enumerate(counts):
        for _ in range(count):
            noise = draw.normal(0, 40, (SIDE, SIDE, 3)) + colours[number]
            yield Labelled(Image.fromarray(noise.clip(0, 255).astype(np.uint8)), f"class{number}")


def write(folder: Path, pictures: Iterator[Labelled]) -> None:
    """As folders of classes."""
    for number, (picture, name) in enumerate(pictures):
        path = folder / name / f"{number:06}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, lossless=True)


if __name__ == "__main__":
    main()
