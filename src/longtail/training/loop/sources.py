"""Where the features of a stage come from: the learning network, the frozen network, or features computed before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.loader import Loader
from longtail.draws import Key
from longtail.samplers import LabelIndex
from longtail.training.compiling import compiled
from longtail.training.engine import Engine
from longtail.training.loop.pieces import Piece, Pieces
from longtail.training.stage import Stage, Targets

READ_AHEAD = 64  # batches of cached features that are read at once


class Order(NamedTuple):
    """The images of an epoch: K batches of R rows, those of several samplings one after the other."""

    indices: NDArray[np.int64]  # (K, R)
    positions: NDArray[np.int64]  # (K, R)
    """Their places in the epoch, which their random numbers depend on."""

    def after(self, batches: int) -> Order:
        """What is left after so many batches."""
        return Order(self.indices[batches:], self.positions[batches:])


class Sample(NamedTuple):
    """One batch on the device: of the images a process may hold but its own, of everything else all rows."""

    inputs: Tensor
    """Images, or features."""
    targets: Targets
    positions: Tensor


class Source(ABC):
    """The batches of a stage."""

    @abstractmethod
    def samples(self, order: Order, key: Key, epoch: int, first: int = 0) -> Iterator[Sample]:
        """The batches of an epoch from the `first` on, augmented and mixed as the stage says."""

    @abstractmethod
    def features(self, sample: Sample, piece: Piece) -> Tensor:
        """Features (B, D) of a piece of a batch; the gradient goes as far as anything learns."""

    def check(self) -> None:
        """Raise UnreadableImages for images that no batch has met and that cannot be decoded."""
        return

    def close(self) -> None:
        """Let go of processes."""
        return


class Images(Source):
    """Images through the network as it is, batch by batch; several processes share the work."""

    def __init__(
        self,
        loader: Loader,
        preprocessing: Preprocessing,
        engine: Engine,
        stage: Stage,
        pieces: Pieces,
        backbone: nn.Module,
        learns: bool,
    ) -> None:
        self._loader, self._preprocessing, self._engine = loader, preprocessing, engine
        self._stage, self.pieces, self._learns = stage, pieces, learns
        self._backbone = compiled(backbone) if engine.compiled and learns else backbone

    def samples(self, order: Order, key: Key, epoch: int, first: int = 0) -> Iterator[Sample]:
        """Images (B, 3, H, W), normalised."""
        left = order.after(first)
        places = [key.at("step", step) for step in range(first, first + len(left.indices))]
        rows = [self._rows(place, left.indices.shape[1]) for place in places]
        own = None if self.pieces.world.size == 1 else self.pieces.own
        batches = self._loader.batches(
            _picked(left.indices, rows), _picked(left.positions, rows), key.at("augmentation")
        )
        indices, positions = (torch.from_numpy(each).to(self._engine.device) for each in left)
        for step, (place, batch) in enumerate(zip(places, batches, strict=True)):
            images = self._engine.images(self._preprocessing.normalise(batch.images))
            labels = self._loader.labels[indices[step]]
            images, targets = self._stage.mixed("images", images, labels, place, epoch, own)
            yield Sample(images, targets, positions[step])

    def features(self, sample: Sample, piece: Piece) -> Tensor:
        """What the backbone makes of them."""
        with self._engine.autocast(), torch.set_grad_enabled(self._learns):
            features: Tensor = self._backbone(sample.inputs[piece.held])
        return self.pieces.together(features, piece)

    def _rows(self, place: Key, batch: int) -> NDArray[np.int64]:
        """The rows of a batch whose images are needed here: one's own, and those mixed into them."""
        mixing, own = self._stage.mixing, self.pieces.own
        return own if mixing is None or self.pieces.world.size == 1 else mixing.needed(own, batch, place)

    def check(self) -> None:
        """Decode what no batch has met."""
        self._loader.decode_all(self.pieces.world)

    def close(self) -> None:
        """End the workers."""
        self._loader.close()


class FrozenNetwork(Source):
    """The same batches through a network that does not learn: folded, without autograd, many batches at once."""

    def __init__(self, images: Images, backbone: nn.Module, engine: Engine, pixels: int) -> None:
        self._images, self._at_once = images, max(1, engine.pixels_at_once // pixels)
        self._network = engine.frozen(backbone, engine.precision)

    def samples(self, order: Order, key: Key, epoch: int, first: int = 0) -> Iterator[Sample]:
        """Features (B, D), float32. What goes through the network at once does not depend on where one begins."""
        skipped = first % self._at_once
        samples = self._images.samples(order, key, epoch, first - skipped)
        while block := list(islice(samples, self._at_once)):
            features = self._network(torch.cat([sample.inputs for sample in block]))
            own = features.split([len(sample.inputs) for sample in block])
            for sample, values in islice(zip(block, own, strict=True), skipped, None):
                yield sample._replace(inputs=self._images.pieces.together(values))
            skipped = 0

    def features(self, sample: Sample, piece: Piece) -> Tensor:
        """They are features already."""
        return sample.inputs[piece.rows]

    def check(self) -> None:
        """Decode what no batch has met."""
        self._images.check()

    def close(self) -> None:
        """End the workers."""
        self._images.close()


class CachedFeatures(Source):
    """Features computed before, in one or several views; a sample gets one of them, drawn by its position.

    Every process has them all, so that there is nothing to share.
    """

    def __init__(
        self, views: list[NDArray[np.float16]], labels: NDArray[np.int64], engine: Engine, stage: Stage
    ) -> None:
        self._views, self._labels, self._engine, self._stage = views, labels, engine, stage

    def samples(self, order: Order, key: Key, epoch: int, first: int = 0) -> Iterator[Sample]:
        """Features (B, D), float32; what the stage would mix as images is mixed as features."""
        for start in range(first, len(order.indices), READ_AHEAD):
            ahead = Order(*(each[start : start + READ_AHEAD] for each in order))
            rows, positions = ahead.indices.ravel(), torch.from_numpy(ahead.positions)
            features = self._read(rows, positions.ravel(), key).to(self._engine.device).float()
            labels = torch.from_numpy(self._labels[ahead.indices]).to(self._engine.device)
            batches = zip(features.split(ahead.indices.shape[1]), labels, positions, strict=True)
            for step, (values, targets, places) in enumerate(batches, start=start):
                yield self._mixed(values, targets, places, key.at("step", step), epoch)

    def features(self, sample: Sample, piece: Piece) -> Tensor:
        """They are features already."""
        return sample.inputs[piece.rows]

    def _read(self, rows: NDArray[np.int64], positions: Tensor, key: Key) -> Tensor:
        """One view of each row, (N, D)."""
        if len(self._views) == 1:
            return torch.from_numpy(self._views[0][rows])
        share = key.at("view").draws(positions).uniform(torch.empty(len(rows)), "view").numpy()
        drawn = (share * len(self._views)).astype(np.int64)
        values = np.empty((len(rows), self._views[0].shape[1]), np.float16)
        for number, view in enumerate(self._views):
            here = drawn == number
            values[here] = view[rows[here]]
        return torch.from_numpy(values)

    def _mixed(self, features: Tensor, labels: Tensor, positions: Tensor, place: Key, epoch: int) -> Sample:
        if self._stage.mixing is None:
            return Sample(features, labels, positions)
        mixed, targets = self._stage.mixing.mix(features, labels, place, epoch)
        return Sample(mixed, targets, positions)


def _picked(batches: NDArray[np.int64], rows: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Some rows of each batch."""
    return [batch[some] for batch, some in zip(batches, rows, strict=True)]


def order_of(stage: Stage, index: LabelIndex, key: Key, epoch: int, batches: int) -> Order:
    """Which images come in an epoch; of several samplings each batch has one after the other."""
    places = np.arange(batches * stage.batch_size)
    columns = []
    for number, sampling in enumerate(stage.samplings):
        here = key.at("order") if number == 0 else key.at("order", number)
        indices = sampling.indices(index, here, epoch, stage.epochs, places)
        columns.append(Order(indices.reshape(batches, -1), (places + number * len(places)).reshape(batches, -1)))
    return Order(*(np.concatenate(each, axis=1) for each in zip(*columns, strict=True)))
