"""Several recipes on the same split, over the same seeds, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from shutil import rmtree
from typing import Any, Unpack

from longtail.data.images.reading import UnreadableImages
from longtail.data.parts import ImageSet
from longtail.deploy.run import Run
from longtail.device import choose_device
from longtail.errors import LongtailError
from longtail.interrupts import listening
from longtail.launch import check_alone
from longtail.metrics import summary
from longtail.report.page import write_study_page
from longtail.runs import StudyFolder, data_name, free_name, recipe_name
from longtail.studies.carrying_out import prepare, without_bad
from longtail.studies.jobs import Call, Share, shares, side_by_side
from longtail.studies.part import Part, train_alone
from longtail.text import counted
from longtail.training.planning.wishes import Wishes
from longtail.training.recipes import find_recipe
from longtail.unfinished import Request, Unfinished, begin
from longtail.watching import Task, Watcher


@dataclass(frozen=True)
class Study:
    """A finished comparison."""

    folder: StudyFolder

    @property
    def path(self) -> Path:
        """The folder of the comparison."""
        return self.folder.path

    @property
    def comparison(self) -> dict[str, Any]:
        """Recipes, seeds, and one row of metrics a run."""
        return self.folder.comparison


def compare(
    data: str | Path | None = None,
    *,
    recipes: Sequence[str] = ("ce", "gcl"),
    seeds: int = 1,
    jobs: int = 1,
    out: str | Path | None = None,
    watcher: Watcher | None = None,
    **wishes: Unpack[Wishes],
) -> Study:
    """Train each recipe with each seed on one split, and write a table with differences and a page.

    Args:
        data: as for `longtail.train`.
        recipes: names or `FILE.py:function`; differences are against the first.
        seeds: how many: 0, 1, ... Every recipe meets the same order of images and the same first backbone.
        jobs: runs at a time, each in a process of its own that keeps to its share of the cores. A script that asks for
            several does so below `if __name__ == "__main__":`, since these processes import it.
        out: the folder of the comparison, which must not exist; by default a free name under runs/.
        watcher: who is told of progress.
        **wishes: as for `longtail.train`.

    Raises:
        LongtailError: something cannot be done as asked. Finished runs are kept.
    """
    check_alone("longtail compare")
    _check(recipes, seeds, jobs)
    request = Request.here("compare", data=data, recipes=list(recipes), seeds=seeds, jobs=jobs, **wishes)
    path = Path(out) if out else free_name(Path("runs"), f"{data_name(data)}-compare")
    with listening(), begin(path, request) as work:
        return compare_in(work, watcher, request)


def compare_in(work: Unfinished, watcher: Watcher | None, request: Request) -> Study:
    """Compare what was asked for; runs that are finished stay as they are, and one that was stopped goes on."""
    wishes: Any = dict(request.arguments)
    data, recipes, seeds, jobs = (wishes.pop(name) for name in ("data", "recipes", "seeds", "jobs"))
    on_processor = choose_device(wishes.get("device", "auto")).type == "cpu"
    cores = shares(min(jobs, seeds * len(recipes)), on_processor=on_processor)
    watcher, folder = _Once(watcher or Watcher()), StudyFolder(work.run)
    if wishes.get("freeze") and wishes.get("features") is None:
        wishes["features"] = str(folder.features)
    images = prepare(data, watcher, wishes).without(request.left_out)
    if not images.test:
        raise LongtailError("There is no test image, so nothing can be compared; give data with a test part.")
    parts = [
        Part(str(folder.run(recipe_name(recipe), seed).path), data, recipe, seed, wishes)
        for seed, recipe in product(range(seeds), recipes)
    ]
    while True:
        try:
            if len(cores) == 1:
                unreadable = _one_by_one(parts, images, watcher)
            else:
                unreadable = _at_once(parts, work.request.left_out, cores, watcher)
            break
        except UnreadableImages as found:  # runs on other images than the rest cannot be compared
            images = without_bad(images, found, watcher, wishes)
            for part in parts:
                rmtree(part.path, ignore_errors=True)
            work.leave_out(found.reasons)  # last: whoever reads it relies on runs without these images
    names = [recipe_name(recipe) for recipe in recipes]
    rows = [row_of(part.run) for part in parts]
    folder.write_comparison({"recipes": names, "seeds": list(range(seeds)), "rows": rows})
    write_study_page(folder.path)
    if unreadable:
        without_bad(images, unreadable, watcher, wishes)
    return Study(folder)


class _Once(Watcher):
    """Passes every line on once: most of what is chosen is the same for all runs."""

    def __init__(self, inner: Watcher) -> None:
        self._inner, self._said = inner, set[str]()

    def say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._inner.say(line)

    def task(self, name: str, total: int, unit: str) -> Task:
        return self._inner.task(name, total, unit)


def _one_by_one(parts: Sequence[Part], images: ImageSet, watcher: Watcher) -> UnreadableImages | None:
    """Every run after the other; a run that fails leaves the finished ones behind."""
    unreadable = None
    for number, part in enumerate(parts, start=1):
        watcher.say(f"Run {number} of {len(parts)}: {part.name}")
        trained = part.train(images, watcher)
        images, unreadable = trained.images, unreadable or trained.unreadable
    return unreadable


def _at_once(
    parts: Sequence[Part], left_out: Mapping[str, str], jobs: Sequence[Share], watcher: Watcher
) -> UnreadableImages | None:
    """As many runs at a time as there are shares of the machine, each as it would be by itself."""
    watcher.say(f"{len(parts)} runs, {len(jobs)} at a time, {counted(jobs[0].threads, 'thread')} each")
    test: dict[str, str] = {}
    calls = [Call(part.name, train_alone, (part, dict(left_out))) for part in parts]
    with closing(side_by_side(calls, jobs, watcher)) as ended:
        for call, found in ended:
            if found.training:
                raise UnreadableImages(found.training)
            watcher.say(f"Done: {call.name}")
            test |= found.test
    return UnreadableImages(test) if test else None


def row_of(run: Run) -> dict[str, Any]:
    """The row of a finished run in a comparison."""
    metrics = run.metrics
    if metrics is None:
        raise LongtailError("There is no test image, so nothing can be compared; give data with a test part.")
    config = run.folder.config
    return {
        "recipe": config["recipe"],
        "seed": config["seed"],
        "run": run.path.name,
        **summary(metrics),
        "train_seconds": metrics["train_seconds"],
    }


def _check(recipes: Sequence[str], seeds: int, jobs: int) -> None:
    if len(recipes) < 2 or len({recipe_name(recipe) for recipe in recipes}) < len(recipes):
        raise LongtailError(f"Give at least two different recipes to compare, not {', '.join(recipes) or 'none'}.")
    if seeds < 1:
        raise LongtailError(f"--seeds must be at least 1, not {seeds}.")
    if jobs < 1:
        raise LongtailError(f"--jobs must be at least 1, not {jobs}.")
    for recipe in recipes:
        find_recipe(recipe)
