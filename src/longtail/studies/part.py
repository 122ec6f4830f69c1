"""One run of a comparison: in this process, or by itself in one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from longtail.data.images.reading import UnreadableImages
from longtail.data.parts import ImageSet
from longtail.deploy.run import Run, load
from longtail.interrupts import listening
from longtail.runs import recipe_name
from longtail.studies.carrying_out import Trained, prepare, train_into
from longtail.studies.sitting import Sitting
from longtail.training.planning.wishes import Wishes
from longtail.unfinished import Request, begin_or_go_on
from longtail.watching import Watcher


class Part(NamedTuple):
    """What one run is asked for by, as plain values."""

    path: str
    data: str | None
    recipe: str
    seed: int
    wishes: Wishes

    @property
    def name(self) -> str:
        """For people."""
        return f"{recipe_name(self.recipe)}, seed {self.seed}"

    @property
    def run(self) -> Run:
        """When it is done."""
        return load(self.path)

    def train(self, images: ImageSet, watcher: Watcher) -> Trained:
        """The run, unless it is there already."""
        request = Request.here("train", data=self.data, recipe=self.recipe, seed=self.seed, **self.wishes)
        with begin_or_go_on(Path(self.path), request) as work:
            if work is None:
                return Trained(self.run, images, None)
            return train_into(Sitting.at(work, watcher, self.wishes), images, self.recipe, self.seed, self.wishes)


class Unreadable(NamedTuple):
    """Images that turned out to be unreadable: identity -> reason."""

    training: Mapping[str, str]
    """For these the run was not finished."""
    test: Mapping[str, str]


def train_alone(watcher: Watcher, part: Part, left_out: Mapping[str, str]) -> Unreadable:
    """Open the images, without some of them, and train; all that a process of its own has to do."""
    with listening():
        images = prepare(part.data, Watcher(), part.wishes).without(left_out)
        try:
            trained = part.train(images, watcher)
        except UnreadableImages as found:
            return Unreadable(found.reasons, {})
    return Unreadable({}, trained.unreadable.reasons if trained.unreadable else {})
