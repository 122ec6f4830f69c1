"""Image classifiers that do not forget the rare classes.

    import longtail

    run = longtail.train("photos/")  # a folder of class folders
    run.metrics["groups"]["few"]["accuracy"]

    criterion = longtail.losses.gcl(counts)  # in one's own loop
    loss = criterion(scores, targets)

In every docstring B is the number of samples of a batch, C of classes, D of features, N of images; accuracies are
shares in 0 .. 1, epochs and classes are counted from 0. Names are imported when first used: `import longtail` is free.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longtail import (
        losses as losses,
        metrics as metrics,
        samplers as samplers,
        schedules as schedules,
        weighting as weighting,
    )
    from longtail.cards import methods as methods
    from longtail.counts import ClassCounts as ClassCounts, ShotBorders as ShotBorders
    from longtail.data.audit.describe import describe as describe
    from longtail.deploy.evaluate import evaluate as evaluate
    from longtail.deploy.run import Run as Run, load as load, predict as predict
    from longtail.errors import LongtailError as LongtailError
    from longtail.studies.compare import compare as compare
    from longtail.studies.rebalance import compare_rebalanced as compare_rebalanced, rebalance as rebalance
    from longtail.studies.resume import resume as resume
    from longtail.studies.train import train as train

_HOME = {
    "train": "longtail.studies.train",
    "resume": "longtail.studies.resume",
    "compare": "longtail.studies.compare",
    "rebalance": "longtail.studies.rebalance",
    "compare_rebalanced": "longtail.studies.rebalance",
    "load": "longtail.deploy.run",
    "Run": "longtail.deploy.run",
    "predict": "longtail.deploy.run",
    "evaluate": "longtail.deploy.evaluate",
    "describe": "longtail.data.audit.describe",
    "methods": "longtail.cards",
    "ClassCounts": "longtail.counts",
    "ShotBorders": "longtail.counts",
    "LongtailError": "longtail.errors",
}
_ROOMS = ("losses", "samplers", "weighting", "schedules", "metrics")

__all__ = [*_HOME, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"longtail.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'longtail' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
