"""The run folder: one trained model and all that is needed to know what happened and to use it.

The only file that knows file names on disk. No user name, host name or absolute path is ever written.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.errors import LongtailError

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
        return _read_lines(path) if path.exists() else []

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
        _write_json(self.path / "config.json", config)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write versions and hardware."""
        _write_json(self.path / "environment.json", environment)

    def write_model(self, model: Mapping[str, Any]) -> None:
        """Write architecture, classes and preprocessing."""
        _write_json(self.path / "model.json", model)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the metrics of the test part."""
        _write_json(self.path / "metrics.json", metrics)

    def write_before(self, metrics: Mapping[str, Any]) -> None:
        """Write the metrics of the classifier that is going to be re-balanced."""
        _write_json(self.path / "before.json", metrics)

    def write_split(self, rows: Iterable[tuple[str, int, str, str]]) -> None:
        """Write one row an image: part, label, class, identity."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(SPLIT_COLUMNS)
        writer.writerows(rows)
        write_whole(self.path / "split.csv", text.getvalue().encode())

    def write_predictions(self, predictions: Predictions) -> None:
        """Write logits, labels and identities of the test part."""
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {"logits": predictions.logits, "labels": predictions.labels}
        content = save(arrays, metadata={"identities": json.dumps(predictions.identities)})
        write_whole(self.path / "test_predictions.safetensors", content)

    def start_logs(self) -> None:
        """Make the logs of steps and epochs, which stay empty where nothing is trained by gradient."""
        self.add_steps(())
        _append_lines(self.path / "epochs.jsonl", ())

    def add_steps(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append records of training steps."""
        _append_lines(self.path / "steps.jsonl", records)

    def add_choice(self, record: Mapping[str, Any]) -> None:
        """Append what was chosen, and why."""
        _append_lines(self.path / "choices.jsonl", [record])

    def add_epoch(self, record: Mapping[str, Any]) -> None:
        """Append the record of an epoch."""
        _append_lines(self.path / "epochs.jsonl", [record])


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
        _write_json(self.path / "comparison.json", comparison)


def free_name(parent: Path, name: str) -> Path:
    """`parent/name`, or with the first free number behind it."""
    path = parent / name
    number = 2
    while path.exists():
        path = parent / f"{name}-{number}"
        number += 1
    return path


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that did not exist before, and will not afterwards if the work inside it fails.

    Raises LongtailError if `path` exists, or cannot be made.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise LongtailError(f"{path} exists already; give another --out, or remove it.") from None
    except OSError as error:
        raise LongtailError(f"Cannot make the folder {path}: {error.strerror}; give another --out.") from None
    try:
        yield path
    except BaseException:
        rmtree(path, ignore_errors=True)
        for folder in missing:
            _remove_if_empty(folder)
        raise


@contextmanager
def new_study(path: Path) -> Iterator[StudyFolder]:
    """A study that did not exist before; where the work inside fails, its finished runs stay, or nothing does.

    Raises LongtailError if `path` exists.
    """
    if path.exists():
        raise LongtailError(f"{path} exists already; give another --out, or remove it.")
    try:
        yield StudyFolder(path)
    except BaseException:
        if path.is_dir() and not any(RunFolder(run).weights.exists() for run in path.iterdir()):
            rmtree(path, ignore_errors=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    draft = path.with_name(path.name + ".draft")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _read_json(path: Path) -> dict[str, Any]:
    content = json.loads(_read(path))
    if not isinstance(content, dict):
        raise LongtailError(f"{path} does not hold a JSON object; it was not written by longtail.")
    return content


def _append_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record, allow_nan=False) + "\n" for record in records)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _read(path).splitlines()]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LongtailError(f"{path} is missing; is {path.parent} a finished run of longtail?") from None
