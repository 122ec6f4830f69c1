"""What a stage leaves behind while it runs: a line a step, a line an epoch, a progress bar, a forecast."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from longtail.runs import RunFolder
from longtail.text import duration
from longtail.training.loop.checkpoints import Checkpoint
from longtail.training.stage import Stage
from longtail.watching import Watcher

LOOK_EVERY = 20  # steps between two looks at the loss: a look makes a GPU wait
FORECAST_AFTER = 20  # steps until the time left and the memory are told


class Turn(NamedTuple):
    """Which stage of how many, counted from 1, and which step of the recipe that is."""

    number: int
    stages: int
    step: int


class NotFiniteError(Exception):
    """The loss of a training step is infinite or not a number."""

    def __init__(self, epoch: int, step: int, loss: float) -> None:
        super().__init__(f"{loss} in epoch {epoch}, step {step}")
        self.epoch, self.step, self.loss = epoch, step, loss


class StageLog:
    """Writes steps.jsonl and epochs.jsonl of one stage, from a checkpoint on if there is one, and moves its bar."""

    def __init__(
        self, folder: RunFolder, watcher: Watcher, stage: Stage, turn: Turn, steps: int, kept: Checkpoint | None = None
    ) -> None:
        self._folder, self._watcher, self._stage, self._turn, self._steps = folder, watcher, stage, turn, steps
        self._title = f"{stage.name} (stage {turn.number} of {turn.stages})"
        self._waiting: list[tuple[int, int, Tensor, float]] = []  # steps whose loss nobody has looked at
        self._losses: list[float] = []  # of this epoch
        self._left = stage.epochs * steps
        seconds = 0.0
        if kept is not None:
            epoch, done = kept.position.epoch, kept.position.step
            self._left -= epoch * steps + done
            self._losses = [
                line["loss"] for line in folder.steps if (line["stage"], line["epoch"]) == (turn.number, epoch)
            ]
            seconds = kept.facts.get("epoch_seconds", 0.0)
        self._task = watcher.task(self._title, self._left * stage.batch_size, "images")
        self._start = time.perf_counter()
        self._epoch_start = self._start - seconds
        self._done = 0

    def __enter__(self) -> Self:
        self._task.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.__exit__(kind, error, trace)

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps of the log, every line of which is on the disk then.

        Raises:
            NotFiniteError: there is nothing worth keeping any more.
        """
        self._look()
        return {"logs": self._folder.log_lengths, "epoch_seconds": time.perf_counter() - self._epoch_start}

    def step(self, epoch: int, step: int, loss: Tensor, rate: float) -> None:
        """One step is done; on a GPU its loss is looked at later, together with others.

        Raises:
            NotFiniteError: the loss of this step, or of one before that nobody has looked at.
        """
        self._waiting.append((epoch, step, loss, rate))
        if len(self._waiting) == LOOK_EVERY or (loss.device.type == "cpu" and not math.isfinite(loss.item())):
            self._look()
        self._done += 1
        if self._done == FORECAST_AFTER:
            self._forecast()

    def end_epoch(self, epoch: int, rate: float, validation: Mapping[str, float]) -> None:
        """Write the epoch's line.

        Raises:
            NotFiniteError: one of its losses.
        """
        self._look()
        seconds = time.perf_counter() - self._epoch_start
        self._folder.add_epoch(
            {
                "stage": self._turn.number,
                "stages": self._turn.stages,
                "name": self._stage.name,
                "epoch": epoch,
                "epochs": self._stage.epochs,
                "loss": sum(self._losses) / len(self._losses),
                "lr": rate,
                "images_per_second": round(self._steps * self._stage.batch_size / seconds, 1),
                "seconds": round(seconds, 3),
                **validation,
            }
        )
        self._losses = []
        self._epoch_start = time.perf_counter()

    def _look(self) -> None:
        """Read the waiting losses, write their lines, move the bar."""
        if not self._waiting:
            return
        losses = torch.stack([loss for _, _, loss, _ in self._waiting]).tolist()
        good = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
        self._folder.add_steps(
            {"stage": self._turn.number, "epoch": epoch, "step": step, "loss": loss, "lr": rate}
            for (epoch, step, _, rate), loss in zip(self._waiting[:good], losses, strict=False)
        )
        if good < len(losses):
            epoch, step, _, _ = self._waiting[good]
            raise NotFiniteError(epoch, step, losses[good])
        self._losses += losses
        self._task.advance(len(losses) * self._stage.batch_size, loss=losses[-1], lr=self._waiting[-1][3])
        self._waiting = []

    def _forecast(self) -> None:
        per_step = (time.perf_counter() - self._start) / FORECAST_AFTER
        left = per_step * (self._left - FORECAST_AFTER)
        self._watcher.say_of_run(f"{self._title}: about {duration(left)} left; {memory()}")


def memory() -> str:
    """The most memory used so far, in one phrase."""
    if torch.cuda.is_initialized():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of GPU memory"
    if sys.platform == "win32":
        return "memory unknown on this system"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 2**30:.1f} GiB of memory"
