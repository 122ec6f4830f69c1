"""Class and probability for image files: a prediction a file, in their order, as they come."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from longtail.data.pixels import Files
from longtail.data.preprocessing import Preprocessing
from longtail.data.reading import SUFFIXES
from longtail.data.workers import Decoded, Decoder, Request, Workers
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.models.classifier import Classifier
from longtail.watching import Watcher

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


class How(TypedDict, total=False):
    """How files are predicted."""

    top: int
    """How many classes a prediction ranks; 1 by default."""
    batch_size: int
    """Images at a time; 64 by default."""
    workers: int | None
    """Processes that decode; by default one a core, at most 8, where there are many files."""
    watcher: Watcher
    """Who is told of progress."""


def predict_files(
    classifier: Classifier, preprocessing: Preprocessing, images: Iterable[str | Path], **how: Unpack[How]
) -> Iterator[Prediction]:
    """Predict files, on the device where the classifier is.

    Args:
        classifier: with its class names, in evaluation mode.
        preprocessing: what it was trained with.
        images: files, and folders whose images (by suffix, nested ones too) are taken in the order of their names.
        **how: see `How`.

    Returns:
        One prediction a file, as soon as its batch is done. A file that cannot be read has a reason and no class.

    Raises:
        LongtailError: a folder holds no image, or a number is out of range; at once, before anything is decoded.
    """
    top, batch_size, workers = how.get("top", 1), how.get("batch_size", BATCH_SIZE), how.get("workers")
    for name, number, smallest in (("--top", top, 1), ("--batch-size", batch_size, 1), ("--workers", workers, 0)):
        if number is not None and number < smallest:
            raise LongtailError(f"{name} must be at least {smallest}, not {number}.")
    files = find_files(images)
    if workers is None:
        workers = min(8, os.cpu_count() or 1) if len(files) >= WORTH_WORKERS else 0
    asked = _Question(classifier, preprocessing, files, min(top, len(classifier.classes)))
    return asked.answers(batch_size, workers, how.get("watcher") or Watcher())


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


@dataclass(frozen=True)
class _Question:
    """What are these files?"""

    classifier: Classifier
    preprocessing: Preprocessing
    files: Sequence[str]
    top: int

    def answers(self, batch_size: int, workers: int, watcher: Watcher) -> Iterator[Prediction]:
        pixels = Files(Path(), tuple(self.files), np.zeros(len(self.files), np.int64), None)
        everything = np.arange(len(self.files))
        batches = [everything[start : start + batch_size] for start in range(0, len(everything), batch_size)]
        requests = [Request(batch, batch, Key.of_seed(0)) for batch in batches]
        decoding = Workers(Decoder(pixels, self.preprocessing), workers)
        with closing(decoding), watcher.task("predicting", len(self.files), "images") as task:
            for batch, decoded in zip(batches, decoding.decode(requests), strict=True):
                yield from self._ranked(batch.tolist(), decoded)
                task.advance(len(batch))

    def _ranked(self, batch: Sequence[int], decoded: Decoded) -> Iterator[Prediction]:
        """The predictions of one batch; an unreadable file is a black image in it, whose answer nobody sees."""
        names = self.classifier.classes
        shares, labels = self._probabilities(decoded.images).topk(self.top)
        for index, share, label in zip(batch, shares.tolist(), labels.tolist(), strict=True):
            if index in decoded.unreadable:
                yield Prediction(self.files[index], (), decoded.unreadable[index])
            else:
                yield Prediction(self.files[index], tuple(zip((names[each] for each in label), share, strict=True)))

    @torch.inference_mode()
    def _probabilities(self, images: Tensor) -> Tensor:
        """uint8 images (B, 3, H, W) to probabilities (B, C), float64."""
        device = next(self.classifier.parameters()).device
        logits: Tensor = self.classifier(self.preprocessing.normalise(images.to(device)))
        return logits.double().softmax(dim=1).cpu()
