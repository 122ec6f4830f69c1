"""Runs as the report reads them: every file once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.counts import ClassCounts, ShotBorders, ShotGroup
from longtail.errors import LongtailError
from longtail.metrics import Calibration, Outcomes, calibration
from longtail.runs import Predictions, RunFolder, StudyFolder


@dataclass(frozen=True)
class RunRecord:
    """One run: what was asked for, what happened, what came out."""

    folder: str  # name alone, so that no path of the machine reaches the page
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    epochs: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    metrics: Mapping[str, Any] | None  # None: the data had no test part
    calibration: Calibration | None
    before: Mapping[str, Any] | None = None  # metrics of the classifier that was re-balanced

    @classmethod
    def read(cls, folder: RunFolder) -> RunRecord:
        """Read a run folder.

        Raises:
            LongtailError: A file is missing.
        """
        return cls(
            folder=folder.path.name,
            config=folder.config,
            environment=folder.environment,
            epochs=folder.epochs,
            steps=folder.steps,
            metrics=folder.metrics,
            calibration=_calibration(folder.predictions),
            before=folder.before,
        )

    @property
    def as_it_came(self) -> RunRecord | None:
        """The classifier that was re-balanced, as a run like this one; None where nothing was."""
        if self.before is None:
            return None
        return replace(self, config={**self.config, "recipe": "before"}, metrics=self.before, before=None)

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return str(self.config["recipe"])

    @property
    def seed(self) -> int:
        """Of everything random."""
        return int(self.config["seed"])

    @property
    def data(self) -> Mapping[str, Any]:
        """What it was trained on."""
        data: Mapping[str, Any] = self.config["data"]
        return data

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the class indices."""
        return tuple(self.data["classes"])

    @property
    def counts(self) -> ClassCounts:
        """Training images per class."""
        return ClassCounts(tuple(self.data["counts"]))

    @property
    def borders(self) -> ShotBorders:
        """Of the shot groups."""
        return ShotBorders(**self.config["shot_borders"])

    @property
    def groups(self) -> tuple[ShotGroup, ...]:
        """Shot group of every class."""
        return self.counts.shot_groups(self.borders)

    @property
    def background(self) -> str | None:
        """The class that is left out of the averages."""
        return self.data.get("background")

    def classes_of(self, group: ShotGroup) -> int:
        """How many classes the mean of a shot group is over."""
        pairs = zip(self.groups, self.classes, strict=True)
        return sum(each == group and name != self.background for each, name in pairs)

    @property
    def class_accuracy(self) -> NDArray[np.float64]:
        """Of every class, (C,), NaN where it was not measured."""
        if self.metrics is None:
            return np.full(len(self.classes), np.nan)
        shares = [row["accuracy"] for row in self.metrics["per_class"]]
        return np.array(shares, dtype=np.float64)  # None becomes NaN


@dataclass(frozen=True)
class StudyRecord:
    """Runs of several recipes on the same split, in the study's order; the first recipe is the baseline."""

    runs: tuple[RunRecord, ...]

    @classmethod
    def read(cls, folder: StudyFolder) -> StudyRecord:
        """Read a study and its run folders.

        Raises:
            LongtailError: The study holds no run, or a file is missing.
        """
        rows = folder.comparison["rows"]
        if not rows:
            raise LongtailError(f"{folder.path} holds no run; compare at least one recipe.")
        return cls(tuple(RunRecord.read(RunFolder(folder.path / Path(row["run"]).name)) for row in rows))

    @property
    def recipes(self) -> tuple[str, ...]:
        """Names, the baseline first."""
        return tuple(dict.fromkeys(run.recipe for run in self.runs))

    @property
    def seeds(self) -> tuple[int, ...]:
        """In the order of the study."""
        return tuple(dict.fromkeys(run.seed for run in self.runs))

    def of(self, recipe: str) -> tuple[RunRecord, ...]:
        """The runs of one recipe."""
        return tuple(run for run in self.runs if run.recipe == recipe)

    def class_accuracy(self, recipe: str) -> NDArray[np.float64]:
        """Of every class, mean over the seeds, (C,), NaN where it was not measured."""
        mean: NDArray[np.float64] = np.mean([run.class_accuracy for run in self.of(recipe)], axis=0)
        return mean


def _calibration(predictions: Predictions | None) -> Calibration | None:
    return calibration(Outcomes.of(predictions.logits, predictions.labels)) if predictions else None
