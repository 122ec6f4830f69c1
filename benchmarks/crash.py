"""Kills trainings, spoils checkpoints and fills disks: whatever happens, a run ends in the bits of the unbroken one.

    python benchmarks/crash.py                                                # all of it: half an hour
    python benchmarks/crash.py --kills 33 --chain 5 --flips 500 --faults 10   # a sample: two minutes

Every registered recipe trains a network of a few weights on 64 photographs, 64 steps and then those of its later
stages, by `longtail.train` in a child with one thread. It is killed (SIGKILL) at a site of a seeded design, where each
level of each of these comes equally often: recipe, first or last stage, step, operation after it, moment (before it, in
its middle, after it), workers, workers of the process that goes on, and steps between two checkpoints. Then
`longtail.resume` goes on to the end, and everything is compared with the unbroken run: weights, all that each stage had
learnt with the state of its optimiser, predictions, metrics, logs, split, configuration; all but seconds, to the bit.
tests/killing.py tells how a process is made to end there, tests/damage.py how a checkpoint is spoilt.
"""

from __future__ import annotations

import argparse
import errno
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import damage
import killing
from children import in_a_child
from crashing import Case, design, site_of
from killing import BEGINNING, MOMENTS, OF_A_SAVE, Site, step_of
from longtail.exits import MISTAKE
from tiny_runs import EPOCHS, STEPS, differing, photographs

BLOCK = 500  # damages that one child looks at
MEMORY = Path("/dev/shm")  # noqa: S108  (a kill loses nothing that was written, so no disk needs to be waited for)

screen = Console(highlight=False)
Row = TypeVar("Row")


class Unbroken(NamedTuple):
    """A recipe that nothing happened to."""

    outcome: dict[str, str]
    steps: dict[int, int]
    """Of each stage."""


class Tried(NamedTuple):
    """What became of a case."""

    act: str
    """What the process did last."""
    wrong: str
    """What is not as it has to be; empty where all is well."""


def main() -> None:
    """Reads the words and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="runs that are killed once")
    parser.add_argument("--chain", type=int, default=50, help="kills of one run")
    parser.add_argument("--flips", type=int, default=10_000, help="checkpoints that are spoilt")
    parser.add_argument("--faults", type=int, default=300, help="runs whose disk fails")
    parser.add_argument("--seed", type=int, default=0, help="of the design")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        bench = Bench(Path(folder))
        wrong = bench.kills(design(asked.kills, asked.seed))
        wrong += bench.chain(asked.chain, asked.seed)
        wrong += bench.damages(asked.flips, asked.seed)
        wrong += bench.faults(design(asked.faults, asked.seed + 1))
    for line in wrong:
        screen.print(f"WRONG: {line}", markup=False)
    sys.exit(bool(wrong))


class Bench:
    """A folder with images, and the outcomes of unbroken runs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._unbroken = folder, dict[str, Unbroken]()
        self._data = photographs(folder / "photographs")

    def kills(self, cases: Sequence[Case]) -> list[str]:
        """Runs that are killed once."""
        begin = time.perf_counter()
        tried = [self._tried(self._kill, case) for case in shown("kills", cases)]
        show_acts("Runs that were killed once, by what they did last", [each.act for each in tried])
        for name in ("recipe", "last_stage", "workers", "workers_then", "every"):
            counts = Counter(getattr(case, name) for case in cases)
            levels = ", ".join(f"{level} {count}" for level, count in counts.items())
            few = f"{len(counts)} levels, each {min(counts.values())} to {max(counts.values())} times"
            screen.print(f"  {name}: {levels if len(counts) < 5 else few}")
        return summed_up("kills", cases, tried, begin)

    def chain(self, number: int, seed: int) -> list[str]:
        """One run that is killed again and again, at later and later steps of both its stages.

        Every other kill meets the process that goes on, before its first step.
        """
        if number == 0:
            return []
        begin, run, whole = time.perf_counter(), self._folder / "chain", self._whole("gcl")
        marks = [step_of(stage, step) for stage, steps in whole.steps.items() for step in range(steps)]
        draw = np.random.default_rng(seed)
        later = sorted(draw.choice(len(marks), -(-number // 2), replace=False).tolist())
        places = [mark for place in later for mark in (marks[place], BEGINNING)][:number]
        acts = []
        for mark in shown("chain", places):
            site = Site(mark, int(draw.integers(OF_A_SAVE)), str(draw.choice(MOMENTS)))
            wishes = {"workers": int(draw.choice((0, 2, 4)))}
            ended = in_a_child(killing.killed, self._data, run, "gcl", site, 5, wishes)
            acts.append(f"not killed: exit code {ended.code}" if ended.code != -signal.SIGKILL else "kill")
        wrong = [act for act in acts if act != "kill"] + self._goes_on(run, "gcl", 5, 0)
        screen.print(f"A chain of {acts.count('kill')} kills of one run: {verdict(wrong, begin)}\n")
        return [f"chain: {each}" for each in wrong]

    def damages(self, number: int, seed: int) -> list[str]:
        """The newer of two checkpoints spoilt."""
        if number == 0:
            return []
        begin, run, tally, wrong = time.perf_counter(), self._folder / "spoilt", Counter[str](), []
        site = Site(step_of(1, 20), 0, "before")
        in_a_child(killing.killed, self._data, run, "gcl", site, 1, {})
        checkpoints = run / "unfinished/checkpoints"
        size = max(path.stat().st_size for path in checkpoints.iterdir())
        for block in shown("damages", range(-(-number // BLOCK))):
            many = min(BLOCK, number - block * BLOCK)
            ended = in_a_child(damage.check_damaged, checkpoints, many, seed + block)
            if ended.code:
                wrong.append(f"damages of seed {seed + block}: exit code {ended.code}")
            else:
                tally += ended.answer
        table = Table("damage", "times")
        for kind, count in tally.most_common():
            table.add_row(kind, f"{count:,}")
        screen.print(f"The newer of two checkpoints, of {size:,} bytes, spoilt", table, sep="\n")
        screen.print(f"{tally.total():,} damages: {verdict(wrong, begin, 'all noticed, and the older one used')}\n")
        return wrong

    def faults(self, cases: Sequence[Case]) -> list[str]:
        """Runs whose disk refuses an operation of a save."""
        begin = time.perf_counter()
        cases = [case._replace(place=number % (EPOCHS * STEPS)) for number, case in enumerate(cases)]
        tried = [self._tried(self._fail, case) for case in shown("faults", cases)]
        show_acts("Runs whose disk failed, by the operation", [each.act for each in tried])
        counts = Counter(errno.errorcode[case.error] for case in cases)
        screen.print("  " + ", ".join(f"{name} {count}" for name, count in counts.items()))
        return summed_up("errors of a disk", cases, tried, begin)

    def _tried(self, attempt: Any, case: Case) -> Tried:
        run = self._folder / "run"
        try:
            tried: Tried = attempt(run, case, site_of(case, self._whole(case.recipe).steps))
            return tried
        finally:
            for path in self._folder.glob("run*"):
                rmtree(path) if path.is_dir() else path.unlink()

    def _whole(self, recipe: str) -> Unbroken:
        if recipe not in self._unbroken:
            ended = in_a_child(killing.unbroken, self._data, self._folder / f"unbroken-{recipe}", recipe, {})
            self._unbroken[recipe] = Unbroken(*ended.answer)
        return self._unbroken[recipe]

    def _kill(self, run: Path, case: Case, site: Site) -> Tried:
        wishes = {"workers": case.workers}
        ended = in_a_child(killing.killed, self._data, run, case.recipe, site, case.every, wishes)
        if ended.code != -signal.SIGKILL:
            return Tried("none", f"not killed, but exit code {ended.code}")
        return Tried(killing.last_act(run), "; ".join(self._goes_on(run, case.recipe, case.every, case.workers_then)))

    def _fail(self, run: Path, case: Case, site: Site) -> Tried:
        arguments = (self._data, run, case.recipe, site, case.error, case.every)
        ended = in_a_child(killing.refused, *arguments)
        if ended.code:
            return Tried("none", f"not answered, but exit code {ended.code}")
        code, said, act = ended.answer
        wrong = []
        if code != MISTAKE or said.count("Error: ") != 1 or "Traceback" in said:
            wrong.append(f"exit code {code}, said {said!r}")
        if run.exists() and "Go on with: longtail train --resume" not in said:
            wrong.append("it is not said how to go on")
        older = site.mark.startswith("stage 2") or (isinstance(case.place, int) and case.place >= case.every)
        if older and killing.sound_checkpoints(run) == 0:
            wrong.append("the older checkpoint is gone")
        return Tried(act, "; ".join(wrong + self._goes_on(run, case.recipe, case.every, 0)))

    def _goes_on(self, run: Path, recipe: str, every: int, workers: int) -> list[str]:
        """What differs in the end."""
        ended = in_a_child(killing.finished, self._data, run, recipe, every, {"workers": workers})
        if ended.code:
            return [f"cannot go on: exit code {ended.code}"]
        return [f"{name} differs" for name in differing(self._whole(recipe).outcome, ended.answer)]


def shown(name: str, rows: Sequence[Row]) -> Iterable[Row]:
    """The rows, with a bar that moves."""
    return track(rows, name, console=screen, transient=True)


def show_acts(title: str, acts: Sequence[str]) -> None:
    """How often a process ended at what."""
    counts = Counter(acts)
    kinds = sorted({act.partition(" ")[2] for act in counts})
    table = Table("operation", *MOMENTS)
    for kind in kinds:
        table.add_row(kind, *(str(counts[f"{moment} {kind}"] or "") for moment in MOMENTS))
    screen.print(title, table, sep="\n")


def summed_up(what: str, cases: Sequence[Case], tried: Sequence[Tried], begin: float) -> list[str]:
    """Says how many came out right; returns what did not."""
    wrong = [f"{case}: {each.wrong}" for case, each in zip(cases, tried, strict=True) if each.wrong]
    screen.print(f"{len(cases) - len(wrong)} of {len(cases)} {what}: {verdict([], begin)}\n")
    return wrong


def verdict(wrong: Sequence[str], begin: float, good: str = "the bits of the unbroken run") -> str:
    """In a phrase."""
    return f"{'; '.join(wrong) or good} ({time.perf_counter() - begin:.0f} s)"


if __name__ == "__main__":
    main()
