"""Class and probability for image files: a prediction a file, in their order, as they come."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import SUFFIXES
from longtail.data.loading.workers import Decoder, Request, Workers, worth_starting
from longtail.data.pixels import Files
from longtail.deploy.prior import TestPrior
from longtail.device import in_parts_that_fit
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
    """How a run predicts files."""

    top: int
    """How many classes a prediction ranks; 1 by default."""
    batch_size: int
    """Images at a time; 64 by default."""
    workers: int | None
    """Processes that decode; by default one a core, at most 8, where there are many files."""
    test_prior: str | Path | None
    """How often each class is expected: `uniform`, `train`, `estimate` (from these images), or a file of classes and
    shares; by default as the model learnt."""
    device: str
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`; by default a GPU if there is one."""
    watcher: Watcher
    """Who is told of progress."""


def predict_files(
    classifier: Classifier,
    preprocessing: Preprocessing,
    images: Iterable[str | Path],
    *,
    top: int = 1,
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
    prior: TestPrior | None = None,
    watcher: Watcher | None = None,
) -> Iterator[Prediction]:
    """Predict files, on the device where the classifier is.

    Args:
        classifier: with its class names, in evaluation mode.
        preprocessing: what it was trained with.
        images: files, and folders whose images (by suffix, nested ones too) are taken in the order of their names.
        top: how many classes a prediction ranks.
        batch_size: images at a time.
        workers: processes that decode; by default one a core, at most 8, where there are many files.
        prior: how often each class is expected here; by default as the classifier learnt.
        watcher: who is told of progress.

    Returns:
        One prediction a file, as soon as its batch is done, or after the last where the prior is estimated from all of
        them. A file that cannot be read has a reason and no class.

    Raises:
        LongtailError: a folder holds no image, or a number is out of range; at once, before anything is decoded.
    """
    for name, number, smallest in (("--top", top, 1), ("--batch-size", batch_size, 1), ("--workers", workers, 0)):
        if number is not None and number < smallest:
            raise LongtailError(f"{name} must be at least {smallest}, not {number}.")
    files = find_files(images)
    if workers is None:
        workers = worth_starting() if len(files) >= WORTH_WORKERS else 0
    asked = _Question(classifier, preprocessing, files, min(top, len(classifier.classes)), prior)
    return asked.answers(batch_size, workers, watcher or Watcher())


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


class _Seen(NamedTuple):
    """What the classifier made of one batch; an unreadable file is a black image in it, whose answer nobody sees."""

    batch: list[int]
    logits: NDArray[np.float64]  # (B, C)
    unreadable: dict[int, str]


@dataclass(frozen=True)
class _Question:
    """What are these files?"""

    classifier: Classifier
    preprocessing: Preprocessing
    files: Sequence[str]
    top: int
    prior: TestPrior | None

    def answers(self, batch_size: int, workers: int, watcher: Watcher) -> Iterator[Prediction]:
        seen = self._seen(batch_size, workers, watcher)
        shift = np.zeros(len(self.classifier.classes))
        if self.prior is not None:
            known: list[_Seen] = list(seen) if self.prior.expected is None else []
            shift = self.prior.settled(_readable(known, len(shift)), watcher).shift
            seen = chain(known, seen)
        for each in seen:
            yield from self._ranked(each, shift)

    def _seen(self, batch_size: int, workers: int, watcher: Watcher) -> Iterator[_Seen]:
        pixels = Files(Path(), tuple(self.files), np.zeros(len(self.files), np.int64), None)
        everything = np.arange(len(self.files))
        batches = [everything[start : start + batch_size] for start in range(0, len(everything), batch_size)]
        requests = [Request(batch, batch, Key.of_seed(0)) for batch in batches]
        decoding = Workers(Decoder(pixels, self.preprocessing), workers)
        with closing(decoding), watcher.task("predicting", len(self.files), "images") as task:
            for batch, decoded in zip(batches, decoding.decode(requests), strict=True):
                yield _Seen(
                    batch.tolist(), logits_of(self.classifier, self.preprocessing, decoded.images), decoded.unreadable
                )
                task.advance(len(batch))

    def _ranked(self, seen: _Seen, shift: NDArray[np.float64]) -> Iterator[Prediction]:
        names = self.classifier.classes
        shares, labels = torch.from_numpy(seen.logits + shift).softmax(dim=1).topk(self.top)
        for index, share, label in zip(seen.batch, shares.tolist(), labels.tolist(), strict=True):
            if index in seen.unreadable:
                yield Prediction(self.files[index], (), seen.unreadable[index])
            else:
                yield Prediction(self.files[index], tuple(zip((names[each] for each in label), share, strict=True)))


@torch.inference_mode()
def logits_of(classifier: Classifier, preprocessing: Preprocessing, images: Tensor) -> NDArray[np.float64]:
    """uint8 images (B, 3, H, W) to logits (B, C)."""
    device = next(classifier.parameters()).device
    logits = in_parts_that_fit(classifier, preprocessing.normalise(images.to(device)))
    return logits.cpu().double().numpy()


def _readable(seen: Sequence[_Seen], classes: int) -> NDArray[np.float64]:
    """Logits (N, C) of the files that could be read."""
    rows = [each.logits[[index not in each.unreadable for index in each.batch]] for each in seen]
    return np.concatenate([np.zeros((0, classes)), *rows])
