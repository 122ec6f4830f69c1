"""What is chosen before training, each choice with its reason: backbone, weights, preprocessing, recipe, engine."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from longtail.counts import ShotBorders
from longtail.data.parts import ImageSet
from longtail.data.preprocessing import Preprocessing
from longtail.draws import Key
from longtail.models.backbones import (
    RESNET32,
    build_backbone,
    check_backbone,
    data_config,
    feature_size,
    load_file,
    load_pretrained,
)
from longtail.models.classifier import Architecture, Classifier
from longtail.text import counted
from longtail.training.engine import Engine, choose_engine
from longtail.training.recipes import find_recipe, recipe_name
from longtail.training.settings import Setting, setting_for
from longtail.training.stage import Recipe
from longtail.training.wishes import Wishes, borders_of

RESNET32_SIDE = 32  # pixels that photographs are brought to for CIFAR's network, unless --image-size says otherwise


@dataclass(frozen=True)
class Plan:
    """Everything that a run does, before it does it."""

    images: ImageSet
    recipe_name: str
    recipe: Recipe
    setting: Setting
    backbone: str
    weights: str
    image_size: int | None
    preprocessing: Preprocessing
    engine: Engine
    borders: ShotBorders
    workers: int
    seed: int

    def start(self) -> tuple[Classifier, Architecture]:
        """The classifier before its first step; two recipes start from the same backbone if they have the same seed.

        Raises:
            LongtailError: the weights cannot be had.
        """
        torch.manual_seed(Key.of_seed(self.seed).at("backbone").value)
        backbone = build_backbone(self.backbone, self.image_size)
        if self.weights == "pretrained":
            load_pretrained(self.backbone, backbone)
        elif self.weights != "none":
            load_file(backbone, Path(self.weights))
        torch.manual_seed(Key.of_seed(self.seed).at("head").value)
        head = self.recipe.head(feature_size(backbone), len(self.images.classes))
        classifier = Classifier(backbone, head)
        architecture = Architecture(self.backbone, self.image_size, head.description(), self.images.classes)
        return classifier, architecture

    def lines(self) -> list[str]:
        """The choices and their reasons, a line each."""
        setting = self.setting
        first = self.recipe.stages[0]
        stages = " + ".join(f"{counted(stage.epochs, 'epoch')} of {stage.name}" for stage in self.recipe.stages)
        height, width = self.preprocessing.size
        return [
            f"Recipe {self.recipe_name}: {stages}; seed {self.seed}",
            f"Backbone {self.backbone}, weights {Path(self.weights).name}, images {width} x {height} pixels",
            f"Batch {first.batch_size}, learning rate {first.lr:g} ({setting.source})",
            f"Shot groups: many has more than {self.borders.many_above:.3g} training images, "
            f"few fewer than {self.borders.few_below:.3g}",
            f"Running on {self.engine.describe()}",
        ]


def make_plan(images: ImageSet, recipe: str, seed: int, wishes: Wishes) -> Plan:
    """Choose what the wishes leave open.

    Raises:
        LongtailError: a wish cannot be granted for these images.
    """
    weights = wishes.get("weights")
    setting = setting_for(images.kind, weights)
    backbone = wishes.get("backbone") or setting.backbone
    check_backbone(backbone)
    if weights is None:
        weights = "none" if backbone == RESNET32 else setting.weights
    setting = _as_wished(setting.for_images(len(images.train)), wishes)
    side = wishes.get("image_size")
    preprocessing = _preprocessing(images, backbone, side)
    height, width = preprocessing.size
    return Plan(
        images=images,
        recipe_name=recipe_name(recipe),
        recipe=find_recipe(recipe)(images.counts, setting),
        setting=setting,
        backbone=backbone,
        weights=str(weights),
        image_size=side,
        preprocessing=preprocessing,
        engine=choose_engine(wishes.get("device", "auto")).for_batches_of(setting.batch_size * height * width),
        borders=borders_of(wishes) or images.counts.shot_borders(),
        workers=_workers(images, wishes.get("workers")),
        seed=seed,
    )


def _as_wished(setting: Setting, wishes: Wishes) -> Setting:
    changes: dict[str, Any] = {}
    for name in ("epochs", "batch_size", "lr"):
        if wishes.get(name) is not None:
            changes[name] = wishes[name]
    if changes:
        changes["source"] = f"{setting.source}; as asked: {', '.join(changes)}"
    return replace(setting, **changes)


def _preprocessing(images: ImageSet, backbone: str, side: int | None) -> Preprocessing:
    """Small images at their own size for CIFAR's network; any other backbone's own preprocessing."""
    if backbone != RESNET32:
        preprocessing = Preprocessing.of_timm(data_config(build_backbone(backbone, side)))
        return preprocessing if side is None else preprocessing.at(side)
    if images.size is not None and images.kind != "photographs":
        native = Preprocessing.native(images)
        return native if side is None else native.at(side)
    return Preprocessing((side or RESNET32_SIDE,) * 2)


def _workers(images: ImageSet, wished: int | None) -> int:
    """Processes that decode; images that lie in memory need none."""
    if wished is not None:
        return wished
    return min(8, os.cpu_count() or 1) if images.kind == "photographs" else 0
