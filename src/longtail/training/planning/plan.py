"""What is chosen before training, each choice with its reason: backbone, weights, preprocessing, recipe, engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from longtail.counts import ShotBorders
from longtail.data.asked import Reading
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.holding import Loading
from longtail.data.loading.workers import worth_starting
from longtail.data.parts import ImageSet
from longtail.data.sources.forms import NAMED
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.models.backbones import (
    RESNET32,
    build_backbone,
    check_backbone,
    data_config,
    feature_size,
    load_file,
    load_pretrained,
)
from longtail.models.branches import branch
from longtail.models.classifier import Architecture, Classifier
from longtail.runs import recipe_name
from longtail.samplers import BY_NAME
from longtail.text import counted
from longtail.training.compiling import Work, with_compiling
from longtail.training.engine import Engine, choose_engine
from longtail.training.planning.as_wished import setting_as_wished, stage_as_wished
from longtail.training.planning.decays import HalfCosine
from longtail.training.planning.keeping import Keeping
from longtail.training.planning.published import published
from longtail.training.planning.settings import Setting, setting_for
from longtail.training.planning.wishes import Wishes, borders_of, folder_of
from longtail.training.recipes import find_recipe
from longtail.training.stage import Recipe, Stage

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
    keeping: Keeping
    seed: int
    wishes: Wishes
    """What was asked for."""
    rebalanced: str | None = None
    """What was re-balanced, where the recipe is a second stage alone."""

    @property
    def borders(self) -> ShotBorders:
        """Of the shot groups."""
        return borders_of(self.wishes) or self.images.counts.shot_borders()

    @property
    def workers(self) -> int:
        """Processes that decode; images that lie in memory need none."""
        wished = self.wishes.get("workers")
        if wished is not None:
            return wished
        return worth_starting() if self.images.kind == "photographs" else 0

    @property
    def loading(self) -> Loading:
        """Whether images are held in memory."""
        return self.wishes.get("loading") or "auto"

    @property
    def decoded(self) -> Path | None:
        """Folder of images kept decoded; None keeps none."""
        return folder_of(self.wishes.get("cache"))

    @property
    def asked(self) -> dict[str, Any] | None:
        """What opens the same images again: of a set that has a name that, and how it was cut down and divided.

        As JSON; None where it would take a path of this machine.
        """
        if self.images.name not in NAMED:
            return None
        told = Reading.__annotations__.keys() - {"data_root", "image_root", "cache"}
        reading = {name: value for name, value in self.wishes.items() if name in told}
        plain = {name: value for name, value in reading.items() if isinstance(value, float | int | str)}
        return {"data": self.images.name, "reading": plain}

    @property
    def prior(self) -> list[float]:
        """How often the trained classifier expects each class."""
        counts = self.images.counts
        if self.recipe.balanced:
            return [1 / len(counts)] * len(counts)
        return [count / counts.total for count in counts.per_class]

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
        if self.recipe.branching:
            backbone = branch(backbone, self.recipe.branching, trained=self.weights != "none")
        torch.manual_seed(Key.of_seed(self.seed).at("head").value)
        head = self.recipe.head(feature_size(backbone), len(self.images.classes))
        classifier = Classifier(backbone, head)
        architecture = Architecture(
            self.backbone, self.image_size, head.description(), self.images.classes, self.recipe.branching
        )
        return classifier, architecture

    def lines(self) -> list[str]:
        """The choices and their reasons, a line each."""
        setting, first = self.setting, self.recipe.stages[:1]
        steps = " + ".join(
            f"{counted(step.epochs, 'epoch')} of {step.name}" if isinstance(step, Stage) else step.name
            for step in self.recipe.steps
        )
        height, width = self.preprocessing.size
        return [
            f"Recipe {self.recipe_name}: {steps}; seed {self.seed}",
            f"Backbone {self.backbone}, weights {Path(self.weights).name}, images {width} x {height} pixels",
            *(f"Batch {stage.batch_size}, learning rate {stage.lr:g} ({setting.source})" for stage in first),
            f"Shot groups: many has more than {self.borders.many_above:.3g} training images, "
            f"few fewer than {self.borders.few_below:.3g}",
            f"Running on {self.engine.describe()}",
            *(f"Frozen backbone: {self.keeping.describe(stage)}" for stage in first if self.keeping.kept),
        ]


def make_plan(images: ImageSet, recipe: str, seed: int, wishes: Wishes) -> Plan:
    """Choose what the wishes leave open.

    Raises:
        LongtailError: a wish cannot be granted for these images.
    """
    weights = wishes.get("weights")
    setting = setting_for(images.name, images.kind, weights)
    backbone = wishes.get("backbone") or setting.backbone
    check_backbone(backbone)
    if weights is None:
        weights = "none" if backbone == RESNET32 else setting.weights
    name, freeze = recipe_name(recipe), wishes.get("freeze", False)
    row = published(name, images, wishes.get("numbers", "paper"))
    setting = _on_frozen_features(setting, str(weights)) if freeze else row.applied_to(setting)
    fine_tuning = weights != "none" and not freeze
    setting = setting_as_wished(setting.for_images(len(images.train)), wishes, fine_tuning=fine_tuning)
    way = find_recipe(recipe)(images.counts, setting, **row.method)
    if sampling := wishes.get("sampling"):
        way = way.sampled_by(BY_NAME[sampling](), name)
    if freeze:
        way = way.on_frozen_features(name)
    side = wishes.get("image_size")
    preprocessing = _preprocessing(images, backbone, side)
    engine = engine_for(setting, preprocessing, wishes)
    if seen := way.epochs_of_backbone * len(images.train):
        engine = with_compiling(
            engine,
            wishes.get("compile") or "auto",
            backbone,
            lambda: Work.of(build_backbone(backbone, side), preprocessing.size, seen),
        )
    return Plan(
        images=images,
        recipe_name=name,
        recipe=way.with_stages(partial(stage_as_wished, wishes=wishes)),
        setting=setting,
        backbone=backbone,
        weights=str(weights),
        image_size=side,
        preprocessing=preprocessing,
        engine=engine,
        keeping=Keeping.wished(wishes),
        seed=seed,
        wishes=wishes,
    )


def engine_for(setting: Setting, preprocessing: Preprocessing, wishes: Wishes) -> Engine:
    """The engine for batches of this size.

    Raises:
        LongtailError: there is no device as asked for.
    """
    height, width = preprocessing.size
    engine = choose_engine(wishes.get("device", "auto"), wishes.get("precision", "auto"))
    return engine.for_batches_of(setting.batch_size * height * width)


def _on_frozen_features(setting: Setting, weights: str) -> Setting:
    if weights == "none":
        raise LongtailError(
            "--freeze keeps the backbone as it is, which makes sense for trained weights: give --weights."
        )
    return replace(setting, source="a head on frozen features", lr=0.1, decay=HalfCosine())


def _preprocessing(images: ImageSet, backbone: str, side: int | None) -> Preprocessing:
    """Small images at their own size for CIFAR's network; any other backbone's own preprocessing."""
    if backbone != RESNET32:
        preprocessing = Preprocessing.of_timm(data_config(build_backbone(backbone, side)))
        return preprocessing if side is None else preprocessing.at(side)
    if images.size is not None and images.kind != "photographs":
        native = Preprocessing.native(images)
        return native if side is None else native.at(side)
    return Preprocessing((side or RESNET32_SIDE,) * 2)
