"""Batches of a part, from memory or from files: which images, in which order, is the caller's to say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.data.augment import Augmentation, BatchAugmentation, ImageAugmentation
from longtail.data.parts import Part
from longtail.data.pixels import InMemory
from longtail.data.preprocessing import Preprocessing
from longtail.data.reading import UnreadableImages
from longtail.data.workers import Decoded, Decoder, Request, Workers
from longtail.draws import Key
from longtail.watching import Watcher

HELD_SIDE = 64  # pixels; images up to this size are decoded once and kept, larger ones are decoded again each time


class Batch(NamedTuple):
    """B samples, augmented, before normalising."""

    images: Tensor  # uint8 (B, 3, H, W)
    labels: Tensor  # int64 (B,)
    indices: Tensor  # int64 (B,), within the part
    positions: Tensor  # int64 (B,), in the epoch's order


class Loader:
    """Gives the images of a part in the model's size, in batches.

    Every pixel is a function of the part, the index, the position and the key: the number of workers, the batch
    size and where a pass begins change nothing. Images that are small, or in memory already, are augmented a batch at
    a time without workers.
    """

    def __init__(
        self,
        part: Part,
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
        *,
        batch_size: int,
        workers: int = 0,
        watcher: Watcher | None = None,
    ) -> None:
        self.part = part
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.batch_size = batch_size
        self._watcher = watcher or Watcher()
        by_image = augmentation if isinstance(augmentation, ImageAugmentation) else None
        self._workers = Workers(Decoder(part.pixels, preprocessing, by_image), workers)
        self._held = _native_images(part, preprocessing) if by_image is None else None
        self._hold = by_image is None and self._held is None and max(preprocessing.size) <= HELD_SIDE
        self._decoded = np.zeros(len(part), dtype=bool)

    def batches(
        self,
        indices: NDArray[np.int64] | None = None,
        positions: NDArray[np.int64] | None = None,
        key: Key | None = None,
    ) -> Iterator[Batch]:
        """Batches of the images at `indices` (N,), by default all in order; the last one may be smaller.

        `positions` (N,), by default 0 .. N-1, are the samples' places in the epoch's order and `key` names the
        epoch in the run; together they determine the augmentation. The iterator may be closed early.

        Raises UnreadableImages, with every unreadable image of the part, when it meets the first.
        """
        indices = np.arange(len(self.part)) if indices is None else indices
        positions = np.arange(len(indices)) if positions is None else positions
        key = key or Key.of_seed(0)
        labels = torch.from_numpy(self.part.labels)
        for request, images in self._images(self._requests(indices, positions, key)):
            picked, places = torch.as_tensor(request.indices), torch.as_tensor(request.positions)
            if isinstance(self.augmentation, BatchAugmentation):
                images = self.augmentation(images, key.draws(places))
            yield Batch(images, labels[picked], picked, places)

    def decode_all(self) -> None:
        """Decodes every image that no pass has decoded yet. Raises UnreadableImages for all that cannot be read."""
        if self._hold:
            self._into_memory()
        else:
            self._finish_pass({})

    def close(self) -> None:
        """Ends the workers; a later pass starts new ones."""
        self._workers.close()

    def _requests(self, indices: NDArray[np.int64], positions: NDArray[np.int64], key: Key) -> list[Request]:
        cuts = [slice(start, start + self.batch_size) for start in range(0, len(indices), self.batch_size)]
        return [Request(indices[cut], positions[cut], key) for cut in cuts]

    def _images(self, requests: list[Request]) -> Iterator[tuple[Request, Tensor]]:
        if self._hold:
            self._into_memory()
        if self._held is not None:
            for request in requests:
                yield request, self._held[request.indices]
            return
        for request, decoded in zip(requests, self._workers.decode(requests), strict=True):
            self._decoded[request.indices] = True
            if decoded.unreadable:
                self._finish_pass(decoded.unreadable)
            yield request, decoded.images

    def _into_memory(self) -> None:
        height, width = self.preprocessing.size
        held = torch.empty(len(self.part), 3, height, width, dtype=torch.uint8)
        unreadable: dict[int, str] = {}
        for request, decoded in self._sweep("Decoding into memory", np.arange(len(self.part))):
            held[request.indices] = decoded.images
            unreadable |= decoded.unreadable
        self._refuse(unreadable)
        self._held, self._hold = held, False
        self._workers.close()

    def _finish_pass(self, unreadable: dict[int, str]) -> None:
        """Decodes what is left of the part, so that the error names all unreadable images and not the first alone."""
        for request, decoded in self._sweep("Decoding the other images", np.flatnonzero(~self._decoded)):
            self._decoded[request.indices] = True
            unreadable |= decoded.unreadable
        self._refuse(unreadable)

    def _sweep(self, name: str, indices: NDArray[np.int64]) -> Iterator[tuple[Request, Decoded]]:
        requests = self._requests(indices, indices, Key.of_seed(0))
        with self._watcher.task(name, len(indices), "images") as task:
            for request, decoded in zip(requests, self._workers.decode(requests), strict=True):
                yield request, decoded
                task.advance(len(request.indices))

    def _refuse(self, unreadable: dict[int, str]) -> None:
        if unreadable:
            raise UnreadableImages({self.part.identities[index]: unreadable[index] for index in sorted(unreadable)})


def _native_images(part: Part, preprocessing: Preprocessing) -> Tensor | None:
    native = part.pixels.size == preprocessing.size and preprocessing.crop_fraction == 1
    return part.pixels.images if isinstance(part.pixels, InMemory) and native else None
