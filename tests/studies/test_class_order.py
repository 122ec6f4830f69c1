"""A classifier whose classes are named in a wrong order is refused, by what it says of training images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import longtail
from longtail.data.parts import ImageSet
from longtail.errors import LongtailError
from longtail.runs import RunFolder
from longtail.studies.class_order import check_class_order
from longtail.training.engine import Engine
from longtail.training.loop.trainer import Trainer
from longtail.watching import Watcher
from tiny_training import Listener


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> longtail.Run:
    return longtail.train(recipe="balanced_softmax", epochs=15, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def images() -> ImageSet:
    from longtail.data import open_images

    return open_images(None, {}, Watcher())


def trainer(run: longtail.Run, watcher: Watcher, folder: Path) -> Trainer:
    engine = Engine(torch.device("cpu"), torch.float32, "for a test", threads=1)
    return Trainer(engine, run.preprocessing, RunFolder(folder), 0, watcher)


def renamed(images: ImageSet, order: list[int]) -> ImageSet:
    """The same outputs under other names: image labels move to where their name stands now."""
    return replace(images, classes=tuple(images.classes[place] for place in order)).in_order_of(images.classes)


def test_the_right_order_is_silent(run: longtail.Run, images: ImageSet, tmp_path: Path) -> None:
    listener = Listener()
    check_class_order(trainer(run, listener, tmp_path), run.model, images)
    assert listener.lines == []


def test_a_shuffled_order_is_refused(run: longtail.Run, images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"not in the order of the network's outputs.*looks like"):
        check_class_order(trainer(run, Watcher(), tmp_path), run.model, renamed(images, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]))


def test_two_swapped_classes_are_named(run: longtail.Run, images: ImageSet, tmp_path: Path) -> None:
    listener = Listener()
    swapped = renamed(images, [1, 0, 2, 3, 4, 5, 6, 7, 8, 9])
    check_class_order(trainer(run, listener, tmp_path), run.model, swapped)
    (line,) = listener.lines
    assert "Are the classes in the order of the outputs?" in line
    assert "'0' looks like '1'" in line or "'1' looks like '0'" in line
