"""A finished run measured on labelled images: those it was tested on, or others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, cast, get_type_hints

import numpy as np
from numpy.typing import NDArray

from longtail import metrics
from longtail.counts import ShotBorders
from longtail.data.asked import BadImages, Reading, check_bad_images
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import UnreadableImages
from longtail.data.loading.loader import Loader
from longtail.data.parts import ImageSet, Part
from longtail.data.words import listed
from longtail.deploy.again import open_as_divided, warning, where_its_own_are
from longtail.deploy.predict import BATCH_SIZE, logits_of
from longtail.deploy.run import Run, load
from longtail.device import choose_device
from longtail.errors import LongtailError, unknown
from longtail.files import write_whole
from longtail.models.classifier import Classifier
from longtail.text import counted
from longtail.watching import Watcher

ALL = "all"
PARTS = ("test", "validation", "train", ALL)


class How(Reading, total=False):
    """How a run is measured, beside how the images are read."""

    test_prior: str | Path | None
    """How often each class is expected: `uniform`, `train`, `estimate` (from these images, without their labels), or a
    file of classes and shares; by default as the model learnt."""
    shot_borders: ShotBorders | tuple[float, float] | None
    """Many has more training images than the first, few has fewer than the second; by default the run's."""
    bad_images: BadImages
    """Images that cannot be decoded: `error` names all and stops, `drop` goes on without them."""
    device: str
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    batch_size: int
    """Images at a time; 64 by default."""
    workers: int | None
    """Processes that decode images; by default none."""


@dataclass(frozen=True)
class Evaluation:
    """What a run is worth on some images."""

    run: Run
    metrics: dict[str, Any]
    """As in a run's metrics.json, and `measured`: which images, under which prior."""


def evaluate(
    run: Run | str | Path,
    data: str | Path | None = None,
    *,
    part: str = "test",
    out: str | Path | None = None,
    watcher: Watcher | None = None,
    **how: Unpack[How],
) -> Evaluation:
    """Measure a run on labelled images; nothing is written unless `out` says so.

    Args:
        run: a run, or its folder.
        data: images as for `longtail.train`; their classes are the run's, by name, in any order, and some may be
            missing. None takes those of the run where it knows them.
        part: `test`, `validation` or `train`, or `all` for every image there is.
        out: a file for the metrics, as JSON, which must not exist.
        watcher: who is told of progress.
        **how: see `How`.

    Raises:
        LongtailError: the run is not finished, or the images cannot be measured as asked.
    """
    watcher, run = watcher or Watcher(), run if isinstance(run, Run) else load(run)
    _check(part, out, how)
    words = how.get("test_prior")
    prior = None if words is None else run.test_prior(words)
    images = _open(run, data, how, watcher)
    logits, labels = _answers(run, _chosen(images, part, run.model.classes), how, watcher)
    if prior is not None:
        prior = prior.settled(logits, watcher)
        logits = logits + prior.shift
    borders = how.get("shot_borders") or ShotBorders(**run.folder.config["shot_borders"])
    measured = metrics.evaluate(
        logits,
        labels,
        run.counts,
        run.model.classes,
        ShotBorders(*borders) if isinstance(borders, tuple) else borders,
        part=part,
        background=images.background or run.folder.config["data"].get("background"),
    )
    measured["measured"] = {
        "data": images.name,
        "fingerprint": images.fingerprint(),
        "test_prior": None if words is None else Path(words).name,  # no path of this machine
        "expected": None if prior is None else prior.as_dict(),
    }
    if out is not None:
        write_whole(Path(out), (json.dumps(measured, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return Evaluation(run, measured)


def _check(part: str, out: str | Path | None, how: How) -> None:
    """Refuse what is wrong whatever the images are, before they are opened."""
    if part not in PARTS:
        raise unknown("part", part, PARTS)
    check_bad_images(how.get("bad_images", "error"))
    for name, number, smallest in (
        ("--batch-size", how.get("batch_size"), 1),
        ("--workers", how.get("workers"), 0),
    ):
        if number is not None and number < smallest:
            raise LongtailError(f"{name} must be at least {smallest}, not {number}.")
    if out is not None and Path(out).exists():
        raise LongtailError(f"{out} exists already; give another --out, or remove it.")
    if out is not None and not Path(out).parent.is_dir():
        raise LongtailError(f"There is no folder {Path(out).parent} to write {Path(out).name} to; make it first.")


def _open(run: Run, data: str | Path | None, how: How, watcher: Watcher) -> ImageSet:
    """The images, with their classes in the run's order where there are all of them."""
    classes = run.model.classes
    reading = {name: value for name, value in how.items() if name in get_type_hints(Reading) and value is not None}
    if data is None:
        data, own = where_its_own_are(run, str(run.path))
        reading = {**own, **reading}
    images = open_as_divided(run, data, cast("Reading", reading), watcher)
    if others := [name for name in images.classes if name not in classes]:
        raise LongtailError(f"{images.name} has classes that {run.path} does not know: {listed(others)}; rename them.")
    if set(images.classes) == set(classes):
        images = images.in_order_of(classes)
    for note in images.notes:
        watcher.say(note)
    if doubt := warning(run, images):
        watcher.say(doubt)
    return images


def _chosen(images: ImageSet, part: str, classes: Sequence[str]) -> list[Part]:
    """The parts to measure on, with labels that are the run's outputs."""
    chosen = (
        list(images.parts.values()) if part == ALL else [each for name, each in images.parts.items() if name == part]
    )
    if not sum(map(len, chosen)):
        raise LongtailError(f"{images.name} has no {part} part; it has {', '.join(images.parts)}: give one as --part.")
    places = np.array([classes.index(name) for name in images.classes])
    return [replace(each, labels=places[each.labels]) for each in chosen]


def _answers(
    run: Run, parts: Sequence[Part], how: How, watcher: Watcher
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits (N, C) and labels (N,) of all images that can be read."""
    model = run.model_on(choose_device(how.get("device", "auto")))
    while True:
        try:
            logits = [_logits(model, run.preprocessing, part, how, watcher) for part in parts if len(part)]
            break
        except UnreadableImages as found:
            if how.get("bad_images", "error") == "error":
                raise
            parts = [part.without(found.reasons) for part in parts]
            watcher.say(
                f"Left out {counted(len(found.reasons), 'image')} that cannot be read: {listed([*found.reasons])}"
            )
    if not logits:
        raise LongtailError("Not one of the images can be read.")
    return np.concatenate(logits), np.concatenate([part.labels for part in parts])


def _logits(
    model: Classifier, preprocessing: Preprocessing, part: Part, how: How, watcher: Watcher
) -> NDArray[np.float64]:
    loader = Loader(
        part,
        preprocessing,
        batch_size=how.get("batch_size", BATCH_SIZE),
        workers=how.get("workers") or 0,
        watcher=watcher,
    )
    logits = []
    with closing(loader), watcher.task("measuring", len(part), "images") as task:
        for batch in loader.batches():
            logits.append(logits_of(model, preprocessing, batch.images))
            task.advance(len(batch.labels))
    return np.concatenate(logits)
