"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) from the official files, as torchvision keeps them."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from longtail.data.asked import Reading
from longtail.data.parts import ImageSet, Part
from longtail.data.pixels import InMemory
from longtail.data.splits.imbalance import Cut
from longtail.errors import LongtailError
from longtail.watching import Watcher

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

_PATIENCE = 20.0  # seconds without an answer from the server before the download counts as impossible


def cifar10(reading: Reading, watcher: Watcher) -> ImageSet:
    """Small photographs of 10 kinds of things: 50,000 to train on, 10,000 to test.

    CIFAR-10, 32 x 32 pixels. Balanced as it comes; `--imbalance` 10, 50 or 100 makes CIFAR-10-LT, with 5,000 images in
    the largest class, 20,431, 13,996 or 12,406 in all. `--profile` and `--selection` choose other counts and other
    images. The official 10,000 test images are the test part; as in the papers there is no validation part.

    The files are Python's pickles and lie in cifar-10-batches-py under `--data-root`; where they do not, they are
    downloaded. They are read only after their MD5 sums matched the official ones. An image's identity is its official
    index.

    Source: Krizhevsky (2009); the long-tailed version is Cui et al.'s and Cao et al.'s (2019). Licence: none stated.
    """
    return _cifar("cifar10", reading, watcher)


def cifar100(reading: Reading, watcher: Watcher) -> ImageSet:
    """Small photographs of 100 kinds of things: 50,000 to train on, 10,000 to test.

    CIFAR-100, 32 x 32 pixels. Balanced as it comes; `--imbalance` 10, 50 or 100 makes CIFAR-100-LT, with 500 images in
    the largest class, 19,573, 12,608 or 10,847 in all. Everything else is as for CIFAR-10; the files lie in
    cifar-100-python.

    Source: Krizhevsky (2009); the long-tailed version is Cui et al.'s and Cao et al.'s (2019). Licence: none stated.
    """
    return _cifar("cifar100", reading, watcher)


def _cifar(name: str, reading: Reading, watcher: Watcher) -> ImageSet:
    """Raises LongtailError where the files are neither there nor to be had, or are not the official ones."""
    cut = Cut.asked(reading)
    train_files, test_files = _official(name, Path(reading.get("data_root", "data")), watcher)
    classes = tuple(train_files.classes)
    train, test = _part(train_files, "train"), _part(test_files, "test")
    notes = [f"Data: {name}, official files: {len(train)} training images of {len(classes)} classes"]
    if cut is not None:
        train = train.subset(cut.indices(train.labels, classes))
        notes.append(cut.note(len(train)))
    notes.append(f"Tested on the official {len(test)} test images")
    return ImageSet(name, "cifar", classes, train, validation=None, test=test, notes=tuple(notes))


def _part(source: CIFAR10, name: str) -> Part:
    identities = tuple(f"{name}/{index}" for index in range(len(source.data)))
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return Part(np.asarray(source.targets, dtype=np.int64), identities, InMemory(images))


def _official(name: str, data_root: Path, watcher: Watcher) -> tuple[CIFAR10, CIFAR10]:
    from torchvision import datasets  # a second that other data need not pay

    source = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    folder = data_root / source.base_folder
    if not folder.exists():
        watcher.say(f"Downloading {name} (about 170 MB), since {folder} is not there")
        _download(source, data_root)
    try:
        return source(data_root, train=True), source(data_root, train=False)
    except RuntimeError as error:
        raise LongtailError(
            f"{folder} does not hold the official files of {name} (one is missing or its MD5 sum differs); "
            "remove the folder, or put the official files there."
        ) from error


def _download(source: type[CIFAR10], data_root: Path) -> None:
    """Unpacks beside the target and moves the folder there in one step, so that nothing half done stays."""
    created = [folder for folder in (data_root, *data_root.parents) if not folder.exists()]
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=data_root) as temporary, _impatient():
            source(temporary, download=True)
            (Path(temporary) / source.base_folder).rename(data_root / source.base_folder)
    except (OSError, RuntimeError) as error:
        for folder in created:
            with suppress(OSError):
                folder.rmdir()
        raise LongtailError(
            f"{source.base_folder} is not under {data_root} and cannot be downloaded here ({error}); put the "
            f"official files of {source.url} there, or name the folder that has them with --data-root."
        ) from error


@contextmanager
def _impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
