"""What most recipes begin with: the whole network trained with one loss."""

from __future__ import annotations

from functools import partial
from typing import Any

from longtail.data.mixing import mixup
from longtail.losses import Criterion
from longtail.models.heads import Cosine, Linear
from longtail.training.planning.settings import Setting
from longtail.training.stage import Recipe, Stage

DEFERRED = 0.8
"""Share of the epochs after which deferred re-weighting begins: 160 of 200, 80 of 100."""


def first_stage(setting: Setting, objective: Criterion, **changes: Any) -> Stage:
    """Training of the whole network with the numbers of the setting; `changes` are fields of `Stage`."""
    return Stage(
        name="training",
        objective=objective,
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        lr=setting.lr,
        lr_schedule=setting.decay(setting.epochs),
        optimizer=setting.optimizer,
        augmentation=setting.augmentation,
        **changes,
    )


def mixed_first_stage(setting: Setting, objective: Criterion) -> Stage:
    """The same with mixup."""
    return first_stage(setting, objective, mixing=mixup(setting.mixup))


def linear(*stages: Stage, balanced: bool = True) -> Recipe:
    """Stages on a linear head."""
    return Recipe(Linear, stages, balanced=balanced)


def cosine(scale: float, *stages: Stage, balanced: bool = True) -> Recipe:
    """Stages on a cosine head that predicts with the scale it was trained with."""
    return Recipe(partial(Cosine, scale=scale), stages, balanced=balanced)
