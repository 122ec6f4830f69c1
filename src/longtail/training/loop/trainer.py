"""The one training loop. It asks nobody which method it runs: a stage says all."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from longtail import interrupts
from longtail.counts import ShotBorders
from longtail.data.augmenting.augmentation import Augmentation
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.holding import Loading
from longtail.data.loading.loader import Loader
from longtail.data.parts import ImageSet, Part
from longtail.draws import Key
from longtail.metrics import Outcomes, accuracy, balanced_accuracy
from longtail.models.classifier import Classifier
from longtail.runs import RunFolder
from longtail.samplers import LabelIndex
from longtail.training.engine import Engine
from longtail.training.evidence import Evidence
from longtail.training.loop.checkpoints import Checkpoint, Checkpoints, Position
from longtail.training.loop.extraction import Cache, Extraction
from longtail.training.loop.gradient import Gradient
from longtail.training.loop.inference import Inference
from longtail.training.loop.learning import Learning
from longtail.training.loop.log import NotFiniteError, StageLog, Turn
from longtail.training.loop.memory import Attempt, blank_steps, fits_memory
from longtail.training.loop.non_finite import not_finite
from longtail.training.loop.pieces import Pieces
from longtail.training.loop.sources import CachedFeatures, FrozenNetwork, Images, Source, order_of
from longtail.training.stage import HeadEdit, Stage, Step, is_frozen
from longtail.watching import Watcher
from longtail.world import ALONE, World


@dataclass(frozen=True)
class Trainer:
    """What stays the same from stage to stage: engine, preprocessing, the folder to write to, who looks on."""

    engine: Engine
    preprocessing: Preprocessing
    folder: RunFolder
    workers: int
    watcher: Watcher
    cache: Cache | None = None
    """Where the features of a frozen network are kept; None computes them anew every epoch, which is exact."""
    loading: Loading = "auto"
    decoded: Path | None = None
    """Folder of images kept decoded; None keeps none."""
    checkpoints: Checkpoints | None = None
    """Where a training is kept as it goes; None keeps it nowhere."""
    world: World = ALONE
    """The processes that share the work."""

    def carry_out(
        self,
        classifier: Classifier,
        step: Step,
        images: ImageSet,
        borders: ShotBorders,
        turn: Turn,
        key: Key,
        kept: Checkpoint | None = None,
    ) -> Classifier:
        """Take a classifier through one step of a recipe, on the training images."""
        if isinstance(step, Stage):
            return self.fit(classifier, step, images.train, turn, key, images.validation, kept)
        return self.edit(classifier, step, images, borders)

    def fit(
        self,
        classifier: Classifier,
        stage: Stage,
        part: Part,
        turn: Turn,
        key: Key,
        validation: Part | None = None,
        kept: Checkpoint | None = None,
    ) -> Classifier:
        """Train a classifier through one stage.

        Args:
            classifier: what the step before left.
            stage: what to do.
            part: training images.
            turn: which stage of how many this is, for the log.
            key: where all random numbers of this stage come from.
            validation: images to watch the training with; nothing is chosen by them, the last epoch is kept.
            kept: a checkpoint of this stage to go on from; the classifier has the head that it had then.

        Raises:
            UnreadableImages: an image cannot be decoded; the pass over all images is finished first.
            LongtailError: the loss is not a finite number any more.
            Interrupted: a signal asked for the end; what was learnt is kept.
        """
        torch.manual_seed(key.at("begin").value)
        position = kept.position if kept else Position(turn.step, epoch=0, step=0)
        learning = Learning.of(stage, classifier if kept else stage.begin(classifier), self.engine)
        classifier = learning.classifier
        if kept:
            learning.load(kept.tensors)
        backbone_learns = not is_frozen(classifier.backbone)

        stage = replace(stage, batch_size=min(stage.batch_size, len(part)))
        steps = len(part) // stage.batch_size  # every batch is whole: the left-over images come in another epoch
        index = LabelIndex.of(part.labels, classifier.head.classes)
        pieces = Pieces(stage.batch_size, len(stage.samplings), stage.accumulate, self.world)
        source = self._source(classifier.backbone, stage, part, backbone_learns, pieces)
        at_once, attempt = -(-len(pieces.own) // pieces.number), self._attempt(learning)
        gradient = Gradient(stage, learning, source, pieces, self.engine)

        with (
            closing(source),
            self._in_step(),
            StageLog(self.folder, self.watcher, stage, turn, steps, kept) as log,
        ):
            try:
                for epoch in range(position.epoch, stage.epochs):
                    here, rate = key.at("epoch", epoch), stage.lr * stage.lr_schedule.at(epoch)
                    learning.set_rate(rate)
                    classifier.train()
                    classifier.backbone.train(backbone_learns or stage.moves_batch_norm)

                    order = order_of(stage, index, here, epoch, steps)
                    for sample in source.samples(order, here, epoch, position.step):
                        with interrupts.held(), fits_memory(stage, at_once, attempt):
                            loss = gradient.of(sample, here, epoch, position.step)
                            learning.step(stage.clip)
                            log.step(epoch, position.step, loss, rate)
                            position = position._replace(step=position.step + 1)
                            if self.checkpoints and self.checkpoints.due:
                                self._keep(position, learning, log)
                        self._end_together()

                    if epoch == 0:
                        source.check()  # a broken image that no batch held shows now, not hours later
                    self.world.follow_first(learning.outcome.buffers())  # each process has its own statistics
                    validated = self._validate(learning.outcome, stage, validation)
                    with interrupts.held():
                        log.end_epoch(epoch, rate, validated)
                        position = Position(turn.step, epoch + 1, step=0)
            except interrupts.Interrupted:
                if position.step or position.epoch:  # else the step before has left all there is
                    self._keep(position, learning, log)
                self.world.barrier()  # a launcher ends the others as soon as one has gone
                raise
            except NotFiniteError as found:
                images = [part.identities[index] for index in order.indices[found.step]]
                raise not_finite(self.folder, stage, turn.number, found.epoch, found.step, found.loss, images) from None
        return learning.outcome

    def edit(self, classifier: Classifier, step: HeadEdit, images: ImageSet, borders: ShotBorders) -> Classifier:
        """Change a classifier's head in closed form; what was chosen is said, and written beside the run's metrics."""
        backbone, validation = classifier.backbone, images.validation
        evidence = Evidence(
            images.counts,
            borders,
            see_train=lambda: self.inference.features(backbone, images.train),
            see_validation=lambda: self.inference.features(backbone, validation) if validation is not None else None,
        )
        with torch.no_grad():
            edited = step.edit(classifier.head, evidence)
        if edited.record:
            self.folder.add_choice({"step": step.name, **edited.record})
            self.watcher.say_of_run(f"{step.name}: {edited.says}")
        return self.engine.place(Classifier(backbone, edited.head))

    @property
    def inference(self) -> Inference:
        """The same engine over images as they are."""
        kept = None if self.cache is None else self._extraction(self.cache)
        return Inference(self.engine, self.preprocessing, self.loader, self.watcher, self.world, kept)

    def _validate(self, classifier: Classifier, stage: Stage, part: Part | None) -> dict[str, float]:
        if part is None:
            return {}
        cache = None if stage.moves_batch_norm else self.cache  # features of statistics that move are not worth keeping
        inference = replace(self, watcher=Watcher(), cache=cache).inference
        predictions = inference.predict(classifier, part, "validating")
        outcomes = Outcomes.of(predictions.logits, predictions.labels)
        return {
            "validation_accuracy": accuracy(outcomes),
            "validation_balanced_accuracy": balanced_accuracy(outcomes),
        }

    def _source(self, backbone: nn.Module, stage: Stage, part: Part, learns: bool, pieces: Pieces) -> Source:
        """Cached features where there is a cache, else the frozen network itself; images where the network changes."""
        changes = learns or stage.moves_batch_norm
        if self.cache is not None and not changes:
            views = self._extraction(self.cache).views(backbone, part, stage.augmentation)
            return CachedFeatures(views, part.labels, self.engine, stage)
        loader = self.loader(part, stage.augmentation, len(pieces.own))
        self.watcher.say(loader.holding.line)
        if not learns:
            pieces = replace(pieces, number=1)  # without gradient a whole batch takes no more memory
        images = Images(loader, self.preprocessing, self.engine, stage, pieces, backbone, learns)
        if changes:
            return images
        height, width = self.preprocessing.size
        return FrozenNetwork(images, backbone, self.engine, pixels=stage.batch_size * height * width)

    def _attempt(self, learning: Learning) -> Attempt | None:
        """How to find out what fits; None where the backbone sees many batches at once, or other processes wait."""
        backbone = learning.classifier.backbone
        if is_frozen(backbone) or self.world.size > 1:
            return None
        return blank_steps(backbone, learning.optimizer, self.engine, self.preprocessing.size)

    def _in_step(self) -> AbstractContextManager[None]:
        """Within, several processes answer a signal together, at the end of a step; one alone answers it at once."""
        return interrupts.held() if self.world.size > 1 else nullcontext()

    def _end_together(self) -> None:
        if self.world.size > 1 and self.world.any(interrupts.waiting()):
            interrupts.end()

    def _keep(self, position: Position, learning: Learning, log: StageLog) -> None:
        """Write a checkpoint, unless the loss or the weights have left the finite numbers: then the last one stays."""
        if self.checkpoints and self.world.rank == 0:
            facts = {"head": learning.classifier.head.description(), **log.facts}
            tensors = learning.tensors()
            if all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
                self.checkpoints.save(Checkpoint(position, tensors, facts))

    def _extraction(self, cache: Cache) -> Extraction:
        return Extraction(cache, self.engine, self.preprocessing, self.loader, self.watcher, self.world)

    def loader(self, part: Part, augmentation: Augmentation | None, batch_size: int) -> Loader:
        """Batches of a part on the device."""
        return Loader(
            part,
            self.preprocessing,
            augmentation,
            batch_size=batch_size,
            workers=self.workers,
            loading=self.loading,
            cache=self.decoded,
            device=self.engine.device,
            watcher=self.watcher,
        )
