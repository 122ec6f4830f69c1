"""The run folder: one trained model and all that is needed to know what happened and to use it.

The only file that knows file names on disk. No user name, host name or absolute path is ever written.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.errors import LongtailError
from longtail.files import synced_length, write_behind, write_whole
from longtail.text import plain

LOGS = ("steps.jsonl", "epochs.jsonl", "choices.jsonl")
SPLIT_COLUMNS = ("part", "label", "class", "identity")


@dataclass(frozen=True)
class Predictions:
    """What a classifier said about the images of a part, in their order: N images, C classes."""

    logits: NDArray[np.float32]  # (N, C)
    labels: NDArray[np.int64]  # (N,)
    identities: tuple[str, ...]


@dataclass(frozen=True)
class RunFolder:
    """The files of one run. Readers return what was written; a missing file is a LongtailError that names it."""

    path: Path

    @property
    def config(self) -> dict[str, Any]:
        """What was asked for and what was chosen: recipe, data, model, stages, seed."""
        return _read_json(self.path / "config.json")

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware."""
        return _read_json(self.path / "environment.json")

    @property
    def model(self) -> dict[str, Any]:
        """Architecture, classes and preprocessing: what `weights` belong to."""
        return _read_json(self.path / "model.json")

    @property
    def weights(self) -> Path:
        """Where the weights are, as safetensors."""
        return self.path / "model.safetensors"

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Metrics of the test part; None if the data had none."""
        path = self.path / "metrics.json"
        return _read_json(path) if path.exists() else None

    @property
    def before(self) -> dict[str, Any] | None:
        """Metrics of the classifier that was re-balanced; None for any other run."""
        path = self.path / "before.json"
        return _read_json(path) if path.exists() else None

    @property
    def non_finite(self) -> dict[str, Any] | None:
        """Which step's loss was no finite number, and on which images; None if that never happened."""
        path = self.path / "non_finite.json"
        return _read_json(path) if path.exists() else None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """One record a training step: stage, epoch, step, loss, learning rate."""
        return _read_lines(self.path / "steps.jsonl")

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """One record an epoch: stage, mean loss, learning rate, images per second, seconds."""
        return _read_lines(self.path / "epochs.jsonl")

    @property
    def choices(self) -> list[dict[str, Any]]:
        """One record a number that was chosen on validation images, or by theory; none where nothing was to choose."""
        path = self.path / "choices.jsonl"
        return _read_lines(path) if path.exists() else []  # runs of earlier versions may have none

    @property
    def features(self) -> Path:
        """Where cached features are, unless asked otherwise."""
        return self.path / "features"

    @property
    def split(self) -> list[dict[str, str]]:
        """One row an image: part, label, class, identity."""
        return list(csv.DictReader(io.StringIO((self.path / "split.csv").read_text(encoding="utf-8"))))

    @property
    def predictions(self) -> Predictions | None:
        """Logits, labels and identities of the test part; None if the data had none."""
        from safetensors import safe_open

        path = self.path / "test_predictions.safetensors"
        if not path.exists():
            return None
        with safe_open(path, framework="numpy") as file:
            identities = tuple(json.loads(file.metadata()["identities"]))
            return Predictions(file.get_tensor("logits"), file.get_tensor("labels"), identities)

    @property
    def page(self) -> Path:
        """Where the report is."""
        return self.path / "report.html"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write what was asked for and chosen."""
        self._put_json("config.json", config)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write versions and hardware."""
        self._put_json("environment.json", environment)

    def write_model(self, model: Mapping[str, Any]) -> None:
        """Write architecture, classes and preprocessing."""
        self._put_json("model.json", model)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the metrics of the test part."""
        self._put_json("metrics.json", metrics)

    def write_before(self, metrics: Mapping[str, Any]) -> None:
        """Write the metrics of the classifier that is going to be re-balanced."""
        self._put_json("before.json", metrics)

    def write_non_finite(self, record: Mapping[str, Any]) -> Path:
        """Write which step's loss was no finite number, and on which images; returns where that stands."""
        self._put_json("non_finite.json", record)
        return self.path / "non_finite.json"

    def write_split(self, rows: Iterable[tuple[str, int, str, str]]) -> None:
        """Write one row an image: part, label, class, identity."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(SPLIT_COLUMNS)
        writer.writerows(rows)
        self.put("split.csv", text.getvalue().encode())

    def write_weights(self, content: bytes) -> None:
        """Write the weights, as the content of a safetensors file."""
        self.put(self.weights.name, content)

    def write_predictions(self, predictions: Predictions) -> None:
        """Write logits, labels and identities of the test part."""
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {"logits": predictions.logits, "labels": predictions.labels}
        content = save(arrays, metadata={"identities": json.dumps(predictions.identities)})
        self.put("test_predictions.safetensors", content)

    @property
    def log_lengths(self) -> dict[str, int]:
        """The logs' lengths in bytes, as they are on the disk."""
        return {name: synced_length(self.path / name) for name in LOGS}

    def cut_logs(self, lengths: Mapping[str, int]) -> None:
        """Put the logs back to these lengths in bytes; 0 makes a log, which stays empty where nothing is to tell.

        Raises:
            LongtailError: a log is shorter: somebody else has changed it.
        """
        for name in LOGS:
            path, length = self.path / name, lengths.get(name, 0)
            if length and (not path.exists() or path.stat().st_size < length):
                raise LongtailError(f"{path} has lost lines since the last checkpoint; restore it to go on.")
            write_behind(path, length, b"")

    def put(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        write_whole(self.path / name, content)

    def _put_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.put(name, _as_json(content))

    def _add(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record, allow_nan=False) + "\n" for record in records)

    def add_steps(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append records of training steps."""
        self._add("steps.jsonl", records)

    def add_choice(self, record: Mapping[str, Any]) -> None:
        """Append what was chosen, and why."""
        self._add("choices.jsonl", [record])

    def add_epoch(self, record: Mapping[str, Any]) -> None:
        """Append the record of an epoch."""
        self._add("epochs.jsonl", [record])


class ReadOnlyRunFolder(RunFolder):
    """The files of a run that another process writes."""

    def put(self, name: str, content: bytes) -> None:
        """Write nothing."""

    def cut_logs(self, lengths: Mapping[str, int]) -> None:
        """Cut nothing."""

    def _add(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Add nothing."""


@dataclass(frozen=True)
class StudyFolder:
    """The files of a comparison: run folders side by side, and what they say together."""

    path: Path

    @property
    def comparison(self) -> dict[str, Any]:
        """Recipes, seeds, and one row of metrics a run."""
        return _read_json(self.path / "comparison.json")

    @property
    def page(self) -> Path:
        """Where the report is."""
        return self.path / "report.html"

    @property
    def features(self) -> Path:
        """Where the runs keep features together, unless asked otherwise."""
        return self.path / "features"

    def run(self, recipe: str, seed: int) -> RunFolder:
        """The folder of one run of the study."""
        return RunFolder(self.path / f"{recipe}-seed{seed}")

    def write_comparison(self, comparison: Mapping[str, Any]) -> None:
        """Write recipes, seeds and rows."""
        write_whole(self.path / "comparison.json", _as_json(comparison))


def recipe_name(asked: str) -> str:
    """What a recipe is called in folders, tables and pages: of one's own, the function.

    >>> recipe_name("gcl"), recipe_name("mine/new.py:angular")
    ('gcl', 'angular')
    """
    return asked.rpartition(":")[2]


def data_name(data: str | Path | None) -> str:
    """What images are called in the name of a folder.

    >>> data_name(None), data_name("photos/"), data_name("somebody/birds")
    ('digits', 'photos', 'birds')
    """
    if data is None:
        return "digits"
    return plain(Path(str(data)).resolve().name) or "data"


def free_name(parent: Path, name: str) -> Path:
    """`parent/name`, or with the first free number behind it."""
    path = parent / name
    number = 2
    while path.exists():
        path = parent / f"{name}-{number}"
        number += 1
    return path


def _as_json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_json(path: Path) -> dict[str, Any]:
    content = json.loads(_read(path))
    if not isinstance(content, dict):
        raise LongtailError(f"{path} does not hold a JSON object; it was not written by longtail.")
    return content


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _read(path).splitlines()]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LongtailError(f"{path} is missing; is {path.parent} a finished run of longtail?") from None
