"""What was stopped goes on: after Ctrl-C, a signal, a kill, a power cut or a full disk."""

from __future__ import annotations

from contextlib import chdir
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from longtail.errors import LongtailError
from longtail.interrupts import listening
from longtail.runs import RunFolder, StudyFolder
from longtail.unfinished import PART, Unfinished, go_on

if TYPE_CHECKING:
    from longtail.deploy.run import Run
    from longtail.studies.compare import Study
    from longtail.watching import Watcher

_HOME = {
    "train": "longtail.studies.train",
    "compare": "longtail.studies.compare",
    "rebalance": "longtail.studies.rebalance",
    "compare_rebalanced": "longtail.studies.rebalance",
}


class Changes(TypedDict, total=False):
    """What may be asked for anew; None keeps it as it was. Only `lr` and `clip` change what comes out."""

    data: str | Path | None
    """Where the images are now."""
    workers: int | None
    """Processes that decode images."""
    checkpoint_every: float | None
    """Seconds between two checkpoints."""
    lr: float | None
    """Learning rate, after the loss has left the finite numbers."""
    clip: float | None
    """Largest norm of the gradient, for the same reason."""


def resume(run: str | Path, *, watcher: Watcher | None = None, **changes: Unpack[Changes]) -> Run | Study:
    """Go on with a run or a comparison that was stopped, from its last checkpoint, and return it.

    On a processor the result is the same to the bit as if nothing had happened. What was finished already is returned
    as it is.

    Args:
        run: the folder that `longtail.train`, `compare`, `rebalance` or `compare_rebalanced` began.
        watcher: who is told of progress.
        **changes: what is different now; see `Changes`.

    Raises:
        LongtailError: there is nothing to go on with, or another process is at work on it.
        Interrupted: a signal ended it once more.
    """
    path = Path(run).absolute()
    if (found := _finished(path)) is not None:
        Unfinished(path).clear()
        if watcher:
            watcher.say(f"{run} is finished.")
        return found
    with listening(), go_on(path) as work:
        request = work.request
        if request.function == PART:
            raise LongtailError(f"{run} is part of a comparison; go on with that, in {path.parent}.")
        if request.function != "train":
            from longtail.launch import check_alone

            check_alone(f"longtail {request.function.replace('_', '-')}")
        request = request._replace(arguments={**request.arguments, **_given(changes)})
        carry_on = getattr(import_module(_HOME[request.function]), f"{request.function}_in")
        with chdir(request.folder):
            done: Run | Study = carry_on(work, watcher, request)
    return done


def _finished(path: Path) -> Run | Study | None:
    if Unfinished(path).asked:
        return None
    if RunFolder(path).weights.exists():
        from longtail.deploy.run import load

        return load(path)
    if StudyFolder(path).page.exists():
        from longtail.studies.compare import Study

        return Study(StudyFolder(path))
    return None


def _given(changes: Changes) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in changes.items() if value is not None
    }
