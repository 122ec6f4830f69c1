"""What a run writes down about itself before it starts. No user name, host name or absolute path."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from longtail.data.parts import ImageSet
from longtail.models.classifier import Classifier
from longtail.runs import RunFolder
from longtail.training.planning.plan import Plan

LIBRARIES = ("longtail", "torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn")


def record(folder: RunFolder, plan: Plan, classifier: Classifier) -> None:
    """Write configuration, environment and split."""
    folder.write_config(configuration(plan, classifier))
    folder.write_environment(environment(plan))
    folder.write_split(split_rows(plan.images))


def configuration(plan: Plan, classifier: Classifier) -> dict[str, Any]:
    """What was asked for and chosen, as JSON."""
    images = plan.images
    sizes = {f"{name}_images": len(part) for name, part in images.parts.items()}
    before = images.counts_before_split
    return {
        "longtail": version("longtail"),
        "recipe": plan.recipe_name,
        "rebalanced": plan.rebalanced,
        "seed": plan.seed,
        "device": plan.engine.device.type,
        "precision": plan.engine.precision_name,
        "engine": plan.engine.description(),
        "data": {
            "name": images.name,
            "kind": images.kind,
            "asked": plan.asked,
            "classes": list(images.classes),
            "counts": list(images.counts.per_class),
            "background": images.background,
            "counts_before_split": list(before.per_class) if before else None,
            "imbalance_ratio": images.counts.ratio,
            "train_images": 0,
            "validation_images": 0,
            "test_images": 0,
            **sizes,
            "fingerprint": images.fingerprint(),
            "notes": list(images.notes),
        },
        "model": {
            "backbone": plan.backbone,
            "weights": Path(plan.weights).name,
            "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
            "image_size": list(plan.preprocessing.size),
        },
        "setting": plan.setting.source,
        "steps": [step.name for step in plan.recipe.steps],
        "stages": [stage.description() for stage in plan.recipe.stages],
        "frozen_backbone": [plan.keeping.describe(stage) for stage in plan.recipe.stages[-1:]],
        "shot_borders": {"many_above": plan.borders.many_above, "few_below": plan.borders.few_below},
    }


def environment(plan: Plan) -> dict[str, Any]:
    """Versions and hardware, as JSON."""
    gpu = torch.cuda.get_device_name(plan.engine.device) if plan.engine.device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": str(torch.backends.cpu.get_cpu_capability()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "versions": {library: version(library) for library in LIBRARIES},
    }


def split_rows(images: ImageSet) -> Iterator[tuple[str, int, str, str]]:
    """One row an image: part, label, class, identity."""
    for name, part in images.parts.items():
        for label, identity in zip(part.labels.tolist(), part.identities, strict=True):
            yield name, label, images.classes[label], identity
