"""Which image comes next: every image once, by class, or classes in turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.counts import ClassCounts
from longtail.draws import Key
from longtail.samplers.alias import draw
from longtail.samplers.counter import uniforms, words
from longtail.samplers.index import LabelIndex
from longtail.samplers.orders import shuffled

Probability = NDArray[np.float64]


class Sampling(ABC):
    """A rule for the order of an epoch; the image at a position depends on (key, epoch, position) and nothing else.

    So an epoch can be read from any position on, in slices for any number of processes, and drawn again.
    """

    name: str

    @abstractmethod
    def class_probability(self, counts: ClassCounts, epoch: int, epochs: int) -> Probability | None:
        """Probability (C,) that a draw in this epoch is of each class; None where every image comes once.

        Args:
            counts: training images per class.
            epoch: counted from 0.
            epochs: epochs in all.
        """

    @abstractmethod
    def indices(
        self, index: LabelIndex, key: Key, epoch: int, epochs: int, positions: ArrayLike
    ) -> NDArray[np.int64]:
        """The images at `positions` (B,) of the epoch's order, (B,), as indices into the data.

        About 64k positions at a time are the fastest; any number will do.
        """

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class EveryImageOnce(Sampling):
    """Each epoch is a new random order of the images; beyond its end the next order begins."""

    name: str = "instance"

    def class_probability(self, counts: ClassCounts, epoch: int, epochs: int) -> None:
        """No probability: every image comes once."""
        return

    def indices(
        self, index: LabelIndex, key: Key, epoch: int, epochs: int, positions: ArrayLike
    ) -> NDArray[np.int64]:
        """The images at `positions` (B,) of a shuffled list."""
        images = np.array([len(index)], np.uint64)
        turns, places = np.divmod(np.asarray(positions, np.uint64), images)
        return shuffled(places, images, words(key.at("order", epoch), turns)).astype(np.int64)


@dataclass(frozen=True)
class ByClass(Sampling):
    """Draws with replacement: first the class, by its probability, then an image of it, all alike.

    Args:
        name: what a report calls the rule.
        weigh: (counts, epoch, epochs) to a number (C,) in proportion to the probability of each class.
    """

    name: str
    weigh: Callable[[ClassCounts, int, int], Probability] = field(repr=False)

    def class_probability(self, counts: ClassCounts, epoch: int, epochs: int) -> Probability:
        """The rule's numbers, brought to the sum 1, (C,)."""
        weights = np.asarray(self.weigh(counts, epoch, epochs), np.float64)
        return weights / weights.sum()

    def indices(
        self, index: LabelIndex, key: Key, epoch: int, epochs: int, positions: ArrayLike
    ) -> NDArray[np.int64]:
        """The images drawn at `positions` (B,)."""
        counters = np.asarray(positions, np.uint64)
        probability = self.class_probability(index.counts, epoch, epochs)
        classes = draw(probability, uniforms(key.at("class", epoch), counters))
        places = uniforms(key.at("image", epoch), counters) * index.sizes[classes]
        return index.images(classes, places.astype(np.int64))


@dataclass(frozen=True)
class ClassAware(Sampling):
    """Classes in turn, `per_class` successive images of each (Shen, Lin and Huang, ECCV 2016, section 3).

    The list of classes is shuffled anew on every pass. Each class deals its own images from a shuffled list,
    and shuffles it anew when it is used up. A pass visits each class once, so the p-th position belongs to
    the visit p // per_class, that to the pass visit // C, and the class has dealt pass x per_class images
    before: no walk through the epoch is needed. Lists begin anew each epoch (in published code they go on).
    """

    per_class: int = 4

    @property
    def name(self) -> str:  # type: ignore[override]
        """What a report calls the rule."""
        return f"class_aware(per_class={self.per_class})"

    def class_probability(self, counts: ClassCounts, epoch: int, epochs: int) -> Probability:
        """The same for every class, (C,): exactly so over a pass."""
        return np.full(len(counts), 1 / len(counts))

    def indices(
        self, index: LabelIndex, key: Key, epoch: int, epochs: int, positions: ArrayLike
    ) -> NDArray[np.int64]:
        """The images dealt at `positions` (B,)."""
        total = np.array([len(index.sizes)], np.uint64)
        visits, successive = np.divmod(np.asarray(positions, np.uint64), np.uint64(self.per_class))
        passes, slots = np.divmod(visits, total)
        classes = shuffled(slots, total, words(key.at("classes", epoch), passes))
        sizes = index.sizes.astype(np.uint64)[classes]
        rounds, places = np.divmod(passes * np.uint64(self.per_class) + successive, sizes)
        starts = words(key.at("images", epoch), rounds * total + classes)
        return index.images(classes.astype(np.int64), shuffled(places, sizes, starts).astype(np.int64))
