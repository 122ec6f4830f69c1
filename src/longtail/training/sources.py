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
from longtail.training.engine import Engine
from longtail.training.stage import Stage, Targets

READ_AHEAD = 64  # batches of cached features that are read at once


class Order(NamedTuple):
    """The images of an epoch, batch after batch."""

    indices: NDArray[np.int64]
    positions: NDArray[np.int64]
    """Their places in the epoch, which their random numbers depend on."""


class Sample(NamedTuple):
    """One batch on the device."""

    inputs: Tensor
    """Images, or features."""
    targets: Targets
    positions: Tensor


class Source(ABC):
    """The batches of a stage."""

    @abstractmethod
    def samples(self, order: Order, key: Key, epoch: int) -> Iterator[Sample]:
        """The batches of an epoch, augmented and mixed as the stage says."""

    @abstractmethod
    def features(self, inputs: Tensor) -> Tensor:
        """Features (B, D) of the inputs of a batch; the gradient goes as far as anything learns."""

    def check(self) -> None:
        """Raise UnreadableImages for images that no batch has met and that cannot be decoded."""
        return

    def close(self) -> None:
        """Let go of processes."""
        return


class Images(Source):
    """Images through the network as it is, batch by batch."""

    def __init__(
        self,
        loader: Loader,
        preprocessing: Preprocessing,
        engine: Engine,
        stage: Stage,
        backbone: nn.Module,
        learns: bool,
    ) -> None:
        self._loader, self._preprocessing, self._engine = loader, preprocessing, engine
        self._stage, self._backbone, self._learns = stage, backbone, learns

    def samples(self, order: Order, key: Key, epoch: int) -> Iterator[Sample]:
        """Images (B, 3, H, W), normalised."""
        batches = self._loader.batches(order.indices, order.positions, key.at("augmentation"))
        for step, batch in enumerate(batches):
            images = self._engine.images(self._preprocessing.normalise(batch.images))
            labels = batch.labels.to(images.device)
            images, targets = self._stage.mixed("images", images, labels, key.at("step", step), epoch)
            yield Sample(images, targets, batch.positions)

    def features(self, inputs: Tensor) -> Tensor:
        """What the backbone makes of them."""
        with torch.set_grad_enabled(self._learns):
            features: Tensor = self._backbone(inputs)
        return features

    def check(self) -> None:
        """Decode what no batch has met."""
        self._loader.decode_all()

    def close(self) -> None:
        """End the workers."""
        self._loader.close()


class FrozenNetwork(Source):
    """The same batches through a network that does not learn: folded, without autograd, many batches at once."""

    def __init__(self, images: Images, backbone: nn.Module, engine: Engine, pixels: int) -> None:
        self._images, self._at_once = images, max(1, engine.pixels_at_once // pixels)
        self._network = engine.frozen(backbone, engine.precision)

    def samples(self, order: Order, key: Key, epoch: int) -> Iterator[Sample]:
        """Features (B, D), float32."""
        samples = self._images.samples(order, key, epoch)
        while block := list(islice(samples, self._at_once)):
            features = self._network(torch.cat([sample.inputs for sample in block]))
            for sample, values in zip(block, features.split([len(sample.inputs) for sample in block]), strict=True):
                yield sample._replace(inputs=values)

    def features(self, inputs: Tensor) -> Tensor:
        """They are features already."""
        return inputs

    def check(self) -> None:
        """Decode what no batch has met."""
        self._images.check()

    def close(self) -> None:
        """End the workers."""
        self._images.close()


class CachedFeatures(Source):
    """Features computed before, in one or several views; a sample gets one of them, drawn by its position."""

    def __init__(
        self, views: list[NDArray[np.float16]], labels: NDArray[np.int64], engine: Engine, stage: Stage
    ) -> None:
        self._views, self._labels, self._engine, self._stage = views, labels, engine, stage
        self._batch_size = stage.batch_size * len(stage.samplings)

    def samples(self, order: Order, key: Key, epoch: int) -> Iterator[Sample]:
        """Features (B, D), float32; what the stage would mix as images is mixed as features."""
        ahead = self._batch_size * READ_AHEAD
        for start in range(0, len(order.indices), ahead):
            rows, positions = (
                order.indices[start : start + ahead],
                torch.from_numpy(order.positions[start : start + ahead]),
            )
            features = self._read(rows, positions, key).to(self._engine.device).float()
            labels = torch.from_numpy(self._labels[rows]).to(self._engine.device)
            for first in range(0, len(rows), self._batch_size):
                cut = slice(first, first + self._batch_size)
                place = key.at("step", (start + first) // self._batch_size)
                yield self._mixed(features[cut], labels[cut], positions[cut], place, epoch)

    def features(self, inputs: Tensor) -> Tensor:
        """They are features already."""
        return inputs

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


def order_of(stage: Stage, index: LabelIndex, key: Key, epoch: int, batches: int) -> Order:
    """Which images come in an epoch; of several samplings each batch has one after the other."""
    places = np.arange(batches * stage.batch_size)
    columns = []
    for number, sampling in enumerate(stage.samplings):
        here = key.at("order") if number == 0 else key.at("order", number)
        indices = sampling.indices(index, here, epoch, stage.epochs, places)
        columns.append(Order(indices.reshape(batches, -1), (places + number * len(places)).reshape(batches, -1)))
    indices, positions = (np.concatenate(each, axis=1).ravel() for each in zip(*columns, strict=True))
    return Order(indices, positions)
