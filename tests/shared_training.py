"""A whole stage, trained by the processes of a test or by one alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from longtail import losses
from longtail.data.augmenting.augmentation import CropFlip
from longtail.data.mixing import mixup
from longtail.data.sources.digits import digits
from longtail.draws import Key
from longtail.models.classifier import Classifier
from longtail.models.heads import Linear
from longtail.models.sync_batch_norm import synchronised
from longtail.training.loop.log import Turn
from longtail.training.stage import WHOLE_NETWORK
from longtail.world import ALONE, World
from tiny_training import Counting, stage, trainer


def trained(world: World, folder: Path, accumulate: int, sync_bn: bool) -> dict[str, Tensor]:
    """Weights, and the logits of the test images: of all processes together, and of this one alone."""
    torch.manual_seed(0)
    backbone = synchronised(Counting(), world) if sync_bn else Counting()
    data = digits()
    assert data.test is not None
    counts = torch.bincount(torch.from_numpy(data.train.labels), minlength=10)
    what = stage(
        losses.seesaw(counts),
        batch_size=50,
        learns=WHOLE_NETWORK,
        augmentation=CropFlip(padding=1),
        mixing=mixup(),
        accumulate=accumulate,
    )
    together = replace(trainer(folder / str(world.rank)), world=world)
    learnt = together.fit(Classifier(backbone, Linear(8, 10)), what, data.train, Turn(1, 1, 1), Key.of_seed(0))
    world.follow_first(learnt.buffers())
    return {
        **learnt.state_dict(),
        "logits": torch.from_numpy(together.inference.predict(learnt, data.test, "together").logits),
        "logits alone": torch.from_numpy(
            replace(together, world=ALONE).inference.predict(learnt, data.test, "alone").logits
        ),
    }
