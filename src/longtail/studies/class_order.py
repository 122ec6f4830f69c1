"""Whether the classes of a network trained elsewhere are in the order of its outputs: the classic silent mistake."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from longtail.data.parts import ImageSet
from longtail.errors import LongtailError
from longtail.models.classifier import Classifier
from longtail.training.loop.trainer import Trainer

IMAGES_A_CLASS = 20


def check_class_order(trainer: Trainer, classifier: Classifier, images: ImageSet) -> None:
    """Compare the order of the classes with the one that fits the training images best.

    A network that knows its classes is right on some training images of each. Where another order makes it right more
    than twice as often, the order given is refused; where the gap is a whole class, it is said.

    Raises:
        LongtailError: the classes cannot be in this order.
    """
    from scipy.optimize import linear_sum_assignment

    classes = images.classes
    some = images.train.subset(_some_of_each(images.train.labels, len(classes)))
    predictions = trainer.inference.predict(classifier, some, "class order")
    shares = np.zeros((len(classes), len(classes)))
    np.add.at(shares, (some.labels, predictions.logits.argmax(axis=1)), 1)
    shares /= shares.sum(axis=1, keepdims=True)
    _, best = linear_sum_assignment(-shares)
    given, found = float(np.trace(shares)) / len(classes), float(shares[range(len(classes)), best].mean())
    swapped = [f"{classes[own]!r} looks like {classes[other]!r}" for own, other in enumerate(best) if own != other]
    if given < found / 2:
        raise LongtailError(
            f"The classes are not in the order of the network's outputs: {_measured(given, found, swapped)}; "
            "give --classes in the order it was trained with."
        )
    if found - given >= 1 / len(classes):
        trainer.watcher.say(f"Are the classes in the order of the outputs? {_measured(given, found, swapped)}")


def _measured(given: float, found: float, swapped: list[str]) -> str:
    return f"{given:.0%} of some training images are right, in the best other order {found:.0%} ({swapped[0]})"


def _some_of_each(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The first images of each class."""
    return np.concatenate([np.flatnonzero(labels == label)[:IMAGES_A_CLASS] for label in range(classes)])
