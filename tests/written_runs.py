"""Run and study folders as training leaves them, small and without training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.counts import ClassCounts
from longtail.metrics import evaluate, summary
from longtail.runs import Predictions, RunFolder, StudyFolder

NAMES = ("cat", "dog", "fox", "lynx")
COUNTS = (500, 90, 60, 5)


def write_run(
    path: Path,
    *,
    names: Sequence[str] = NAMES,
    counts: Sequence[int] = COUNTS,
    recipe: str = "ce",
    seed: int = 0,
    tested: bool = True,
) -> RunFolder:
    """A run of one stage (`ce`) or two (every other recipe), tested on 20 images of each class."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    class_counts = ClassCounts(tuple(counts))
    labels = np.repeat(np.arange(len(names)), 20) if tested else np.zeros(0, dtype=np.int64)
    folder.write_config(config(names, class_counts, recipe, seed, len(labels)))
    folder.write_environment({"python": "3.12", "versions": {"torch": "2.15.0"}, "cores": 2})
    for number, stage in enumerate(folder.config["stages"], start=1):
        write_log(folder, number, stage["epochs"])
    if tested:
        logits = answers(labels, class_counts, recipe, seed)
        folder.write_predictions(Predictions(logits, labels, tuple(map(str, range(len(labels))))))
        measured = evaluate(logits, labels, class_counts, names)
        folder.write_metrics(measured | {"train_seconds": 75.0})
    return folder


def config(names: Sequence[str], counts: ClassCounts, recipe: str, seed: int, test_images: int) -> dict[str, Any]:
    stage = {"loss": "cross_entropy()", "sampling": "instance()", "mixing": None, "batch_size": 32, "lr": 0.1}
    stages = [{"name": "training", "epochs": 4, "learns": {"backbone": 1.0, "head": 1.0}, **stage}]
    if recipe != "ce":
        stages.append({"name": "classifier re-training", "epochs": 2, "learns": {"head": 1.0}, **stage})
    return {
        "recipe": recipe,
        "data": {
            "name": "pets",
            "kind": "photographs",
            "classes": list(names),
            "counts": list(counts.per_class),
            "imbalance_ratio": counts.ratio,
            "train_images": counts.total,
            "validation_images": 0,
            "test_images": test_images,
            "fingerprint": "0123456789abcdef" * 4,
            "notes": ["no validation part was asked for"],
        },
        "model": {"backbone": "resnet32", "weights": "none", "parameters": 464154, "image_size": [32, 32]},
        "setting": "GCL, CVPR 2022, section 4.2",
        "stages": stages,
        "seed": seed,
        "device": "cpu",
        "precision": "float32",
        "shot_borders": {"many_above": 100, "few_below": 20},
        "longtail": "0.1.0",
    }


def write_log(folder: RunFolder, stage: int, epochs: int) -> None:
    for epoch in range(epochs):
        loss, rate = math.exp(-epoch), 0.1 / (epoch + 1)
        steps = [
            {"stage": stage, "epoch": epoch, "step": step, "loss": loss + 0.01 * step, "lr": rate} for step in range(3)
        ]
        folder.add_steps(steps)
        speed = {"images_per_second": 1000.0, "seconds": 1.5}
        folder.add_epoch(
            {"stage": stage, "stages": 2, "epoch": epoch, "epochs": epochs, "loss": loss, "lr": rate} | speed
        )


def answers(labels: NDArray[np.int64], counts: ClassCounts, recipe: str, seed: int) -> NDArray[np.float32]:
    """Logits that know the frequent classes better, less so with a recipe other than ce."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(len(labels), len(counts)))
    known = np.log(np.array(counts.per_class)) / 2 + (0 if recipe == "ce" else 1)
    logits[np.arange(len(labels)), labels] += known[labels]
    small: NDArray[np.float32] = logits.astype(np.float32)
    return small


def write_study(
    path: Path,
    *,
    recipes: Sequence[str] = ("ce", "gcl"),
    seeds: Sequence[int] = (0,),
    names: Sequence[str] = NAMES,
    counts: Sequence[int] = COUNTS,
) -> StudyFolder:
    """A run of every recipe from every seed, beside one another."""
    rows = []
    for recipe in recipes:
        for seed in seeds:
            name = f"{recipe}-seed{seed}".replace("mine.py:own", "own")
            run = write_run(path / name, names=names, counts=counts, recipe=recipe, seed=seed)
            assert run.metrics
            rows.append({"recipe": recipe, "seed": seed, "run": name, **summary(run.metrics)})
    folder = StudyFolder(path)
    folder.write_comparison({"data": "pets", "recipes": list(recipes), "seeds": list(seeds), "rows": rows})
    return folder
