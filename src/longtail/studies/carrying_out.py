"""Images, a recipe and a run folder: the way from the one to the other, in one sitting or in several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from longtail.data.images.reading import UnreadableImages
from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.deploy.again import open_as_divided
from longtail.deploy.run import Run, save_model
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.metrics import evaluate
from longtail.models.backbones import feature_size
from longtail.models.classifier import Architecture, Classifier
from longtail.models.heads import build
from longtail.models.sync_batch_norm import synchronised
from longtail.report.page import write_run_page
from longtail.runs import Predictions
from longtail.studies.sitting import Sitting
from longtail.text import counted
from longtail.training.engine import Engine
from longtail.training.loop.checkpoints import Checkpoint, Position
from longtail.training.loop.learning import room
from longtail.training.loop.log import Turn
from longtail.training.loop.trainer import Trainer
from longtail.training.planning.plan import Plan, make_plan
from longtail.training.planning.record import record
from longtail.training.planning.wishes import Wishes, check_wishes
from longtail.training.stage import Stage
from longtail.watching import Watcher


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


def train_into(sitting: Sitting, images: ImageSet, recipe: str, seed: int, wishes: Wishes) -> Trained:
    """Train one classifier in the folder of the sitting, test it, and write its page.

    Raises:
        LongtailError: it cannot be done as asked, or the images are not those that the run began with.
    """
    plan, kept = make_plan(images, recipe, seed, wishes), sitting.newest()
    if kept is not None:
        plan = as_begun(plan, sitting.folder.config, kept)
    for line in plan.lines():
        sitting.watcher.say(line)
    with plan.engine.running():
        return carry_out(plan, *plan.start(), sitting, kept)


def as_begun(plan: Plan, config: Mapping[str, Any], kept: Checkpoint) -> Plan:
    """The plan of a run that has a checkpoint, on the same images and with the engine that was chosen then.

    Raises:
        LongtailError: the images are others, or this machine lacks the device.
    """
    if plan.images.fingerprint() != kept.facts["images"]:  # of the configuration a test image may have been dropped
        raise LongtailError(
            f"The images of {plan.images.name} are not those that the run began with, or not in its split; restore "
            "them, or start another run."
        )
    engine, device = Engine.of(config["engine"]), plan.engine.device
    if device.type == engine.device.type:
        engine = replace(engine, device=device)  # of several processes each has a GPU of its own
    return replace(plan, engine=engine)


def trainer_for(plan: Plan, sitting: Sitting) -> Trainer:
    """What carries the plan out, with the run's folder to write to."""
    return Trainer(
        plan.engine,
        plan.preprocessing,
        sitting.folder,
        plan.workers,
        sitting.watcher,
        cache=plan.keeping.cache(sitting.folder),
        loading=plan.loading,
        decoded=plan.decoded,
        checkpoints=sitting.checkpoints,
        world=sitting.world,
    )


def carry_out(
    plan: Plan,
    classifier: Classifier,
    architecture: Architecture,
    sitting: Sitting,
    kept: Checkpoint | None = None,
) -> Trained:
    """Take a classifier through the steps of a plan, from a checkpoint on if there is one; test it, write its page."""
    folder = sitting.folder
    record(folder, plan, classifier)
    if sitting.first:
        sitting.checkpoints.images = folder.config["data"]["fingerprint"]
    if plan.wishes.get("sync_bn"):
        classifier.backbone = synchronised(classifier.backbone, sitting.world)
    folder.cut_logs(kept.facts["logs"] if kept else {})
    trainer = trainer_for(plan, sitting)
    sitting.checkpoints.start_clock(kept)
    classifier = _trained(trainer, plan, classifier, sitting, kept)
    seconds = sitting.checkpoints.seconds
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
    if sitting.first:
        write_run_page(folder.path)
    sitting.world.barrier()  # the others read what the first has written
    return Trained(Run(folder), plan.images, unreadable)


def _trained(
    trainer: Trainer, plan: Plan, classifier: Classifier, sitting: Sitting, kept: Checkpoint | None
) -> Classifier:
    steps, begin = plan.recipe.steps, 1
    if kept is not None:
        begin = kept.position.stage
        sitting.watcher.say_of_run(f"Going on from the last checkpoint: {kept.position}")
        classifier = _as_kept(classifier, kept)
        if kept.position == Position(begin, epoch=0, step=0):
            kept = None  # between two steps there is nothing else to go on with
    for number, step in enumerate(steps[begin - 1 :], start=begin):
        turn = Turn(len([each for each in steps[:number] if isinstance(each, Stage)]), len(plan.recipe.stages), number)
        key = Key.of_seed(plan.seed).at("stage", number)
        classifier = trainer.carry_out(classifier, step, plan.images, plan.borders, turn, key, kept)
        sitting.keep(classifier, number + 1)
        kept = None
    return classifier


def _as_kept(classifier: Classifier, kept: Checkpoint) -> Classifier:
    """The classifier with the head and the weights that it had then."""
    backbone = classifier.backbone
    head = build(kept.facts["head"], feature_size(backbone), classifier.head.classes)
    found = Classifier(backbone, head)
    found.load_state_dict(room(kept.tensors, "classifier"))
    return found


class Tested(NamedTuple):
    """What a classifier made of the test part."""

    predictions: Predictions
    metrics: dict[str, Any]


def test(trainer: Trainer, classifier: Classifier, plan: Plan) -> Tested | None:
    """Read the test part, for the first and only time; None if there is none."""
    images = plan.images
    if images.test is None or len(images.test) == 0:
        return None
    predictions = trainer.inference.predict(classifier, images.test, "testing")
    metrics = evaluate(
        predictions.logits,
        predictions.labels,
        images.counts,
        images.classes,
        plan.borders,
        background=images.background,
    )
    return Tested(predictions, metrics)
