"""What a network makes of all images of a part, as they are: features and logits. Processes share the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from longtail.data.augmenting.augmentation import Augmentation
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.loader import Loader
from longtail.data.parts import Part
from longtail.device import in_parts_that_fit
from longtail.models.classifier import Classifier
from longtail.runs import Predictions
from longtail.training.engine import Engine
from longtail.training.evidence import Features
from longtail.training.loop.extraction import Extraction
from longtail.training.stage import is_frozen
from longtail.watching import Watcher
from longtail.world import World

BATCH_SIZE = 256


@dataclass(frozen=True)
class Inference:
    """Networks over parts, in float32; features of a frozen network are computed once where they are kept."""

    engine: Engine
    preprocessing: Preprocessing
    loader: Callable[[Part, Augmentation | None, int], Loader]
    watcher: Watcher
    world: World
    kept: Extraction | None

    @torch.no_grad()
    def features(self, backbone: nn.Module, part: Part) -> Features:
        """Features of all images of a part (kept ones as far as float16 holds them).

        Raises:
            UnreadableImages: an image cannot be decoded; the pass over all images is finished first.
        """
        labels = torch.from_numpy(part.labels).to(self.engine.device)
        if self.kept is not None:
            return Features(self.kept.plain(backbone, part).to(self.engine.device), labels)
        return Features(self._outputs(self.engine.place(backbone).eval(), part, "features"), labels)

    @torch.no_grad()
    def predict(self, classifier: Classifier, part: Part, name: str) -> Predictions:
        """Logits of all images of a part; `name` is what the work is called.

        Raises:
            UnreadableImages: an image cannot be decoded; the pass over all images is finished first.
        """
        classifier = self.engine.place(classifier).eval()
        if self.kept is not None and is_frozen(classifier.backbone):
            values = self.features(classifier.backbone, part).values
            logits = torch.cat([classifier.head.logits(some) for some in values.split(BATCH_SIZE)])
        else:
            logits = self._outputs(classifier, part, name)
        return Predictions(logits.float().cpu().numpy(), part.labels, part.identities)

    def _outputs(self, network: nn.Module, part: Part, name: str) -> Tensor:
        """Whole batches are dealt out, so that several processes give the numbers of one."""
        outputs = self.world.collected(self._batches(network, part, name), len(part), BATCH_SIZE)
        return outputs.to(self.engine.device)

    def _batches(self, network: nn.Module, part: Part, name: str) -> Iterator[Tensor]:
        loader = self.loader(part, None, BATCH_SIZE)
        own = self.world.dealt(len(part), BATCH_SIZE)
        with closing(loader), self.watcher.task(name, len(own), "images") as task:
            for batch in loader.batches(own):
                images = self.engine.images(self.preprocessing.normalise(batch.images))
                yield in_parts_that_fit(network, images)
                task.advance(len(batch.labels))
