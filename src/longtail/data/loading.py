"""Batches of a part, from memory or from files: which images, in which order, is the caller's to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

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


@dataclass
class _Memory:
    """What the loaders of one part share for as long as it lives."""

    decoded: NDArray[np.bool_]  # (N,) whether some pass has met the image
    unreadable: dict[int, str] = field(default_factory=dict)  # index -> reason
    images: dict[Preprocessing, Tensor] = field(default_factory=dict)  # small ones, (N, 3, H, W)

    def note(self, request: Request, decoded: Decoded) -> None:
        """Keeps what became of a batch."""
        self.decoded[request.indices] = True
        self.unreadable |= decoded.unreadable


_MEMORIES: WeakKeyDictionary[Part, _Memory] = WeakKeyDictionary()


class Loader:
    """Gives the images of a part in the model's size, in batches.

    Every pixel is a function of the part, the index, the position and the key: the number of workers, the batch
    size and where a pass begins change nothing. Small images are decoded once, kept for as long as the part lives, and
    augmented a batch at a time; the workers decode larger ones again each time.
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
        self._memory = _MEMORIES.setdefault(part, _Memory(np.zeros(len(part), dtype=bool)))
        self._labels = torch.tensor(part.labels)
        self._in_memory = by_image is None and max(preprocessing.size) <= HELD_SIDE
        if by_image is None and (native := _native_images(part, preprocessing)) is not None:
            self._memory.images[preprocessing] = native
            self._in_memory = True

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
        for request, images in self._images(self._requests(indices, positions, key)):
            picked, places = torch.as_tensor(request.indices), torch.as_tensor(request.positions)
            if isinstance(self.augmentation, BatchAugmentation):
                images = self.augmentation(images, key.draws(places))
            yield Batch(images, self._labels[picked], picked, places)

    def decode_all(self) -> None:
        """Decodes every image of the part that no loader has decoded yet.

        Raises UnreadableImages for all that cannot be read.
        """
        if self._in_memory:
            self._held_images()
        else:
            self._finish_pass()

    def close(self) -> None:
        """Ends the workers; a later pass starts new ones."""
        self._workers.close()

    def _requests(self, indices: NDArray[np.int64], positions: NDArray[np.int64], key: Key) -> list[Request]:
        cuts = [slice(start, start + self.batch_size) for start in range(0, len(indices), self.batch_size)]
        return [Request(indices[cut], positions[cut], key) for cut in cuts]

    def _images(self, requests: list[Request]) -> Iterator[tuple[Request, Tensor]]:
        if self._in_memory:
            held = self._held_images()
            for request in requests:
                yield request, held[request.indices]
            return
        for request, decoded in zip(requests, self._workers.decode(requests), strict=True):
            self._memory.note(request, decoded)
            if decoded.unreadable:
                self._finish_pass()
            yield request, decoded.images

    def _held_images(self) -> Tensor:
        """All images of the part, uint8 (N, 3, H, W); decoded once for all loaders of the part."""
        if self.preprocessing not in self._memory.images:
            self._memory.images[self.preprocessing] = self._into_memory()
        return self._memory.images[self.preprocessing]

    def _into_memory(self) -> Tensor:
        held = torch.empty(len(self.part), 3, *self.preprocessing.size, dtype=torch.uint8)
        for request, decoded in self._sweep("Decoding into memory", np.arange(len(self.part))):
            held[request.indices] = decoded.images
            self._memory.note(request, decoded)
        self._refuse_unreadable()
        self._workers.close()
        return held

    def _finish_pass(self) -> None:
        """Decodes what is left of the part, so that the error names all unreadable images and not the first alone."""
        for request, decoded in self._sweep("Decoding the other images", np.flatnonzero(~self._memory.decoded)):
            self._memory.note(request, decoded)
        self._refuse_unreadable()

    def _sweep(self, name: str, indices: NDArray[np.int64]) -> Iterator[tuple[Request, Decoded]]:
        requests = self._requests(indices, indices, Key.of_seed(0))
        if not requests:
            return
        with self._watcher.task(name, len(indices), "images") as task:
            for request, decoded in zip(requests, self._workers.decode(requests), strict=True):
                yield request, decoded
                task.advance(len(request.indices))

    def _refuse_unreadable(self) -> None:
        if self._memory.unreadable:
            reasons = sorted(self._memory.unreadable.items())
            raise UnreadableImages({self.part.identities[index]: reason for index, reason in reasons})


def _native_images(part: Part, preprocessing: Preprocessing) -> Tensor | None:
    native = part.pixels.size == preprocessing.size and preprocessing.crop_fraction == 1
    return part.pixels.images if isinstance(part.pixels, InMemory) and native else None
