"""Features of a frozen network, computed once an image and view and kept in a folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.data.augmenting.augmentation import Augmentation
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.features import FeatureStore, planned_bytes
from longtail.data.loading.loader import Loader
from longtail.data.parts import Part
from longtail.data.pixels import short_hash
from longtail.draws import Key
from longtail.models.backbones import feature_size
from longtail.models.hashing import weights_hash
from longtail.text import counted
from longtail.training.engine import Engine
from longtail.watching import Task, Watcher
from longtail.world import ALONE, World

VIEWS = 8
"""Augmented views of an image, unless asked otherwise."""
LARGEST_PLACE = 2**62 - 1
WRITTEN_AT_ONCE = 4  # blocks of images: a write waits for the disk


@dataclass(frozen=True)
class Cache:
    """Where features are kept, and in how many augmented views of each image."""

    root: Path
    views: int | None = None
    """None: as many as the images are worth; 1: the image itself, not augmented."""

    def views_of(self, augmentation: Augmentation | None) -> int:
        """How many views a stage with this augmentation gets; without augmentation they would all be the same."""
        return 1 if augmentation is None else self.views or VIEWS


@dataclass(frozen=True)
class View:
    """One way to look at every image."""

    precision: torch.dtype
    augmentation: Augmentation | None = None
    number: int = 0

    def key(self, weights: str, preprocessing: Preprocessing) -> dict[str, Any]:
        """What the features depend on beside the image, as JSON."""
        return {
            "weights": weights,
            "preprocessing": preprocessing.description(),
            "augmentation": repr(self.augmentation) if self.augmentation else None,
            "view": self.number,
            "precision": str(self.precision).removeprefix("torch."),
        }


@dataclass(frozen=True)
class Extraction:
    """One network over images, as often as needed and no oftener."""

    cache: Cache
    engine: Engine
    preprocessing: Preprocessing
    loader: Callable[[Part, Augmentation | None, int], Loader]
    watcher: Watcher
    world: World = ALONE
    """The processes that share the work, and the folder."""

    def views(self, backbone: nn.Module, part: Part, augmentation: Augmentation | None) -> list[NDArray[np.float16]]:
        """Features (N, D) of each view of the images, for training."""
        number = self.cache.views_of(augmentation)
        if number == 1:
            return self._read(backbone, part, [View(self.engine.precision)])
        return self._read(backbone, part, [View(self.engine.precision, augmentation, view) for view in range(number)])

    def plain(self, backbone: nn.Module, part: Part) -> Tensor:
        """Features (N, D) of the images themselves, to test or choose by: float32 as far as a float16 holds it."""
        (values,) = self._read(backbone, part, [View(torch.float32)])
        return torch.from_numpy(values.astype(np.float32))

    def _read(self, backbone: nn.Module, part: Part, views: Sequence[View]) -> list[NDArray[np.float16]]:
        weights, size, digests = weights_hash(backbone), feature_size(backbone), part.digests()
        stores = [FeatureStore.open(self.cache.root, view.key(weights, self.preprocessing), size) for view in views]
        missing = [store.missing(digests)[self.world.rank :: self.world.size] for store in stores]
        self.world.barrier()  # nobody writes before everyone has seen what is missing
        if number := sum(map(len, missing)):
            mib = planned_bytes(number, 1, size) / 2**20
            many = f"{counted(number, 'image')}" if len(views) == 1 else f"{counted(number, 'view')} of images"
            self.watcher.say(f"Features: {many} x {size} numbers, {mib:.1f} MiB in {self.cache.root}")
            with self.watcher.task("features", number, "images") as task:
                for view, store, some in zip(views, stores, missing, strict=True):
                    self._extract(backbone, part, some, view, store, digests, task)
        self.world.barrier()
        return [store.read(digests) for store in stores]

    def _extract(
        self,
        backbone: nn.Module,
        part: Part,
        missing: NDArray[np.int64],
        view: View,
        store: FeatureStore,
        digests: NDArray[np.uint8],
        task: Task,
    ) -> None:
        """Fill the store, a batch at a time."""
        network = self.engine.frozen(backbone, view.precision)
        loader = self.loader(
            part, view.augmentation, max(1, self.engine.pixels_at_once // math.prod(self.preprocessing.size))
        )
        places = _places(part, missing) if view.augmentation else None
        with closing(loader):
            blocks = (
                (batch.indices, network(self.engine.images(self.preprocessing.normalise(batch.images))))
                for batch in loader.batches(missing, places, Key.of_seed(0).at("view", view.number))
            )
            while some := list(islice(blocks, WRITTEN_AT_ONCE)):
                indices, values = (torch.cat(each).cpu().numpy() for each in zip(*some, strict=True))
                store.write(digests[indices], values.astype(np.float16))
                task.advance(len(indices))


def _places(part: Part, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """What the crops of an image's views depend on: its content, so that runs and machines share them."""
    digests = b"".join(short_hash(part.pixels.content(index)) for index in indices.tolist())
    return np.frombuffer(digests, np.int64)[::2] & LARGEST_PLACE
