"""The whole job: images in, a run folder out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from longtail.data.images.reading import UnreadableImages
from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.deploy.again import open_as_divided
from longtail.deploy.run import Run, save_model
from longtail.draws import Key
from longtail.metrics import evaluate
from longtail.models.classifier import Architecture, Classifier
from longtail.runs import Predictions, RunFolder, free_name, new_folder
from longtail.text import counted
from longtail.training.log import Turn
from longtail.training.plan import Plan, make_plan
from longtail.training.recipes import recipe_name
from longtail.training.record import record
from longtail.training.stage import Stage
from longtail.training.trainer import Trainer
from longtail.training.wishes import Wishes, check_wishes
from longtail.watching import Watcher


def train(
    data: str | Path | None = None,
    *,
    recipe: str = "gcl",
    seed: int = 0,
    out: str | Path | None = None,
    watcher: Watcher | None = None,
    **wishes: Unpack[Wishes],
) -> Run:
    """Train one classifier and return its run.

    Args:
        data: a folder of class folders, or one with train/ and test/ beneath; a table of images (.csv, .jsonl,
            .parquet); tar shards; a set of Hugging Face's `datasets`; or the name of a set that `longtail methods`
            lists. None takes scikit-learn's digits.
        recipe: a name that `longtail methods` lists, or `FILE.py:function` for one's own.
        seed: of everything random; the split does not depend on it.
        out: the run folder, which must not exist; by default a free name under runs/.
        watcher: who is told of progress, for instance `longtail.terminal.Terminal()`.
        **wishes: what to choose differently; see `Wishes`.

    Raises:
        LongtailError: something cannot be done as asked; no folder is left behind.
    """
    watcher = watcher or Watcher()
    images = prepare(data, watcher, wishes)
    while True:
        folder = Path(out) if out else free_name(Path("runs"), f"{images.name}-{recipe_name(recipe)}-seed{seed}")
        try:
            with new_folder(folder) as path:
                trained = train_into(path, images, recipe, seed, watcher, wishes)
            break
        except UnreadableImages as found:
            images = without_bad(images, found, watcher, wishes)
    if trained.unreadable:
        without_bad(images, trained.unreadable, watcher, wishes)
    return trained.run


class Trained(NamedTuple):
    """A finished run, the images that it was tested on, and test images that turned out to be unreadable."""

    run: Run
    images: ImageSet
    unreadable: UnreadableImages | None


def prepare(data: str | Path | None, watcher: Watcher, wishes: Wishes, run: Run | None = None) -> ImageSet:
    """Open the images and look at their headers, before anything slow; in the split of `run`, if there is one.

    Raises:
        LongtailError: a wish or the data are not usable.
    """
    check_wishes(wishes)
    images = open_as_divided(run, data, wishes, watcher) if run else open_images(data, wishes, watcher)
    for line in images.notes:
        watcher.say(line)
    if images.unreadable:
        images = without_bad(images, UnreadableImages(images.unreadable), watcher, wishes)
    return images


def without_bad(images: ImageSet, found: UnreadableImages, watcher: Watcher, wishes: Wishes) -> ImageSet:
    """The images without those that cannot be decoded, if that is the wish; else the error goes on."""
    if wishes.get("bad_images", "error") == "error":
        raise found
    left = images.without(found.reasons)
    watcher.say(f"Left out {counted(len(found.reasons), 'image')} that cannot be read; training images per class now:")
    watcher.say(", ".join(f"{name} {count}" for name, count in zip(left.classes, left.counts.per_class, strict=True)))
    return left


def train_into(path: Path, images: ImageSet, recipe: str, seed: int, watcher: Watcher, wishes: Wishes) -> Trained:
    """Train one classifier into an empty folder, test it, and write its page."""
    plan = make_plan(images, recipe, seed, wishes)
    for line in plan.lines():
        watcher.say(line)
    with plan.engine.running():
        return carry_out(plan, *plan.start(), RunFolder(path), watcher)


def trainer_for(plan: Plan, folder: RunFolder, watcher: Watcher) -> Trainer:
    """What carries the plan out, with the run's folder to write to."""
    return Trainer(
        plan.engine,
        plan.preprocessing,
        folder,
        plan.workers,
        watcher,
        cache=plan.keeping.cache(folder),
        loading=plan.loading,
        decoded=plan.decoded,
    )


def carry_out(
    plan: Plan, classifier: Classifier, architecture: Architecture, folder: RunFolder, watcher: Watcher
) -> Trained:
    """Take a classifier through the steps of a plan, test it, and write its page."""
    from longtail.report.page import write_run_page

    record(folder, plan, classifier)
    folder.start_logs()
    trainer = trainer_for(plan, folder, watcher)
    steps = plan.recipe.steps
    started = time.perf_counter()
    for number, step in enumerate(steps, start=1):
        turn = Turn(len([each for each in steps[:number] if isinstance(each, Stage)]), len(plan.recipe.stages))
        key = Key.of_seed(plan.seed).at("stage", number)
        classifier = trainer.carry_out(classifier, step, plan.images, plan.borders, turn, key)
    seconds = time.perf_counter() - started
    architecture = replace(architecture, head=classifier.head.description())
    save_model(classifier, architecture, plan.preprocessing, folder, prior=plan.prior)

    unreadable = None
    try:
        tested = test(trainer, classifier, plan)
    except UnreadableImages as found:  # hours of training are not thrown away for a broken test image
        unreadable = found
        plan = replace(plan, images=plan.images.without(found.reasons))
        record(folder, plan, classifier)
        tested = test(trainer, classifier, plan)
    if tested is not None:
        folder.write_predictions(tested.predictions)
        folder.write_metrics(tested.metrics | {"train_seconds": round(seconds, 1)})
    write_run_page(folder.path)
    return Trained(Run(folder), plan.images, unreadable)


class Tested(NamedTuple):
    """What a classifier made of the test part."""

    predictions: Predictions
    metrics: dict[str, Any]


def test(trainer: Trainer, classifier: Classifier, plan: Plan) -> Tested | None:
    """Read the test part, for the first and only time; None if there is none."""
    images = plan.images
    if images.test is None or len(images.test) == 0:
        return None
    predictions = trainer.predict(classifier, images.test, "testing")
    metrics = evaluate(
        predictions.logits,
        predictions.labels,
        images.counts,
        images.classes,
        plan.borders,
        background=images.background,
    )
    return Tested(predictions, metrics)
