"""Class and probability for image files: a prediction a file, in their order, as they come."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from longtail.data.pixels import Files
from longtail.data.reading import SUFFIXES
from longtail.data.workers import Decoded, Decoder, Request, Workers
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.watching import Watcher

if TYPE_CHECKING:
    from longtail.deploy.run import Run

BATCH_SIZE = 64
WORTH_WORKERS = 4 * BATCH_SIZE
"""Files from which on processes that decode are worth their start."""


@dataclass(frozen=True)
class Prediction:
    """What a classifier says about one file."""

    file: str
    ranked: tuple[tuple[str, float], ...]
    """Class and probability, the likeliest first; empty if the file cannot be read."""
    reason: str = ""
    """Why the file cannot be read."""

    @property
    def class_name(self) -> str | None:
        """The likeliest class."""
        return self.ranked[0][0] if self.ranked else None

    @property
    def probability(self) -> float | None:
        """Of the likeliest class, in 0 .. 1."""
        return self.ranked[0][1] if self.ranked else None


def predict(
    run: Run | str | Path,
    images: Iterable[str | Path],
    *,
    top: int = 1,
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
    watcher: Watcher | None = None,
) -> Iterator[Prediction]:
    """Predict files with the run's own preprocessing, on the device where `run.model` is.

    Args:
        run: a run or its folder.
        images: files, and folders whose images (by suffix, nested ones too) are taken in the order of their names.
        top: how many classes a prediction ranks.
        batch_size: images at a time.
        workers: processes that decode; by default one a core, at most 8, where there are many files.
        watcher: who is told of progress.

    Returns:
        One prediction a file, as soon as its batch is done. A file that cannot be read has a reason and no class.

    Raises:
        LongtailError: a folder holds no image, or a number is out of range; at once, before anything is decoded.
    """
    from longtail.deploy.run import Run, load

    for name, number, smallest in (("--top", top, 1), ("--batch-size", batch_size, 1), ("--workers", workers, 0)):
        if number is not None and number < smallest:
            raise LongtailError(f"{name} must be at least {smallest}, not {number}.")
    ready = run if isinstance(run, Run) else load(run)
    files = find_files(images)
    if workers is None:
        workers = min(8, os.cpu_count() or 1) if len(files) >= WORTH_WORKERS else 0
    return _predict(ready, files, top, batch_size, workers, watcher or Watcher())


def find_files(images: Iterable[str | Path]) -> list[str]:
    """The files themselves, and those images of the folders that are not hidden.

    Raises LongtailError for a folder without an image.
    """
    files: list[str] = []
    for image in images:
        files += _images_beneath(image) if Path(image).is_dir() else [str(image)]
    return files


def _images_beneath(folder: str | Path) -> list[str]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        seen = (name for name in sorted(names) if not name.startswith("."))
        found += [str(Path(place, name)) for name in seen if Path(name).suffix.lower() in SUFFIXES]
    if not found:
        raise LongtailError(f"There is no image in the folder {folder}; images end in {', '.join(sorted(SUFFIXES))}.")
    return found


def _predict(
    run: Run, files: Sequence[str], top: int, batch_size: int, workers: int, watcher: Watcher
) -> Iterator[Prediction]:
    pixels = Files(Path(), tuple(files), np.zeros(len(files), np.int64), None)
    everything = np.arange(len(files))
    starts = range(0, len(files), batch_size)
    batches = [everything[start : start + batch_size] for start in starts]
    decoding = Workers(Decoder(pixels, run.preprocessing), workers)
    requests = [Request(batch, batch, Key.of_seed(0)) for batch in batches]
    try:
        with watcher.task("predicting", len(files), "images") as task:
            for batch, decoded in zip(batches, decoding.decode(requests), strict=True):
                named = {index: files[index] for index in batch.tolist()}
                yield from _rank(run, named, decoded, top)
                task.advance(len(batch))
    finally:
        decoding.close()


def _rank(run: Run, files: Mapping[int, str], decoded: Decoded, top: int) -> Iterator[Prediction]:
    """The predictions of one batch; an unreadable file is a black image in it, whose answer nobody sees."""
    names = run.model.classes
    shares, labels = _probabilities(run, decoded.images).topk(min(top, len(names)))
    for (index, file), share, label in zip(files.items(), shares.tolist(), labels.tolist(), strict=True):
        if index in decoded.unreadable:
            yield Prediction(file, (), decoded.unreadable[index])
        else:
            yield Prediction(file, tuple(zip((names[each] for each in label), share, strict=True)))


@torch.inference_mode()
def _probabilities(run: Run, images: Tensor) -> Tensor:
    """uint8 images (B, 3, H, W) to probabilities (B, C), float64."""
    device = next(run.model.parameters()).device
    logits: Tensor = run.model(run.preprocessing.normalise(images.to(device)))
    return logits.double().softmax(dim=1).cpu()
