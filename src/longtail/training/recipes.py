"""Recipes: class counts and a setting in, a way to train out. Each public function is one recipe, by its name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from longtail import losses
from longtail.counts import ClassCounts
from longtail.data.mixing import mixup
from longtail.errors import LongtailError, unknown
from longtail.models.heads import Cosine, Linear
from longtail.samplers import cben
from longtail.schedules import CosineDecay
from longtail.training.settings import Setting
from longtail.training.stage import HEAD_ALONE, OptimizerFunction, Recipe, Stage

RecipeFunction = Callable[[ClassCounts, Setting], Recipe]


def ce(counts: ClassCounts, setting: Setting) -> Recipe:
    """Cross-entropy on all images as they come: what one would do without knowing of the long tail.

    One stage: linear head, every image once an epoch, no mixing. The baseline of all four papers.
    """
    return Recipe(head=Linear, stages=(first_stage(setting, losses.cross_entropy()),))


def gcl(counts: ClassCounts, setting: Setting) -> Recipe:
    """Gaussian clouded logits, then classifier re-training with CBEN sampling.

    Li, Cheung and Lu, "Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment", CVPR 2022, Algorithm 1.

    Stage one trains the whole network with the GCL loss (scale 30) on a cosine head, with mixup, every image once an
    epoch. Stage two keeps the backbone and goes on with the classifier, on images sampled by class-based effective
    numbers (CBEN, equations 13 and 14). How long it is, and whether it mixes, follows from the images.

    Where the paper is silent on stage two, its published code speaks: the classifier starts from stage one, learning
    rate 0.002 by half a cosine, scale 20, amplitude 0.5, target margin 0.1, focal factor 1, mixup. (The code samples by
    inverse counts by default, and its stage one has amplitude 0.5 and batches of 64; the paper's are used here.)
    """
    epochs = max(1, round(setting.retraining * setting.epochs))
    representation = first_stage(setting, losses.gcl(counts), mixing=mixup(setting.mixup))
    classifier = Stage(
        name="classifier re-training",
        objective=losses.gcl(
            counts, scale=20, amplitude=0.5, target_margin=0.1, focus=losses.Focus(1.0, detached=True)
        ),
        epochs=epochs,
        batch_size=setting.batch_size,
        lr=0.002,
        lr_schedule=CosineDecay(epochs),
        optimizer=_sgd(setting),
        sampling=cben(),
        mixing=mixup(setting.retraining_mixup) if setting.retraining_mixup else None,
        augmentation=setting.augmentation,
        learns=HEAD_ALONE,
    )
    return Recipe(head=partial(Cosine, scale=30.0), stages=(representation, classifier))


def first_stage(setting: Setting, objective: losses.Criterion, **changes: Any) -> Stage:
    """Training of the whole network with the numbers of the setting; `changes` are fields of `Stage`."""
    return Stage(
        name="training",
        objective=objective,
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        lr=setting.lr,
        lr_schedule=setting.decay(setting.epochs),
        optimizer=_sgd(setting),
        augmentation=setting.augmentation,
        **changes,
    )


def recipe_name(asked: str) -> str:
    """What a recipe is called in folders, tables and pages: of one's own, the function.

    >>> recipe_name("gcl"), recipe_name("mine/new.py:angular")
    ('gcl', 'angular')
    """
    return asked.rpartition(":")[2]


def find_recipe(name: str) -> RecipeFunction:
    """A recipe by its name here, or one's own as `FILE.py:function`.

    Raises:
        LongtailError: there is no such recipe, file or function.
    """
    if ":" in name:
        return _own_recipe(name)
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


RECIPES: dict[str, RecipeFunction] = {recipe.__name__: recipe for recipe in (ce, gcl)}


def _sgd(setting: Setting) -> OptimizerFunction:
    return partial(torch.optim.SGD, momentum=0.9, weight_decay=setting.weight_decay)


def _own_recipe(name: str) -> RecipeFunction:
    """The function of a user's own file, which is run: it is code that she wrote or chose."""
    from importlib.util import module_from_spec, spec_from_file_location

    file, _, function = name.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise LongtailError(f"There is no file {file!r} for the recipe {name!r}; write it as FILE.py:function.")
    spec = spec_from_file_location(f"_own_recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise LongtailError(f"{file!r} is not a Python file; write the recipe as FILE.py:function.")
    module = module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses in the file look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever stands in the file
        raise LongtailError(f"{file!r} cannot be run as a recipe: {type(error).__name__}: {error}.") from error
    recipe = getattr(module, function, None)
    if not callable(recipe):
        raise LongtailError(f"{file!r} has no function {function!r}; a recipe takes (counts, setting).")
    return recipe  # type: ignore[no-any-return]
