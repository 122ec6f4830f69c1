"""Breaks one guard of the engine after the other, in a copy, and shows which test notices.

    python benchmarks/mutants.py              # every mutant, some minutes
    python benchmarks/mutants.py --only lock  # those whose name has the word

A mutant is a few lines of the package with something left out or put in another order. The tests run on a copy of the
package in a temporary folder; the source is only read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import copytree, ignore_patterns

from rich.console import Console
from rich.table import Table

from broken_guards import MUTANTS, Mutant

HOME = Path(__file__).parents[1]
PACKAGE = HOME / "src" / "longtail"


def main() -> None:
    """Reads the words and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a word in the name of a mutant")
    asked = parser.parse_args()
    screen, begin, survivors = Console(highlight=False), time.perf_counter(), 0
    table = Table("mutant", "noticed by")
    for mutant in (mutant for mutant in MUTANTS if asked.only in mutant.name):
        test = noticed_by(mutant)
        survivors += test is None
        screen.print(f"{mutant.name}: {test or 'NOBODY NOTICES'}", markup=False, soft_wrap=True)
        table.add_row(mutant.name, test or "NOBODY")
    screen.print(table)
    screen.print(f"{table.row_count} mutants, {survivors} of them unnoticed; {time.perf_counter() - begin:.0f} s")
    sys.exit(bool(survivors))


def noticed_by(mutant: Mutant) -> str | None:
    """The first test that fails; None if all pass."""
    with tempfile.TemporaryDirectory() as folder:
        copy = copytree(PACKAGE, Path(folder) / "longtail", ignore=ignore_patterns("__pycache__"))
        path = copy / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.before) != 1:
            raise ValueError(f"{mutant.file} does not hold once what this mutant changes: {mutant.name}")
        path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
        for tests in mutant.tests:
            if failed := first_failure(tests, Path(folder)):
                return failed
    return None


def first_failure(tests: str, path: Path) -> str | None:
    """Run tests on the package that lies in this folder."""
    words = ["-x", "-q", "-p", "no:cacheprovider", "--basetemp", f"{path}/tests", tests]
    environment = os.environ | {"PYTHONPATH": str(path)}
    command = [sys.executable, "-m", "pytest", *words]
    done = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, check=False)
    failed = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode not in {0, 1} or (done.returncode and not failed):
        raise RuntimeError(f"pytest ended with code {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failed[0].partition(" ")[2] if failed else None


if __name__ == "__main__":
    main()
