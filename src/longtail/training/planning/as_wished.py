"""What was asked for put in the place of what was chosen: in a setting, and in every stage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from longtail.errors import LongtailError
from longtail.training.planning.decays import DECAYS, Decay, StepsAt
from longtail.training.planning.settings import Setting
from longtail.training.planning.wishes import Wishes
from longtail.training.stage import Stage

FIELDS = ("epochs", "batch_size", "lr", "weight_decay")
"""Wishes that stand in a setting by the same name."""


def setting_as_wished(setting: Setting, wishes: Wishes, *, fine_tuning: bool = False) -> Setting:
    """The setting with the numbers, optimiser and schedule asked for.

    Args:
        setting: as it was chosen.
        wishes: of which those count that are given.
        fine_tuning: whether a trained backbone goes on learning, for which AdamW has another rate.

    Raises:
        LongtailError: the warm-up is longer than the training.
    """
    asked = [name for name in (*FIELDS, "optimizer", "schedule", "warm_up") if wishes.get(name) is not None]
    if not asked:
        return setting
    if wishes.get("optimizer") == "adamw":
        setting = setting.by_adamw(fine_tuning=fine_tuning)
    numbers: dict[str, Any] = {name: wishes[name] for name in FIELDS if name in asked}  # type: ignore[literal-required]
    setting = replace(setting, **numbers, source=f"{setting.source}; as asked: {', '.join(asked)}")
    return replace(setting, decay=_decay(setting, wishes))


def _decay(setting: Setting, wishes: Wishes) -> Decay:
    """The schedule asked for, with the setting's warm-up unless that was asked for too."""
    decay, name, epochs = setting.decay, wishes.get("schedule"), wishes.get("warm_up")
    if name is not None and not (name == "steps" and isinstance(decay, StepsAt)):
        decay = replace(DECAYS[name], warm_up=decay.warm_up)
    if epochs is None:
        return decay
    if epochs > setting.epochs:
        raise LongtailError(
            f"A warm-up of {epochs} epochs is longer than a training of {setting.epochs}; give a shorter --warm-up."
        )
    return replace(decay, warm_up=epochs / setting.epochs)


def stage_as_wished(stage: Stage, wishes: Wishes) -> Stage:
    """The stage with what is asked of every stage: clipping, pieces, an average, and the backbone's share of the rate.

    Raises:
        LongtailError: its batches cannot be taken in so many pieces.
    """
    share = wishes.get("backbone_lr") or 1.0
    return replace(
        stage,
        clip=wishes.get("clip") or stage.clip,
        accumulate=wishes.get("accumulate") or stage.accumulate,
        average=wishes.get("ema") or stage.average,
        learns={
            path: factor * share if path.partition(".")[0] == "backbone" else factor
            for path, factor in stage.learns.items()
        },
    )
