"""What a data set changes in a recipe: the numbers of the papers and of their code, which stand in published.toml.

Batch sizes, learning rates and the like hold on the named set itself; a method's own numbers also on other images of
its kind.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from longtail.data.parts import ImageSet
from longtail.samplers import BY_NAME
from longtail.training.planning.decays import HalfCosine, StepsAt
from longtail.training.planning.settings import Setting

Numbers = Literal["paper", "code"]

CIFAR = ("cifar10", "cifar100")
LARGE = ("imagenet-lt", "places-lt", "inaturalist2018")
SMALL_KIND_MANY_CLASSES = 20
"""Small images of more classes than this are likened to CIFAR-100, of fewer to CIFAR-10."""


@dataclass(frozen=True)
class Row:
    """Numbers of one recipe on some data sets."""

    recipes: tuple[str, ...]
    sets: tuple[str, ...]
    source: str
    method: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the recipe."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Setting`."""
    numbers: Numbers = "paper"
    ratio: float | None = None
    """Of several rows the one with the nearest imbalance ratio is taken."""

    def applied_to(self, setting: Setting) -> Setting:
        """The setting with what this row says of the training."""
        return replace(setting, **self.training, source=self.source) if self.training else setting


@cache
def rows() -> tuple[Row, ...]:
    """All that is published, as published.toml has it."""
    text = files("longtail.training.planning").joinpath("published.toml").read_text(encoding="utf-8")
    return tuple(_row(row) for row in tomllib.loads(text)["row"])


def _row(values: dict[str, Any]) -> Row:
    method, training = values.get("method", {}), values.get("training", {})
    if "retraining_sampling" in method:
        method["retraining_sampling"] = BY_NAME[method["retraining_sampling"]]()
    if "decay" in training:
        decay = training["decay"]
        training["decay"] = HalfCosine() if decay == "cosine" else StepsAt(**decay | {"shares": tuple(decay["shares"])})
    return Row(**values | {"recipes": tuple(values["recipes"]), "sets": tuple(values["sets"])})


def published(recipe: str, images: ImageSet, numbers: Numbers = "paper") -> Row:
    """What is published of a recipe for these images; an empty row where nothing is.

    Args:
        recipe: its name.
        images: a named set, or others, which are likened to one of their kind.
        numbers: "paper", or "code", which is the paper where the code is silent.
    """
    name = images.name if images.name in (*CIFAR, *LARGE) else ""
    fitting = [row for row in rows() if recipe in row.recipes and (name or _likened(images)) in row.sets]
    wished = [row for row in fitting if row.numbers == numbers] or [row for row in fitting if row.numbers == "paper"]
    if not wished:
        return Row((recipe,), (), "")
    # of rows as near as each other the last is taken: it is about fewer sets
    nearest = min(reversed(wished), key=lambda row: abs(math.log((row.ratio or 1) / images.counts.ratio)))
    return nearest if name else replace(nearest, training={})


def _likened(images: ImageSet) -> str:
    """The named set whose numbers other images get."""
    if images.kind == "photographs":
        return "imagenet-lt"
    return "cifar100" if len(images.classes) > SMALL_KIND_MANY_CLASSES else "cifar10"
