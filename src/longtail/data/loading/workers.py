"""Decodes images in worker processes or in this one: what comes out does not depend on how many there are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from longtail.data.augmenting.augmentation import ImageAugmentation
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import UnreadableImage
from longtail.data.pixels import Pixels
from longtail.draws import Key
from longtail.interrupts import SIGNALS, held


class Request(NamedTuple):
    """Which images to decode for one batch, and what their augmentation depends on."""

    indices: NDArray[np.int64]  # (B,) within the part
    positions: NDArray[np.int64]  # (B,) in the epoch's order
    key: Key


class Decoded(NamedTuple):
    """The answer. Images in `unreadable` (index -> reason) are black here, and the batch goes no further."""

    images: Tensor  # uint8 (B, 3, H, W)
    unreadable: dict[int, str]


class Decoder(Dataset[Decoded]):
    """Answers requests: opens, decodes and augments image by image, straight to the model's size."""

    def __init__(
        self, pixels: Pixels, preprocessing: Preprocessing, augmentation: ImageAugmentation | None = None
    ) -> None:
        self._pixels = pixels
        self._preprocessing = preprocessing
        self._augmentation = augmentation

    def __getitems__(self, request: Request) -> Decoded:
        shape = (len(request.indices), 3, *self._preprocessing.size)
        images = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)  # as decoded images lie
        unreadable = {}
        for row, (index, numbers) in enumerate(zip(request.indices.tolist(), self._numbers(request), strict=True)):
            try:
                images[row] = self._decode(index, numbers)
            except UnreadableImage as error:
                unreadable[index] = error.reason
                images[row] = 0
        return Decoded(images, unreadable)

    def _decode(self, index: int, numbers: list[float]) -> Tensor:
        with self._pixels.open(index) as image:
            if self._augmentation is None:
                return self._preprocessing.pixels(image)
            return self._augmentation(image, numbers, self._preprocessing)

    def _numbers(self, request: Request) -> list[list[float]]:
        wanted = 0 if self._augmentation is None else self._augmentation.numbers
        draws = request.key.draws(torch.as_tensor(request.positions))
        numbers: list[list[float]] = draws.uniform(torch.empty(len(request.positions), wanted), "image").tolist()
        return numbers


class Workers:
    """`count` processes that answer requests in order and outlive a pass; 0 decodes in this process."""

    def __init__(self, decoder: Decoder, count: int) -> None:
        self._decoder = decoder
        self._count = count
        self._requests: list[Request] = []
        self._loader: DataLoader[Any] | None = None
        self._pass = 0

    def decode(self, requests: list[Request]) -> Iterator[Decoded]:
        """One answer per request, in order. The iterator may be closed early; beginning another ends it."""
        if self._count == 0:
            yield from map(self._decoder.__getitems__, requests)
            return
        self._pass += 1
        this_pass = self._pass
        self._requests[:] = requests
        answers = self._start()
        for _ in requests:
            if this_pass != self._pass:
                raise RuntimeError("another pass over the same loader began; use one loader for each")
            yield next(answers)

    def close(self) -> None:
        """Ends the processes; a later pass starts new ones."""
        self._loader = None

    def _start(self) -> Iterator[Decoded]:
        with held(), warnings.catch_warnings(), _signals_blocked():
            warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside torch's threads: workers use none
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # their number was asked for
            if self._loader is None:
                self._loader = self._begin()
            return iter(self._loader)

    def _begin(self) -> DataLoader[Any]:
        return DataLoader(
            self._decoder,
            batch_sampler=self._requests,  # type: ignore[arg-type]  # the list is re-read at every pass
            collate_fn=_unchanged,
            num_workers=self._count,
            persistent_workers=True,
            worker_init_fn=_leave_signals_to_the_parent,
            generator=torch.Generator(),  # else a pass would advance torch's global one
        )


def worth_starting() -> int:
    """How many processes decode where that pays and nobody says: one a core, at most 8."""
    return min(8, os.cpu_count() or 1)


def _unchanged(answer: Any) -> Any:
    return answer


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process that begins meanwhile has signals blocked from its first instruction on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_the_parent(worker: int) -> None:
    """Whoever ends a job signals all its processes, and the parent still needs this one to finish what it is at.

    SIGTERM ends a worker only if the parent sends it; where the system does not say who did, it always does.
    """
    if not hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    parent = multiprocessing.parent_process()
    if parent is not None and hasattr(signal, "sigtimedwait"):
        threading.Thread(target=_end_for, args=(parent,), daemon=True).start()
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_for(parent: BaseProcess) -> None:
    """End this process when its parent says so or is gone, whose locks and connections live as long as its children."""
    born_of = os.getppid()  # the parent, or a server that forks for it
    while os.getppid() == born_of and parent.is_alive():
        arrived = signal.sigtimedwait({signal.SIGTERM}, 1.0)
        if arrived is not None and arrived.si_pid == parent.pid:
            break
    os._exit(0)
