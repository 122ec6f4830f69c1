"""Batches of a part, from memory or from files: which images, in which order, is the caller's to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.data.augmenting.augmentation import Augmentation, as_chain
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import UnreadableImages
from longtail.data.loading.cache import Kept
from longtail.data.loading.holding import Loading, holding_for
from longtail.data.loading.workers import Decoded, Decoder, Request, Workers
from longtail.data.parts import Part
from longtail.data.pixels import InMemory
from longtail.device import copies_behind
from longtail.draws import Key
from longtail.watching import Watcher
from longtail.world import ALONE, World

Rows = NDArray[np.int64] | list[NDArray[np.int64]]
PROCESSOR = torch.device("cpu")


class Batch(NamedTuple):
    """B samples, augmented, before normalising; all on the loader's device."""

    images: Tensor  # uint8 (B, 3, H, W)
    labels: Tensor  # int64 (B,)
    indices: Tensor  # int64 (B,), within the part
    positions: Tensor  # int64 (B,), in the epoch's order


@dataclass
class _Memory:
    """What the loaders of one part share for as long as it lives."""

    decoded: NDArray[np.bool_]  # (N,) whether some pass has met the image
    unreadable: dict[int, str] = field(default_factory=dict)  # index -> reason
    images: dict[tuple[Preprocessing, torch.device], Tensor] = field(default_factory=dict)  # (N, 3, H, W)

    def note(self, request: Request, decoded: Decoded) -> None:
        """Keeps what became of a batch."""
        self.decoded[request.indices] = True
        self.unreadable |= decoded.unreadable


_MEMORIES: WeakKeyDictionary[Part, _Memory] = WeakKeyDictionary()


class Loader:
    """Gives the images of a part in the model's size, in batches.

    Every pixel is a function of the part, the index, the position and the key: the number of workers, the batch
    size, the device and where a pass begins change nothing. Images that fit are decoded once, kept on the device for as
    long as the part lives, and augmented a batch at a time; workers decode the others again each time.

    Args:
        part: the images.
        preprocessing: to which size.
        augmentation: how to change them.
        batch_size: images a batch.
        workers: processes that decode; 0 decodes in this one.
        loading: "memory" or "decode", or "auto" for whichever suits; see `longtail.data.loading.holding`.
        cache: folder in which large images are kept decoded and resized; see `longtail.data.loading.cache`.
        device: where batches are put together, and augmented as far as that happens a batch at a time.
        watcher: who is told of progress.

    Raises:
        LongtailError: images cannot be held in memory as asked, or the cache cannot be written to.
    """

    def __init__(
        self,
        part: Part,
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
        *,
        batch_size: int,
        workers: int = 0,
        loading: Loading = "auto",
        cache: Path | None = None,
        device: torch.device = PROCESSOR,
        watcher: Watcher | None = None,
    ) -> None:
        self.part = part
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.device = device
        self._watcher = watcher or Watcher()
        self._augmentation = as_chain(augmentation)
        self._memory = _MEMORIES.setdefault(part, _Memory(np.zeros(len(part), dtype=bool)))
        self.labels = torch.tensor(part.labels, device=device)
        """Of all images of the part, (N,), on the device."""
        self.holding = holding_for(part, preprocessing, self._augmentation, loading, cache, device)
        pixels = Kept.at(cache, part.pixels, preprocessing) if cache and self.holding.kept else part.pixels
        self._workers = Workers(Decoder(pixels, preprocessing, self._augmentation.of_image), workers)

    def batches(
        self,
        indices: Rows | None = None,
        positions: Rows | None = None,
        key: Key | None = None,
    ) -> Iterator[Batch]:
        """Batches of the images at `indices` (N,), by default all in order; the last one may be smaller.

        `positions` (N,), by default 0 .. N-1, are the samples' places in the epoch's order and `key` names the
        epoch in the run; together they determine the augmentation. Lists of arrays are batches as they are. The
        iterator may be closed early.

        Raises UnreadableImages, with every unreadable image of the part, when it meets the first.
        """
        indices = np.arange(len(self.part)) if indices is None else indices
        positions = np.arange(len(indices)) if positions is None else positions
        key = key or Key.of_seed(0)
        requests = [Request(*pair, key) for pair in zip(self._batches(indices), self._batches(positions), strict=True)]
        for request, images in self._images(requests):
            picked, places = self._here(request.indices), self._here(request.positions)
            images = self._augmentation.of_batch(images, key.draws(places))
            yield Batch(images, self.labels[picked], picked, places)

    def decode_all(self, world: World = ALONE) -> None:
        """Decodes every image of the part that no loader has decoded yet; of several processes each does its share.

        Raises UnreadableImages for all that cannot be read.
        """
        if self.holding.held:
            self._held_images()
        else:
            self._finish_pass(world)

    def close(self) -> None:
        """Ends the workers; a later pass starts new ones."""
        self._workers.close()

    def _batches(self, rows: Rows) -> list[NDArray[np.int64]]:
        if isinstance(rows, list):
            return rows
        return [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]

    def _here(self, numbers: NDArray[np.int64]) -> Tensor:
        return torch.as_tensor(numbers).to(self.device, non_blocking=copies_behind(self.device))

    def _images(self, requests: list[Request]) -> Iterator[tuple[Request, Tensor]]:
        if self.holding.held:
            held = self._held_images()
            for request in requests:
                yield request, held[self._here(request.indices)]
            return
        for request, decoded in zip(requests, self._workers.decode(requests), strict=True):
            self._memory.note(request, decoded)
            if decoded.unreadable:
                self._finish_pass()
            yield request, decoded.images.to(self.device, non_blocking=copies_behind(self.device))

    def _held_images(self) -> Tensor:
        """All images of the part on the device, uint8 (N, 3, H, W); decoded once for all loaders of the part."""
        place = self.preprocessing, self.device
        if place not in self._memory.images:
            pixels = self.part.pixels
            native = pixels.images if isinstance(pixels, InMemory) and self.holding.native else None
            self._memory.images[place] = (self._into_memory() if native is None else native).to(self.device)
        return self._memory.images[place]

    def _into_memory(self) -> Tensor:
        held = torch.empty(len(self.part), 3, *self.preprocessing.size, dtype=torch.uint8)
        for request, decoded in self._sweep("Decoding into memory", np.arange(len(self.part))):
            held[request.indices] = decoded.images
            self._memory.note(request, decoded)
        self._refuse_unreadable()
        self._workers.close()
        return held

    def _finish_pass(self, world: World = ALONE) -> None:
        """Decodes what is left of the part, so that the error names all unreadable images and not the first alone."""
        left = np.flatnonzero(~self._memory.decoded)
        for request, decoded in self._sweep("Decoding the other images", left[left % world.size == world.rank]):
            self._memory.note(request, decoded)
        self._refuse_unreadable()

    def _sweep(self, name: str, indices: NDArray[np.int64]) -> Iterator[tuple[Request, Decoded]]:
        if len(indices) == 0:
            return
        requests = [Request(batch, batch, Key.of_seed(0)) for batch in self._batches(indices)]
        with self._watcher.task(name, len(indices), "images") as task:
            for request, decoded in zip(requests, self._workers.decode(requests), strict=True):
                yield request, decoded
                task.advance(len(request.indices))

    def _refuse_unreadable(self) -> None:
        if self._memory.unreadable:
            reasons = sorted(self._memory.unreadable.items())
            raise UnreadableImages({self.part.identities[index]: reason for index, reason in reasons})
