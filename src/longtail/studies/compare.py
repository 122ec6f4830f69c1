"""Several recipes on the same split, over the same seeds, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from shutil import rmtree
from typing import Any, Unpack

from longtail.data.images.reading import UnreadableImages
from longtail.data.parts import ImageSet
from longtail.deploy.run import Run, load
from longtail.errors import LongtailError
from longtail.interrupts import listening
from longtail.launch import check_alone
from longtail.metrics import summary
from longtail.report.page import write_study_page
from longtail.runs import StudyFolder, data_name, free_name, recipe_name
from longtail.studies.carrying_out import Trained, prepare, train_into, without_bad
from longtail.studies.sitting import Sitting
from longtail.training.recipes import find_recipe
from longtail.training.wishes import Wishes
from longtail.unfinished import Request, Unfinished, begin, begin_or_go_on
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
    out: str | Path | None = None,
    watcher: Watcher | None = None,
    **wishes: Unpack[Wishes],
) -> Study:
    """Train each recipe with each seed on one split, and write a table with differences and a page.

    Args:
        data: as for `longtail.train`.
        recipes: names or `FILE.py:function`; differences are against the first.
        seeds: how many: 0, 1, ... Every recipe meets the same order of images and the same first backbone.
        out: the folder of the comparison, which must not exist; by default a free name under runs/.
        watcher: who is told of progress.
        **wishes: as for `longtail.train`.

    Raises:
        LongtailError: something cannot be done as asked. Finished runs are kept.
    """
    check_alone("longtail compare")
    _check(recipes, seeds)
    request = Request.here("compare", data=data, recipes=list(recipes), seeds=seeds, **wishes)
    path = Path(out) if out else free_name(Path("runs"), f"{data_name(data)}-compare")
    with listening(), begin(path, request) as work:
        return compare_in(work, watcher, request)


def compare_in(work: Unfinished, watcher: Watcher | None, request: Request) -> Study:
    """Compare what was asked for; runs that are finished stay as they are, and one that was stopped goes on."""
    wishes: Any = dict(request.arguments)
    data, recipes, seeds = (wishes.pop(name) for name in ("data", "recipes", "seeds"))
    watcher, folder = _Once(watcher or Watcher()), StudyFolder(work.run)
    if wishes.get("freeze") and wishes.get("features") is None:
        wishes["features"] = str(folder.features)
    images = prepare(data, watcher, wishes).without(request.left_out)
    several = _Several(folder, data, watcher, wishes)
    while True:
        try:
            rows, unreadable = several.train(images, recipes, range(seeds))
            break
        except UnreadableImages as found:  # runs on other images than the rest cannot be compared
            images = without_bad(images, found, watcher, wishes)
            work.leave_out(found.reasons)
            for seed, recipe in product(range(seeds), recipes):
                rmtree(folder.run(recipe_name(recipe), seed).path, ignore_errors=True)
    names = [recipe_name(recipe) for recipe in recipes]
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


@dataclass(frozen=True)
class _Several:
    """What the runs of a comparison share."""

    folder: StudyFolder
    data: str | None
    watcher: Watcher
    wishes: Wishes

    def train(
        self, images: ImageSet, recipes: Sequence[str], seeds: Sequence[int]
    ) -> tuple[list[dict[str, Any]], UnreadableImages | None]:
        """One row a run. A run that fails leaves the finished ones behind, and no folder if there are none."""
        rows: list[dict[str, Any]] = []
        unreadable = None
        for seed, recipe in product(seeds, recipes):
            self.watcher.say(f"Run {len(rows) + 1} of {len(seeds) * len(recipes)}: {recipe_name(recipe)}, seed {seed}")
            trained = self._run(images, recipe, seed)
            images, unreadable = trained.images, unreadable or trained.unreadable
            rows.append(row_of(trained.run))
        return rows, unreadable

    def _run(self, images: ImageSet, recipe: str, seed: int) -> Trained:
        """A run of the study, unless it is there already."""
        path = self.folder.run(recipe_name(recipe), seed).path
        request = Request.here("train", data=self.data, recipe=recipe, seed=seed, **self.wishes)
        with begin_or_go_on(path, request) as work:
            if work is None:
                return Trained(load(path), images, None)
            return train_into(Sitting.at(work, self.watcher, self.wishes), images, recipe, seed, self.wishes)


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


def _check(recipes: Sequence[str], seeds: int) -> None:
    if len(recipes) < 2 or len({recipe_name(recipe) for recipe in recipes}) < len(recipes):
        raise LongtailError(f"Give at least two different recipes to compare, not {', '.join(recipes) or 'none'}.")
    if seeds < 1:
        raise LongtailError(f"--seeds must be at least 1, not {seeds}.")
    for recipe in recipes:
        find_recipe(recipe)
