"""The one training loop. It asks nobody which method it runs: a stage says all."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from longtail.data.loading import Loader
from longtail.data.mixing import Place
from longtail.data.parts import Part
from longtail.data.preprocessing import Preprocessing
from longtail.draws import Key
from longtail.metrics import Outcomes, accuracy, balanced_accuracy
from longtail.models.classifier import Classifier
from longtail.moment import Mixed
from longtail.runs import Predictions, RunFolder
from longtail.samplers import LabelIndex
from longtail.training.engine import Engine
from longtail.training.log import StageLog, Turn
from longtail.training.stage import Stage, is_frozen
from longtail.watching import Watcher

Targets = Tensor | Mixed


@dataclass(frozen=True)
class Trainer:
    """What stays the same from stage to stage: engine, preprocessing, the folder to write to, who looks on."""

    engine: Engine
    preprocessing: Preprocessing
    folder: RunFolder
    workers: int
    watcher: Watcher

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
            classifier: what the stage before left.
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

        index = LabelIndex.of(part.labels, classifier.head.classes)
        loader = self._loader(part, stage)
        batch_size = min(stage.batch_size, len(part))
        steps = len(part) // batch_size  # every batch is whole: the left-over images come in another epoch
        positions = np.arange(steps * batch_size)

        with closing(loader), StageLog(self.folder, self.watcher, stage, turn, steps, batch_size) as log:
            for epoch in range(stage.epochs):
                here = key.at("epoch", epoch)
                order = stage.sampling.indices(index, here.at("order"), epoch, stage.epochs, positions)
                rate = _set_learning_rate(optimizer, stage, epoch)
                classifier.train()
                classifier.backbone.train(backbone_learns)

                for step, batch in enumerate(loader.batches(order, positions, here.at("augmentation"))):
                    place = here.at("step", step)
                    torch.manual_seed(place.value)  # dropout and the like
                    images = self.engine.images(self.preprocessing.normalise(batch.images))
                    images, targets = _mix(stage, "images", images, batch.labels.to(images.device), place)
                    with self.engine.autocast():
                        with torch.set_grad_enabled(backbone_learns):
                            features = classifier.backbone(images)
                        features, targets = _mix(stage, "features", features, targets, place)
                        scores = classifier.head(features)
                    classifier.head.observe(features.detach())
                    loss = objective(
                        scores,
                        targets,
                        features=features,
                        epoch=epoch,
                        draws=here.at("loss").draws(batch.positions.to(self.engine.device)),
                    )
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    log.step(epoch, step, loss.detach(), rate)

                if epoch == 0:
                    loader.decode_all()  # a broken image that no batch held shows now, not hours later
                log.end_epoch(epoch, rate, self._validate(classifier, validation))
        return classifier

    @torch.no_grad()
    def predict(self, classifier: Classifier, part: Part, name: str) -> Predictions:
        """Logits of all images of a part, in float32.

        Raises:
            UnreadableImages: an image cannot be decoded; the pass over all images is finished first.
        """
        classifier = self.engine.place(classifier).eval()
        loader = Loader(part, self.preprocessing, None, batch_size=256, workers=self.workers, watcher=self.watcher)
        logits = []
        with closing(loader), self.watcher.task(name, len(part), "images") as task:
            for batch in loader.batches():
                images = self.engine.images(self.preprocessing.normalise(batch.images))
                logits.append(classifier(images).float().cpu())
                task.advance(len(batch.labels))
        return Predictions(torch.cat(logits).numpy(), part.labels, part.identities)

    def _validate(self, classifier: Classifier, part: Part | None) -> dict[str, float]:
        if part is None:
            return {}
        predictions = replace(self, watcher=Watcher()).predict(classifier, part, "validating")
        outcomes = Outcomes.of(predictions.logits, predictions.labels)
        return {
            "validation_accuracy": accuracy(outcomes),
            "validation_balanced_accuracy": balanced_accuracy(outcomes),
        }

    def _loader(self, part: Part, stage: Stage) -> Loader:
        return Loader(
            part,
            self.preprocessing,
            stage.augmentation,
            batch_size=stage.batch_size,
            workers=self.workers,
            watcher=self.watcher,
        )


def _mix(stage: Stage, here: Place, samples: Tensor, targets: Targets, key: Key) -> tuple[Tensor, Targets]:
    """Samples and targets, mixed if this stage mixes this batch at this place."""
    if stage.mixing is None or isinstance(targets, Mixed) or stage.mixing.place(key) != here:
        return samples, targets
    return stage.mixing.mix(samples, targets, key)


def _set_learning_rate(optimizer: torch.optim.Optimizer, stage: Stage, epoch: int) -> float:
    """Set every group's rate for this epoch; returns the stage's own."""
    rate = stage.lr * stage.lr_schedule.at(epoch)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
