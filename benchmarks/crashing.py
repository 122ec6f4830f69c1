"""The design of benchmarks/crash.py: which run ends where, so that no step, operation or recipe is left out."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from killing import BEGINNING, MOMENTS, OF_A_SAVE, Site, end_of, step_of
from longtail.training.recipes import RECIPES
from tiny_runs import EPOCHS, STEPS

PLACES: tuple[int | str, ...] = (*range(EPOCHS * STEPS), *("beginning",) * 2, *("end",) * 6)
"""Where in a stage: after how many steps, or behind the last, where a checkpoint and a whole run are written."""
AT_THE_ENDS = 44
"""Operations behind the last step of a run, at least; to its first step there are some fewer."""
ERRORS = (errno.ENOSPC, errno.EROFS, errno.EIO)


class Case(NamedTuple):
    """One row of the design."""

    recipe: str
    last_stage: bool
    place: int | str
    share: float
    """Which operation after that: a share of all."""
    moment: str
    workers: int
    workers_then: int
    every: int
    """Steps between two checkpoints."""
    error: int
    """What a disk says that fails."""


def design(number: int, seed: int) -> list[Case]:
    """So many cases, in which every level of every factor comes equally often."""
    draw = np.random.default_rng(seed)

    def balanced(levels: Sequence[Any]) -> list[Any]:
        rows = [levels[row * len(levels) // number] for row in range(number)]
        return [rows[place] for place in draw.permutation(number)]

    shares = (np.arange(number) / number).tolist()
    factors = (tuple(RECIPES), (False, True), PLACES, shares, MOMENTS)
    more = ((0, 2, 4), (0, 2, 4), (1, 3, 10), ERRORS)
    return [Case(*row) for row in zip(*map(balanced, (*factors, *more)), strict=True)]


def site_of(case: Case, steps: dict[int, int]) -> Site:
    """Where a recipe whose stages have so many steps is ended."""
    stage = max(steps) if case.last_stage else min(steps)
    if isinstance(case.place, int):
        return Site(step_of(stage, case.place % steps[stage]), int(case.share * OF_A_SAVE), case.moment)
    mark = BEGINNING if case.place == "beginning" else end_of(stage)
    return Site(mark, int(case.share * AT_THE_ENDS), case.moment)
