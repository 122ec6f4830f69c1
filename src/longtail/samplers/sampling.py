"""Three ways through an epoch: every image once, draws by class, classes in turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.counts import ClassCounts
from longtail.draws import Key
from longtail.samplers.alias import draw
from longtail.samplers.counter import uniforms, words
from longtail.samplers.index import LabelIndex
from longtail.samplers.orders import shuffled

Indices = NDArray[np.int64]
Probability = NDArray[np.float64]


class Sampling(ABC):
    """The order of an epoch, as a rule: an image is a function of (key, epoch, position) and of nothing else.

    So an epoch can be read from any position on, again, and in slices by any number of processes.
    """

    @abstractmethod
    def class_probability(self, counts: ClassCounts, epoch: int, epochs: int) -> Probability | None:
        """Probability (C,) that a draw is of each class; None where every image comes once.

        Args:
            counts: training images per class.
            epoch: counted from 0.
            epochs: how many there are.
        """

    @abstractmethod
    def indices(self, index: LabelIndex, key: Key, epoch: int, epochs: int, positions: ArrayLike) -> Indices:
        """The images at `positions` (B,) of the epoch's order, (B,), as indices into the data.

        Any positions will do, also beyond the number of images; some 64k at a time are fastest.
        """


@dataclass(frozen=True, repr=False)
class EveryImageOnce(Sampling):
    """The images in a new random order each epoch, and in another one beyond its end."""

    def __repr__(self) -> str:
        return "instance()"

    def class_probability(self, counts: ClassCounts, epoch: int, epochs: int) -> None:
        """None: nothing is drawn."""
        return

    def indices(self, index: LabelIndex, key: Key, epoch: int, epochs: int, positions: ArrayLike) -> Indices:
        """The images at `positions` (B,) of the shuffled list."""
        images = np.array([len(index)], np.uint64)
        turns, places = np.divmod(np.asarray(positions, np.uint64), images)
        return shuffled(places, images, words(key.at("order", epoch), turns)).astype(np.int64)


@dataclass(frozen=True, repr=False)
class ByClass(Sampling):
    """Draws with replacement: first a class by its probability, then an image of it, all alike.

    Args:
        name: what `repr` and reports call the rule.
        weigh: (counts, epoch, epochs) to numbers (C,) in proportion to the probability of each class.
    """

    name: str
    weigh: Callable[[ClassCounts, int, int], Probability]

    def __repr__(self) -> str:
        return self.name

    def class_probability(self, counts: ClassCounts, epoch: int, epochs: int) -> Probability:
        """The rule's numbers, of sum 1, (C,)."""
        weights = self.weigh(counts, epoch, epochs)
        return np.asarray(weights / weights.sum(), np.float64)

    def indices(self, index: LabelIndex, key: Key, epoch: int, epochs: int, positions: ArrayLike) -> Indices:
        """The images drawn at `positions` (B,)."""
        counters = np.asarray(positions, np.uint64)
        probability = self.class_probability(index.counts, epoch, epochs)
        classes = draw(probability, uniforms(key.at("class", epoch), counters))
        places = uniforms(key.at("image", epoch), counters) * index.sizes[classes]
        return index.images(classes, places.astype(np.int64))


@dataclass(frozen=True, repr=False)
class ClassAware(Sampling):
    """Classes in turn, `per_class` successive images of each (Shen, Lin and Huang, ECCV 2016).

    Each pass goes through the classes in a new random order, and each class deals its images from a shuffled
    list that is shuffled anew when it is used up. Since a pass visits every class once, position p belongs to
    visit v = p // per_class, to pass v // C, and the class has dealt pass x per_class images before: nobody
    needs to walk through the epoch. The lists begin anew with each epoch; in published code they go on.
    """

    per_class: int

    def __repr__(self) -> str:
        return f"class_aware(per_class={self.per_class})"

    def class_probability(self, counts: ClassCounts, epoch: int, epochs: int) -> Probability:
        """All alike, (C,): exactly so over a pass."""
        return np.full(len(counts), 1 / len(counts))

    def indices(self, index: LabelIndex, key: Key, epoch: int, epochs: int, positions: ArrayLike) -> Indices:
        """The images dealt at `positions` (B,)."""
        per_class = np.uint64(self.per_class)
        total = np.array([len(index.sizes)], np.uint64)
        visits, successive = np.divmod(np.asarray(positions, np.uint64), per_class)
        passes, turns = np.divmod(visits, total)
        classes = shuffled(turns, total, words(key.at("classes", epoch), passes))
        sizes = index.sizes.astype(np.uint64)[classes]
        lists, places = np.divmod(passes * per_class + successive, sizes)
        starts = words(key.at("images", epoch), lists * total + classes)
        return index.images(classes.astype(np.int64), shuffled(places, sizes, starts).astype(np.int64))
