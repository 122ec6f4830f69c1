"""Where a training can be made to end: at any operation on the disk after any of its steps, whatever the recipe."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from torch import Tensor

from longtail.cli import cli
from longtail.exits import answer
from longtail.runs import RunFolder
from longtail.training.loop.checkpoints import Checkpoints
from longtail.training.loop.gradient import Gradient
from longtail.training.loop.learning import Learning
from longtail.training.loop.trainer import Trainer
from longtail.training.planning.wishes import Wishes
from operations import Onlooker, Operation, watched
from tiny_runs import STEPS, WISHES, prepared, to_the_end

BEGINNING = "beginning"
MOMENTS = ("before", "middle", "after")
STEP = "step"
"""Of the optimiser: the one operation that no disk takes part in."""
OF_A_SAVE = 18
"""Operations from a step on until its checkpoint is written, and an older one is gone."""


class Site(NamedTuple):
    """Where a training ends."""

    mark: str
    """BEGINNING, or what `step_of` and `end_of` say."""
    number: int
    """How many operations after that."""
    moment: str
    """Of MOMENTS; what has no middle ends before the next."""


def step_of(stage: int, step: int) -> str:
    """The mark of a training step; stages count from 1, steps of the stage from 0."""
    return f"stage {stage}, step {step}"


def end_of(stage: int) -> str:
    """The mark behind the last step of a stage."""
    return f"end of stage {stage}"


class Pursuit(Onlooker):
    """Follows a training from mark to mark, and acts at the site."""

    def __init__(self, site: Site | None, act: Callable[[Operation, str], None], kinds: Callable[[str], bool]) -> None:
        self._site, self._act, self._kinds = site, act, kinds
        self._left: int | None = None
        self.stage = 0
        self.due = False
        self.at(BEGINNING)

    def at(self, mark: str) -> bool:
        """The training has come this far; returns whether the site is there."""
        here = self._site is not None and mark == self._site.mark
        if self._site is not None and here:
            self._left = self._site.number
        return here

    def before(self, operation: Operation) -> None:
        self._meet(operation, "before")

    def middle(self, operation: Operation) -> None:
        self._meet(operation, "middle")

    def after(self, operation: Operation) -> None:
        self._meet(operation, "after")
        if self._left == 0 and self._site and self._site.moment == "middle" and self._kinds(operation.kind):
            self._act(operation, "after")  # it had no middle
        if self._left is not None and self._kinds(operation.kind):
            self._left -= 1

    def _meet(self, operation: Operation, moment: str) -> None:
        if self._left == 0 and self._site and moment == self._site.moment and self._kinds(operation.kind):
            self._act(operation, moment)


@contextmanager
def pursued(
    run: Path,
    site: Site | None = None,
    act: Callable[[Operation, str], None] = lambda operation, moment: None,
    *,
    every: int = 1,
    kinds: Callable[[str], bool] = lambda kind: True,
) -> Iterator[None]:
    """Within, a training in the folder `run` has a checkpoint every so many steps and at the site, and acts there."""
    pursuit = Pursuit(site, act, kinds)
    gradient_of, step, fit = Gradient.of, Learning.step, Trainer.fit

    def marked(self: Gradient, sample: Any, here: Any, epoch: int, number: int) -> Tensor:
        place = epoch * STEPS + number
        pursuit.due = pursuit.at(step_of(pursuit.stage, place)) or place % every == every - 1
        return gradient_of(self, sample, here, epoch, number)

    def followed(self: Learning, clip: float | None) -> None:
        operation = Operation(STEP, run)
        pursuit.before(operation)
        step(self, clip)
        pursuit.after(operation)

    def of_a_stage(self: Trainer, classifier: Any, stage: Any, part: Any, turn: Any, *arguments: Any) -> Any:
        pursuit.stage = turn.number
        trained = fit(self, classifier, stage, part, turn, *arguments)
        pursuit.at(end_of(turn.number))
        return trained

    with ExitStack() as stack:
        stack.enter_context(watched(run, pursuit))
        for owner, name, mine in ((Gradient, "of", marked), (Learning, "step", followed), (Trainer, "fit", of_a_stage)):
            stack.enter_context(patch.object(owner, name, mine))
        stack.enter_context(patch.object(Checkpoints, "due", property(lambda self: pursuit.due)))
        yield


def killed(data: Path, run: Path, recipe: str, site: Site, every: int, wishes: Wishes) -> None:
    """Begin a run or go on with it, as far as the site; `last_act` tells then what it did last."""

    def kill(operation: Operation, moment: str) -> None:
        _note(run).write_text(f"{moment} {operation.kind}")
        os.kill(os.getpid(), signal.SIGKILL)

    _note(run).unlink(missing_ok=True)
    with pursued(run, site, kill, every=every):
        to_the_end(data, run, recipe, **wishes)


def last_act(run: Path) -> str:
    """The operation that a killed run ended at, and whether it ended before it, in its middle or after it."""
    return _note(run).read_text()


def finished(data: Path, run: Path, recipe: str, every: int, wishes: Wishes) -> dict[str, str]:
    """Go on to the end; returns the run's `outcome`."""
    with pursued(run, every=every):
        return to_the_end(data, run, recipe, **wishes)


def refused(data: Path, run: Path, recipe: str, site: Site, number: int, every: int) -> tuple[int, str, str]:
    """Run the command on a disk that fails with this `errno` at the site, once: exit code, what it says, and where."""
    met: list[str] = []

    def fail(operation: Operation, moment: str) -> None:
        if not met:
            met.append(f"{moment} {operation.kind}")
            raise OSError(number, os.strerror(number), str(operation.path))

    failing = pursued(run, site, fail, every=every, kinds=lambda kind: kind != STEP)
    return *_commanded(data, run, recipe, failing), met[0]


def signalled(data: Path, run: Path, recipe: str, site: Site, number: int) -> tuple[int, str]:
    """Run the command with two workers; at the site a signal reaches all processes of its group.

    Returns its exit code, and what it says.
    """
    os.setpgid(0, 0)

    def signal_all(operation: Operation, moment: str) -> None:
        os.killpg(0, number)

    return _commanded(data, run, recipe, pursued(run, site, signal_all, every=10**6), "--workers=2")


def sound_checkpoints(run: Path) -> int:
    """How many checkpoints have a hash, each of which is right."""
    seals = list(run.glob("unfinished/checkpoints/*.sha256"))
    for seal in seals:
        digest, name = seal.read_text().split()
        assert hashlib.sha256((seal.parent / name).read_bytes()).hexdigest() == digest, seal
    return len(seals)


def steps_of(run: Path) -> dict[int, int]:
    """How many steps each stage of a finished run has."""
    stages = [line["stage"] for line in RunFolder(run).steps]
    return {stage: stages.count(stage) for stage in sorted(set(stages))}


def unbroken(data: Path, run: Path, recipe: str, wishes: Wishes) -> tuple[dict[str, str], dict[int, int]]:
    """The outcome of a run that nothing happens to, and the steps of its stages."""
    outcome = to_the_end(data, run, recipe, **wishes)
    return outcome, steps_of(run)


def _commanded(
    data: Path, run: Path, recipe: str, meanwhile: AbstractContextManager[None], *more: str
) -> tuple[int, str]:
    """Exit code of `longtail train`, and what it says."""
    words = [f"--{name.replace('_', '-')}={wish}" for name, wish in WISHES.items()]
    said = StringIO()
    with prepared(run), meanwhile, redirect_stdout(StringIO()), redirect_stderr(said):
        code = answer(cli, ["train", str(data), "--recipe", recipe, "--out", str(run), *words, *more])
    return code, said.getvalue()


def _note(run: Path) -> Path:
    return run.with_name(f"{run.name}-ended")
