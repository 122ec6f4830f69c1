"""The one training loop. It asks nobody which method it runs: a stage says all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from longtail.counts import ShotBorders
from longtail.data.augmenting.augmentation import Augmentation
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.holding import Loading
from longtail.data.loading.loader import Loader
from longtail.data.parts import ImageSet, Part
from longtail.draws import Key
from longtail.metrics import Outcomes, accuracy, balanced_accuracy
from longtail.models.classifier import Classifier
from longtail.runs import Predictions, RunFolder
from longtail.samplers import LabelIndex
from longtail.training.engine import Engine
from longtail.training.evidence import Evidence, Features
from longtail.training.extraction import Cache, Extraction
from longtail.training.log import StageLog, Turn
from longtail.training.sources import CachedFeatures, FrozenNetwork, Images, Source, order_of
from longtail.training.stage import HeadEdit, Stage, Step, is_frozen
from longtail.watching import Watcher

TEST_BATCH = 256


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

    def carry_out(
        self,
        classifier: Classifier,
        step: Step,
        images: ImageSet,
        borders: ShotBorders,
        turn: Turn,
        key: Key,
    ) -> Classifier:
        """Take a classifier through one step of a recipe, on the training images."""
        if isinstance(step, Stage):
            return self.fit(classifier, step, images.train, turn, key, images.validation)
        return self.edit(classifier, step, images, borders)

    def fit(
        self,
        classifier: Classifier,
        stage: Stage,
        part: Part,
        turn: Turn,
        key: Key,
        validation: Part | None = None,
    ) -> Classifier:
        """Train a classifier through one stage.

        Args:
            classifier: what the step before left.
            stage: what to do.
            part: training images.
            turn: which stage of how many this is, for the log.
            key: where all random numbers of this stage come from.
            validation: images to watch the training with; nothing is chosen by them, the last epoch is kept.

        Raises:
            UnreadableImages: an image cannot be decoded; the pass over all images is finished first.
            LongtailError: the loss is not a finite number any more.
        """
        torch.manual_seed(key.at("begin").value)
        classifier = self.engine.place(stage.begin(classifier))
        optimizer = stage.optimizer(stage.parameter_groups(classifier), lr=stage.lr)
        objective = stage.objective.to(self.engine.device)
        backbone_learns = not is_frozen(classifier.backbone)

        stage = replace(stage, batch_size=min(stage.batch_size, len(part)))
        steps = len(part) // stage.batch_size  # every batch is whole: the left-over images come in another epoch
        index = LabelIndex.of(part.labels, classifier.head.classes)
        source = self._source(classifier.backbone, stage, part, backbone_learns)

        with closing(source), StageLog(self.folder, self.watcher, stage, turn, steps, stage.batch_size) as log:
            for epoch in range(stage.epochs):
                here = key.at("epoch", epoch)
                rate = _set_learning_rate(optimizer, stage, epoch)
                classifier.train()
                classifier.backbone.train(backbone_learns or stage.moves_batch_norm)

                order = order_of(stage, index, here, epoch, steps)
                for step, sample in enumerate(source.samples(order, here, epoch)):
                    place = here.at("step", step)
                    self.engine.seed(place.value)  # dropout and the like
                    with self.engine.autocast():
                        features = source.features(sample.inputs)
                        features, targets = stage.mixed("features", features, sample.targets, place, epoch)
                        scores = classifier.head(features)
                    classifier.head.observe(features.detach())
                    loss = objective(
                        scores,
                        targets,
                        features=features,
                        epoch=epoch,
                        draws=here.at("loss").draws(sample.positions[: len(scores)].to(self.engine.device)),
                    )
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    log.step(epoch, step, loss.detach(), rate)

                if epoch == 0:
                    source.check()  # a broken image that no batch held shows now, not hours later
                log.end_epoch(epoch, rate, self._validate(classifier, stage, validation))
        return classifier

    def edit(self, classifier: Classifier, step: HeadEdit, images: ImageSet, borders: ShotBorders) -> Classifier:
        """Change a classifier's head in closed form; what was chosen is said, and written beside the run's metrics."""
        backbone, validation = classifier.backbone, images.validation
        evidence = Evidence(
            images.counts,
            borders,
            see_train=lambda: self.features(backbone, images.train),
            see_validation=lambda: self.features(backbone, validation) if validation is not None else None,
        )
        with torch.no_grad():
            edited = step.edit(classifier.head, evidence)
        if edited.record:
            self.folder.add_choice({"step": step.name, **edited.record})
            self.watcher.say(f"{step.name}: {edited.says}")
        return self.engine.place(Classifier(backbone, edited.head))

    @torch.no_grad()
    def features(self, backbone: nn.Module, part: Part) -> Features:
        """Features of all images of a part, not augmented, in float32 (from the cache as far as float16 holds them).

        Raises:
            UnreadableImages: an image cannot be decoded; the pass over all images is finished first.
        """
        labels = torch.from_numpy(part.labels).to(self.engine.device)
        if self.cache is not None:
            return Features(self._extraction(self.cache).plain(backbone, part).to(self.engine.device), labels)
        return Features(torch.cat(list(self._passes(self.engine.place(backbone).eval(), part, "features"))), labels)

    @torch.no_grad()
    def predict(self, classifier: Classifier, part: Part, name: str) -> Predictions:
        """Logits of all images of a part, in float32.

        Raises:
            UnreadableImages: an image cannot be decoded; the pass over all images is finished first.
        """
        classifier = self.engine.place(classifier).eval()
        if self.cache is not None and is_frozen(classifier.backbone):
            values = self.features(classifier.backbone, part).values
            logits = [classifier.head.logits(some) for some in values.split(TEST_BATCH)]
        else:
            logits = list(self._passes(classifier, part, name))
        return Predictions(torch.cat(logits).float().cpu().numpy(), part.labels, part.identities)

    def _passes(self, network: nn.Module, part: Part, name: str) -> Iterator[Tensor]:
        """What a network makes of the images of a part, batch by batch."""
        loader = self.loader(part, None, TEST_BATCH)
        with closing(loader), self.watcher.task(name, len(part), "images") as task:
            for batch in loader.batches():
                yield network(self.engine.images(self.preprocessing.normalise(batch.images)))
                task.advance(len(batch.labels))

    def _validate(self, classifier: Classifier, stage: Stage, part: Part | None) -> dict[str, float]:
        if part is None:
            return {}
        cache = None if stage.moves_batch_norm else self.cache  # features of statistics that move are not worth keeping
        predictions = replace(self, watcher=Watcher(), cache=cache).predict(classifier, part, "validating")
        outcomes = Outcomes.of(predictions.logits, predictions.labels)
        return {
            "validation_accuracy": accuracy(outcomes),
            "validation_balanced_accuracy": balanced_accuracy(outcomes),
        }

    def _source(self, backbone: nn.Module, stage: Stage, part: Part, learns: bool) -> Source:
        """Cached features where there is a cache, else the frozen network itself; images where the network changes."""
        changes = learns or stage.moves_batch_norm
        if self.cache is not None and not changes:
            views = self._extraction(self.cache).views(backbone, part, stage.augmentation)
            return CachedFeatures(views, part.labels, self.engine, stage)
        loader = self.loader(part, stage.augmentation, stage.batch_size * len(stage.samplings))
        self.watcher.say(loader.holding.line)
        images = Images(loader, self.preprocessing, self.engine, stage, backbone, learns)
        if changes:
            return images
        height, width = self.preprocessing.size
        return FrozenNetwork(images, backbone, self.engine, pixels=stage.batch_size * height * width)

    def _extraction(self, cache: Cache) -> Extraction:
        return Extraction(cache, self.engine, self.preprocessing, self.loader, self.watcher)

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


def _set_learning_rate(optimizer: torch.optim.Optimizer, stage: Stage, epoch: int) -> float:
    """Set every group's rate for this epoch; returns the stage's own."""
    rate = stage.lr * stage.lr_schedule.at(epoch)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
