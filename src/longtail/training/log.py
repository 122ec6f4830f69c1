"""What a stage leaves behind while it runs: a line a step, a line an epoch, a progress bar, a forecast."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

import torch
from torch import Tensor

from longtail.errors import LongtailError
from longtail.runs import RunFolder
from longtail.text import duration
from longtail.training.stage import Stage
from longtail.watching import Watcher

LOOK_EVERY = 20  # steps between two looks at the loss: a look makes a GPU wait
FORECAST_AFTER = 20  # steps until the time left and the memory are told


class Turn(NamedTuple):
    """Which stage of how many, counted from 1."""

    number: int
    stages: int


class StageLog:
    """Writes steps.jsonl and epochs.jsonl of one stage and keeps its progress bar moving."""

    def __init__(
        self, folder: RunFolder, watcher: Watcher, stage: Stage, turn: Turn, steps: int, batch_size: int
    ) -> None:
        self._folder, self._watcher, self._stage, self._turn = folder, watcher, stage, turn
        self._steps, self._batch_size = steps, batch_size
        self._title = f"{stage.name} (stage {turn.number} of {turn.stages})"
        self._task = watcher.task(self._title, stage.epochs * steps * batch_size, "images")
        self._waiting: list[tuple[int, int, Tensor, float]] = []  # steps whose loss nobody has looked at
        self._losses: list[float] = []  # of this epoch
        self._start = self._epoch_start = time.perf_counter()

    def __enter__(self) -> Self:
        self._task.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.__exit__(kind, error, trace)

    def step(self, epoch: int, step: int, loss: Tensor, rate: float) -> None:
        """One step is done; its loss is looked at later, together with others."""
        self._waiting.append((epoch, step, loss, rate))
        if len(self._waiting) == LOOK_EVERY:
            self._look()
        if epoch * self._steps + step + 1 == FORECAST_AFTER:
            self._forecast()

    def end_epoch(self, epoch: int, rate: float, validation: Mapping[str, float]) -> None:
        """Write the epoch's line."""
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
                "images_per_second": round(self._steps * self._batch_size / seconds, 1),
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
        records = [
            {"stage": self._turn.number, "epoch": epoch, "step": step, "loss": loss, "lr": rate}
            for (epoch, step, _, rate), loss in zip(self._waiting, losses, strict=True)
        ]
        for record in records:
            if not math.isfinite(record["loss"]):
                raise LongtailError(
                    f"The loss is {record['loss']} in {self._title}, epoch {record['epoch']}, step "
                    f"{record['step']}; give a smaller --lr."
                )
        self._folder.add_steps(records)
        self._losses += losses
        self._task.advance(len(records) * self._batch_size, loss=losses[-1], lr=self._waiting[-1][3])
        self._waiting = []

    def _forecast(self) -> None:
        per_step = (time.perf_counter() - self._start) / FORECAST_AFTER
        left = per_step * (self._stage.epochs * self._steps - FORECAST_AFTER)
        self._watcher.say(f"{self._title}: about {duration(left)} left; {memory()}")


def memory() -> str:
    """The most memory used so far, in one phrase."""
    if torch.cuda.is_initialized():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of GPU memory"
    if sys.platform == "win32":
        return "memory unknown on this system"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 2**30:.1f} GiB of memory"
