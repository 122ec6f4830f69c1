"""How a model was made, as rows of a name and a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from longtail.report.records import RunRecord
from longtail.report.tables import Cell, Column, Table
from longtail.report.words import named
from longtail.text import counted, duration

Facts = list[tuple[str, str]]
_STAGE = {
    "name": "Stage",
    "epochs": "Epochs",
    "loss": "Loss",
    "sampling": "Sampling",
    "mixing": "Mixing",
    "augmentation": "Augmentation",
    "batch_size": "Batch",
    "lr": "Learning rate",
    "optimizer": "Optimizer",
    "learns": "Learns",
}
_LONGEST = 600


def made_of(runs: Sequence[RunRecord]) -> dict[str, Facts]:
    """Data, model, hardware and versions of runs on the same split."""
    run = runs[0]
    return {"Data": _data(run), "Model": _model(runs), "Hardware and versions": _surroundings(run)}


def stages_table(run: RunRecord) -> Table:
    """A row a fact, a column a stage."""
    stages = run.config["stages"]
    columns = [Column(_STAGE["name"], numeric=False)]
    columns += [Column(named(stage["name"]), numeric=False) for stage in stages]
    rows = [
        (Cell(label), *(Cell(_words(stage.get(key))) for stage in stages))
        for key, label in _STAGE.items()
        if key != "name" and any(stage.get(key) is not None for stage in stages)
    ]
    return Table(tuple(columns), tuple(rows), ())


def _data(run: RunRecord) -> Facts:
    data = run.data
    return [
        ("Name", named(data["name"])),
        ("Classes", f"{len(run.classes):,}"),
        ("Training images", f"{data['train_images']:,}"),
        ("Validation images", f"{data['validation_images']:,}"),
        ("Test images", f"{data['test_images']:,}"),
        ("Largest to smallest class", f"{run.counts.largest:,} to {run.counts.smallest:,}"),
        ("Split", named(data["fingerprint"][:12])),
    ]


def _model(runs: Sequence[RunRecord]) -> Facts:
    run = runs[0]
    model = run.config["model"]
    counts = dict.fromkeys(f"{each.config['model']['parameters']:,}" for each in runs)
    size = model["image_size"]
    epochs = [record for each in runs for record in each.epochs]
    return [
        ("Backbone", named(model["backbone"])),
        ("Weights to begin with", named(str(model["weights"]))),
        ("Parameters", " or ".join(counts)),
        ("Image size", " \N{MULTIPLICATION SIGN} ".join(map(str, size)) if isinstance(size, list) else str(size)),
        ("Settings from", named(run.config["setting"], _LONGEST)),
        ("Seeds", ", ".join(map(str, sorted({each.seed for each in runs})))),
        *(_training(epochs, len(runs)) if epochs else ()),
    ]


def _training(epochs: Sequence[Mapping[str, Any]], runs: int) -> Facts:
    return [
        ("Model kept", "the last epoch's"),
        (f"Training of {counted(runs, 'run')}", duration(sum(record["seconds"] for record in epochs))),
        ("Images a second", f"{median(record['images_per_second'] for record in epochs):,.0f}"),
    ]


def _surroundings(run: RunRecord) -> Facts:
    facts = [
        ("longtail", named(run.config["longtail"])),
        ("device", named(run.config["device"])),
        ("precision", named(run.config["precision"])),
    ]
    known = {name for name, _ in facts}
    facts += [(named(name), named(value)) for name, value in _flat(run.environment) if name not in known]
    return facts


def _flat(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of nested facts, each under its innermost name."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        elif value is not None:
            yield name.replace("_", " "), _words(value)


def _words(value: Any) -> str:
    """A value of the configuration on one line."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return named(", ".join(f"{key} \N{MULTIPLICATION SIGN} {share:g}" for key, share in value.items()), _LONGEST)
    if isinstance(value, list):
        return named(", ".join(map(str, value)), _LONGEST)
    text = f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())
    return named(text.replace("( ", "(").replace(" )", ")"), _LONGEST)
