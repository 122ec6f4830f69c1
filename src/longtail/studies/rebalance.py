"""A trained classifier made fair to rare classes: a new head on its frozen features; the model given is only read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from longtail.data.parts import ImageSet
from longtail.deploy.run import Run
from longtail.errors import LongtailError
from longtail.models.heads import Experts, Linear
from longtail.runs import RunFolder, StudyFolder, free_name, new_folder, new_study
from longtail.studies.class_order import check_class_order
from longtail.studies.compare import Study, row_of
from longtail.studies.original import Original, asked_for, images_for
from longtail.studies.train import carry_out, test, trainer_for
from longtail.training.engine import choose_engine
from longtail.training.keeping import Keeping
from longtail.training.plan import Plan, as_wished, to_open_again, workers_for
from longtail.training.settings import Setting, setting_for
from longtail.training.stage import Recipe, Stage, Step
from longtail.training.ways import Way, ways
from longtail.training.wishes import Wishes, borders_of, folder_of
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
    (way,) = ways([how], [sampler], loss)
    job = _Job.prepare(model, data, classes, preprocessing, watcher or Watcher(), wishes)
    job.check([way])
    with new_folder(Path(out) if out else free_name(Path("runs"), f"{job.original.name}-{way.name}")) as path:
        job.test_before(RunFolder(path))
        return job.carry_out(way, seed, RunFolder(path))


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
    from longtail.report.page import write_study_page

    every = list(ways(how, sampler, loss))
    names = [way.name for way in every]
    if not every or len(set(names)) < len(names):
        raise LongtailError(f"Give different ways to compare, not {', '.join(names) or 'none'}.")
    if seeds < 1:
        raise LongtailError(f"--seeds must be at least 1, not {seeds}.")
    job = _Job.prepare(model, data, classes, preprocessing, watcher or Watcher(), wishes)
    job.check(every)
    with new_study(Path(out) if out else free_name(Path("runs"), f"{job.original.name}-rebalanced")) as folder:
        job = job.keeping_in(folder.features)
        runs = [job.test_as_it_came(folder)]
        for way in every:
            for seed in range(seeds if way.learns else 1):
                with new_folder(folder.run(way.name, seed).path) as path:
                    runs.append(job.carry_out(way, seed, RunFolder(path)))
        rows = [row_of(run) for run in runs]
        folder.write_comparison({"recipes": [BEFORE, *names], "seeds": list(range(seeds)), "rows": rows})
        write_study_page(folder.path)
    return Study(folder)


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
    def prepare(
        cls,
        model: str | Path,
        data: str | Path | None,
        classes: str | Path | None,
        preprocessing: str | Path | None,
        watcher: Watcher,
        wishes: Wishes,
    ) -> _Job:
        original = Original.open(model, classes, preprocessing, wishes)
        data, wishes = asked_for(original, data, wishes)
        images = images_for(original, data, watcher, wishes)
        setting = setting_for(images.name, images.kind, "none").for_second_stage(len(images.train))
        one_row_an_image = not isinstance(original.classifier.head, Experts)  # whose features are (M, D)
        keeping = replace(Keeping.wished(wishes), kept=wishes.get("views") != 0 and one_row_an_image)
        return cls(original, images, as_wished(setting, wishes), keeping, watcher, wishes)

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
                trainer = replace(trainer_for(plan, RunFolder(Path()), self.watcher), cache=None)
                check_class_order(trainer, self.original.copy(), self.images)

    def carry_out(self, way: Way, seed: int, folder: RunFolder) -> Run:
        """Re-balance a copy of the classifier one way."""
        recipe = Recipe(Linear, (self._step(way),), balanced=way.balances)
        return self._run(self._plan(way.name, recipe, seed), folder)

    def test_as_it_came(self, folder: StudyFolder) -> Run:
        """The classifier itself as a run of the study."""
        with new_folder(folder.run(BEFORE, 0).path) as path:
            return self._run(self._as_it_came(), RunFolder(path))

    def test_before(self, folder: RunFolder) -> None:
        """Write metrics of the classifier as it came beside those to come."""
        plan = self._as_it_came()
        with plan.engine.running():
            trainer = trainer_for(plan, folder, self.watcher)
            if tested := test(trainer, self.original.copy(), plan):
                folder.write_before(tested.metrics)

    def _step(self, way: Way) -> Step:
        return way.step(self.images.counts, self.setting, self.original.classifier.head, self.original.balanced)

    def _as_it_came(self) -> Plan:
        return self._plan(BEFORE, Recipe(Linear, (), balanced=self.original.balanced), 0)

    def _run(self, plan: Plan, folder: RunFolder) -> Run:
        for line in plan.lines():
            self.watcher.say(line)
        with plan.engine.running():
            return carry_out(plan, self.original.copy(), self.original.architecture, folder, self.watcher).run

    def _plan(self, name: str, recipe: Recipe, seed: int) -> Plan:
        height, width = self.original.preprocessing.size
        engine = choose_engine(self.wishes.get("device", "auto"))
        return Plan(
            images=self.images,
            recipe_name=name,
            recipe=recipe,
            setting=self.setting,
            backbone=self.original.architecture.backbone,
            weights=self.original.name,
            image_size=self.original.architecture.image_size,
            preprocessing=self.original.preprocessing,
            engine=engine.for_batches_of(self.setting.batch_size * height * width),
            borders=borders_of(self.wishes) or self.images.counts.shot_borders(),
            workers=workers_for(self.images, self.wishes.get("workers")),
            seed=seed,
            keeping=self.keeping,
            loading=self.wishes.get("loading") or "auto",
            decoded=folder_of(self.wishes.get("cache")),
            asked=to_open_again(self.images, self.wishes),
            rebalanced=self.original.name,
        )
