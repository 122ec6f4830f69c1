"""A trained classifier made fair to rare classes: a new head on its frozen features; the model given is only read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from longtail.data.parts import ImageSet
from longtail.deploy.run import Run, load
from longtail.errors import LongtailError
from longtail.interrupts import listening
from longtail.launch import check_alone
from longtail.models.heads import Experts, Linear
from longtail.report.page import write_study_page
from longtail.runs import StudyFolder, free_name
from longtail.studies.carrying_out import as_begun, carry_out, test, trainer_for
from longtail.studies.class_order import check_class_order
from longtail.studies.compare import Study, row_of
from longtail.studies.original import Original, asked_for, images_for
from longtail.studies.sitting import Sitting
from longtail.training.planning.as_wished import setting_as_wished, stage_as_wished
from longtail.training.planning.keeping import Keeping
from longtail.training.planning.plan import Plan, engine_for
from longtail.training.planning.settings import Setting, setting_for
from longtail.training.planning.wishes import Wishes
from longtail.training.second_stage.ways import Way, ways
from longtail.training.stage import Recipe, Stage, Step
from longtail.unfinished import PART, Request, Unfinished, begin, begin_or_go_on
from longtail.watching import Watcher

BEFORE = "before"
"""What the classifier is called in a study as it came."""


def rebalance(
    model: str | Path,
    data: str | Path | None = None,
    *,
    how: str = "crt",
    sampler: str = "cben",
    loss: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    classes: str | Path | None = None,
    preprocessing: str | Path | None = None,
    watcher: Watcher | None = None,
    **wishes: Unpack[Wishes],
) -> Run:
    """Re-balance the head of a trained classifier and return the new run; the model given is only read.

    Args:
        model: a run folder, or weights made elsewhere: safetensors, or a .pt with tensors alone (then `backbone` too).
        data: the images, as for `longtail.train`; a run on a named set knows its own.
        how: `crt`, `crt-warm`, `lws`, `disalign`, `mislas`, `tau-norm`, `ncm` or `posthoc`.
        sampler: of crt and lws: `cben`, `class-balanced`, `effective-number`, `instance`, ...
        loss: of crt and lws, by its name in `longtail.losses`; by default cross-entropy, or GCL's for a cosine head.
        seed: of everything random.
        out: the run folder, which must not exist; by default a free name under runs/.
        classes: a file of class names in the order of the outputs, where weights made elsewhere do not say them.
        preprocessing: a JSON file as model.json has it, where it is not the published one of the backbone.
        watcher: who is told of progress.
        **wishes: as for `longtail.train`; `epochs` are those of the second stage.

    Raises:
        LongtailError: something cannot be done as asked; no folder is left behind.
    """
    check_alone("longtail rebalance")
    tuple(ways([how], [sampler], loss))  # a word that is wrong shows before a folder is made
    request = Request.here(
        "rebalance",
        model=model,
        data=data,
        how=how,
        sampler=sampler,
        loss=loss,
        seed=seed,
        classes=classes,
        preprocessing=preprocessing,
        **wishes,
    )
    path = Path(out) if out else free_name(Path("runs"), f"{Path(model).resolve().name}-{how}")
    with listening(), begin(path, request) as work:
        return rebalance_in(work, watcher, request)


def rebalance_in(work: Unfinished, watcher: Watcher | None, request: Request) -> Run:
    """Re-balance what was asked for, from the beginning or from the last checkpoint."""
    job, rest = _Job.asked(request, watcher or Watcher())
    (way,) = ways([rest["how"]], [rest["sampler"]], rest["loss"])
    job.check([way])
    sitting = Sitting.at(work, job.watcher, job.wishes)
    job.test_before(sitting)
    return job.carry_out(way, rest["seed"], sitting)


def compare_rebalanced(
    model: str | Path,
    data: str | Path | None = None,
    *,
    how: Sequence[str] = ("lws", "tau-norm", "crt"),
    sampler: Sequence[str] = ("cben",),
    loss: str | None = None,
    seeds: int = 1,
    out: str | Path | None = None,
    classes: str | Path | None = None,
    preprocessing: str | Path | None = None,
    watcher: Watcher | None = None,
    **wishes: Unpack[Wishes],
) -> Study:
    """Re-balance a trained classifier in several ways on the same features, and compare them with what it was.

    Args:
        model: as for `rebalance`.
        data: as for `rebalance`.
        how: ways; those that sample are tried with each sampler.
        sampler: samplers.
        loss: as for `rebalance`.
        seeds: how many: 0, 1, ... What is in closed form is done once.
        out: the folder of the comparison, which must not exist; by default a free name under runs/.
        classes: as for `rebalance`.
        preprocessing: as for `rebalance`.
        watcher: who is told of progress.
        **wishes: as for `rebalance`.

    Raises:
        LongtailError: something cannot be done as asked. Finished runs are kept.
    """
    check_alone("longtail compare-rebalanced")
    _check(list(ways(how, sampler, loss)), seeds)
    request = Request.here(
        "compare_rebalanced",
        model=model,
        data=data,
        how=list(how),
        sampler=list(sampler),
        loss=loss,
        seeds=seeds,
        classes=classes,
        preprocessing=preprocessing,
        **wishes,
    )
    path = Path(out) if out else free_name(Path("runs"), f"{Path(model).resolve().name}-rebalanced")
    with listening(), begin(path, request) as work:
        return compare_rebalanced_in(work, watcher, request)


def compare_rebalanced_in(work: Unfinished, watcher: Watcher | None, request: Request) -> Study:
    """Compare what was asked for; what is finished stays as it is, and a run that was stopped goes on."""
    folder = StudyFolder(work.run)
    job, rest = _Job.asked(request, watcher or Watcher())
    every = list(ways(rest["how"], rest["sampler"], rest["loss"]))
    job.check(every)
    job = job.keeping_in(folder.features)
    runs = [job.run_of(folder, BEFORE, 0, job.as_it_came)]
    for way in every:
        seeds = range(rest["seeds"] if way.learns else 1)
        runs += [job.run_of(folder, way.name, seed, partial(job.carry_out, way, seed)) for seed in seeds]
    folder.write_comparison(
        {
            "recipes": [BEFORE, *(way.name for way in every)],
            "seeds": list(range(rest["seeds"])),
            "rows": [row_of(run) for run in runs],
        }
    )
    write_study_page(folder.path)
    return Study(folder)


def _check(every: Sequence[Way], seeds: int) -> None:
    names = [way.name for way in every]
    if not every or len(set(names)) < len(names):
        raise LongtailError(f"Give different ways to compare, not {', '.join(names) or 'none'}.")
    if seeds < 1:
        raise LongtailError(f"--seeds must be at least 1, not {seeds}.")


@dataclass(frozen=True)
class _Job:
    """What all ways of one call share."""

    original: Original
    images: ImageSet
    setting: Setting
    keeping: Keeping
    watcher: Watcher
    wishes: Wishes

    @classmethod
    def asked(cls, request: Request, watcher: Watcher) -> tuple[_Job, dict[str, Any]]:
        """The job of a request, and what else it says: how, sampler, loss, and a seed or a number of them."""
        wishes: Any = dict(request.arguments)
        rest = {name: wishes.pop(name) for name in ("how", "sampler", "loss", "seed", "seeds") if name in wishes}
        model, data = wishes.pop("model"), wishes.pop("data")
        original = Original.open(model, wishes.pop("classes"), wishes.pop("preprocessing"), wishes)
        data, wishes = asked_for(original, data, wishes)
        images = images_for(original, data, watcher, wishes)
        setting = setting_for(images.name, images.kind, "none").for_second_stage(len(images.train))
        one_row_an_image = not isinstance(original.classifier.head, Experts)  # whose features are (M, D)
        keeping = replace(Keeping.wished(wishes), kept=wishes.get("views") != 0 and one_row_an_image)
        return cls(original, images, setting_as_wished(setting, wishes), keeping, watcher, wishes), rest

    def keeping_in(self, folder: Path) -> _Job:
        """The same, with features kept in a folder that its runs share."""
        return replace(self, keeping=replace(self.keeping, folder=self.keeping.folder or folder))

    def check(self, every: Sequence[Way]) -> None:
        """Refuse what cannot work: before features are computed, not after.

        Raises:
            LongtailError: a way does not fit the classifier, or its classes are not in the order of its outputs.
        """
        for way in every:
            step = self._step(way)
            if isinstance(step, Stage):
                step.parameter_groups(step.begin(self.original.copy()))
        if self.original.run is None:  # somebody else said which class each output is
            plan = self._as_it_came()
            with plan.engine.running():
                nowhere = Sitting.at(Unfinished(Path()), self.watcher, self.wishes)
                trainer = replace(trainer_for(plan, nowhere), cache=None)
                check_class_order(trainer, self.original.copy(), self.images)

    def carry_out(self, way: Way, seed: int, sitting: Sitting) -> Run:
        """Re-balance a copy of the classifier one way."""
        recipe = Recipe(Linear, (self._step(way),), balanced=way.balances)
        return self._run(self._plan(way.name, recipe, seed), sitting)

    def as_it_came(self, sitting: Sitting) -> Run:
        """The classifier itself as a run."""
        return self._run(self._as_it_came(), sitting)

    def run_of(self, folder: StudyFolder, name: str, seed: int, carry_out: Callable[[Sitting], Run]) -> Run:
        """A run of a study, unless it is there already."""
        path = folder.run(name, seed).path
        with begin_or_go_on(path, Request.here(PART, name=name, seed=seed)) as work:
            return load(path) if work is None else carry_out(Sitting.at(work, self.watcher, self.wishes))

    def test_before(self, sitting: Sitting) -> None:
        """Write metrics of the classifier as it came beside those to come."""
        plan = self._as_it_came()
        with plan.engine.running():
            if tested := test(trainer_for(plan, sitting), self.original.copy(), plan):
                sitting.folder.write_before(tested.metrics)

    def _step(self, way: Way) -> Step:
        step = way.step(self.images.counts, self.setting, self.original.classifier.head, self.original.balanced)
        return stage_as_wished(step, self.wishes) if isinstance(step, Stage) else step

    def _as_it_came(self) -> Plan:
        return self._plan(BEFORE, Recipe(Linear, (), balanced=self.original.balanced), 0)

    def _run(self, plan: Plan, sitting: Sitting) -> Run:
        kept = sitting.newest()
        if kept is not None:
            plan = as_begun(plan, sitting.folder.config, kept)
        for line in plan.lines():
            self.watcher.say(line)
        with plan.engine.running():
            return carry_out(plan, self.original.copy(), self.original.architecture, sitting, kept).run

    def _plan(self, name: str, recipe: Recipe, seed: int) -> Plan:
        return Plan(
            images=self.images,
            recipe_name=name,
            recipe=recipe,
            setting=self.setting,
            backbone=self.original.architecture.backbone,
            weights=self.original.name,
            image_size=self.original.architecture.image_size,
            preprocessing=self.original.preprocessing,
            engine=engine_for(self.setting, self.original.preprocessing, self.wishes),
            keeping=self.keeping,
            seed=seed,
            wishes=self.wishes,
            rebalanced=self.original.name,
        )
