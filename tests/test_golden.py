"""Every golden case, one test each: losses, gradients, weights and schedules of the methods' published code.

The values lie in the folder named by LONGTAIL_GOLDEN, by default tests/golden; its README says where they come from.
A file that the folder lacks is no failure; a file or a case that is not known here is one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from golden_cases import RUNNERS
from golden_cases.case import Case, read

FOLDER = Path(os.environ.get("LONGTAIL_GOLDEN", Path(__file__).parent / "golden"))
CASES = [case for path in sorted(FOLDER.glob("*.json")) for case in read(path)]


def test_there_are_cases() -> None:
    assert CASES, f"{FOLDER} has no golden file"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}-{case.id}")
def test_golden(case: Case) -> None:
    assert case.file in RUNNERS, f"{case.file} is a golden file that these tests do not know"
    RUNNERS[case.file](case)
