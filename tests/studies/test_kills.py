"""Trainings that end without a warning, or by a signal or an error of the disk, in processes of their own.

A sample of what benchmarks/crash.py does a thousand times.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from children import in_a_child
from killing import (
    BEGINNING,
    OF_A_SAVE,
    Site,
    end_of,
    finished,
    killed,
    last_act,
    refused,
    signalled,
    sound_checkpoints,
    step_of,
    unbroken,
)
from longtail.training.planning.wishes import Wishes
from tiny_runs import EPOCHS, STEPS, differing, photographs

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")

RECIPE = "kps_mislas"  # mixes images, and a second stage that moves batch norm's statistics
WORKERS: tuple[Wishes, ...] = ({"workers": 0}, {"workers": 2}, {"workers": 4})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("data") / "photographs")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outcome of the recipe that nothing happened to."""
    ended = in_a_child(unbroken, data, tmp_path_factory.mktemp("whole") / "run", RECIPE, {})
    outcome, steps = ended.answer
    assert steps == {1: EPOCHS * STEPS, 2: STEPS}
    return dict(outcome)


CHAIN = [
    (BEGINNING, 20, "before"),
    *((step_of(1, 7 * number + 3), number * 2, "before") for number in range(9)),
    *((BEGINNING, number, "middle") for number in (1, 8, 15, 19)),  # of the process that goes on
    (step_of(2, 0), 6, "middle"),  # of the write of a checkpoint
    (step_of(2, 2), 1, "middle"),  # of a line of the log
    (step_of(2, 4), 11, "middle"),  # of the write of a hash
    (step_of(2, 6), OF_A_SAVE - 1, "after"),
    (end_of(2), 4, "after"),
    (end_of(2), 24, "before"),
]
"""At all kinds of operations, later and later."""


def test_a_run_that_is_killed_again_and_again(data: Path, whole: dict[str, str], tmp_path: Path) -> None:
    acts = []
    for number, site in enumerate(CHAIN):
        wishes = WORKERS[number % 3]
        assert in_a_child(killed, data, tmp_path / "run", RECIPE, Site(*site), 5, wishes).code == -signal.SIGKILL
        acts.append(last_act(tmp_path / "run"))
    assert {act.partition(" ")[2] for act in acts} >= {
        "step",
        "append",
        "sync",
        "make",
        "write",
        "rename",
        "remove",
        "truncate",
    }
    assert sum(act.startswith("middle") for act in acts) == 4
    assert differing(in_a_child(finished, data, tmp_path / "run", RECIPE, 5, {}).answer, whole) == []


@pytest.mark.parametrize("number", [0, 2, 4, 30, 42])
def test_a_kill_at_either_end(number: int, data: Path, whole: dict[str, str], tmp_path: Path) -> None:
    """While the folder is made; while results are written, and while what is no more needed is removed."""
    site = Site(BEGINNING if number < 10 else end_of(2), number, "before")
    assert in_a_child(killed, data, tmp_path / "run", RECIPE, site, 5, {}).code == -signal.SIGKILL
    assert differing(in_a_child(finished, data, tmp_path / "run", RECIPE, 5, {}).answer, whole) == []


@pytest.mark.parametrize(
    ("error", "number", "moment", "sentence"),
    [
        (errno.ENOSPC, 5, "middle", "No space left on device"),
        (errno.ENOSPC, 0, "middle", "No space left on device"),
        (errno.EROFS, 4, "before", "Read-only file system"),
        (errno.EIO, 6, "before", "Input/output error"),
        (errno.EIO, 8, "after", "Input/output error"),
    ],
)
def test_a_disk_that_fails_costs_a_sentence(
    error: int, number: int, moment: str, sentence: str, data: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    site = Site(step_of(1, 20), number, moment)
    code, said, _ = in_a_child(refused, data, tmp_path / "run", RECIPE, site, error, 5).answer
    assert code == 2
    assert f"Error: {sentence} ({tmp_path / 'run'}" in said.replace("\n", "")
    assert said.endswith(f"Go on with: longtail train --resume {tmp_path / 'run'}\n")
    assert sound_checkpoints(tmp_path / "run") >= 2
    assert differing(in_a_child(finished, data, tmp_path / "run", RECIPE, 5, {}).answer, whole) == []


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_signal_to_all_processes_keeps_what_was_learnt(
    name: str, code: int, data: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    """Workers included, which decode what the step after it needs."""
    site = Site(step_of(1, 20), 0, "before")
    ended = in_a_child(signalled, data, tmp_path / "run", RECIPE, site, getattr(signal, name))
    assert ended.answer[0] == code
    assert ended.answer[1].endswith(f"Stopped.\nGo on with: longtail train --resume {tmp_path / 'run'}\n")
    (checkpoint,) = (tmp_path / "run/unfinished/checkpoints").glob("*.safetensors")
    assert checkpoint.name == "stage001-epoch000002-step000000005.safetensors"  # the step is taken
    assert differing(in_a_child(finished, data, tmp_path / "run", RECIPE, 5, {"workers": 2}).answer, whole) == []


def test_the_program_itself_is_stopped_and_goes_on(tmp_path: Path) -> None:
    run, words = tmp_path / "run", ["--recipe", "ce", "--epochs", "40", "--workers", "2", "--loading", "decode"]
    command = [sys.executable, "-m", "longtail", "train"]
    process = subprocess.Popen(
        [*command, *words, "--device", "cpu", "--out", run], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not (run / "steps.jsonl").exists():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert said.endswith(f"Stopped.\nGo on with: longtail train --resume {run}\n")
    refusal = subprocess.run([*command, "--resume", run, "--epochs", "3"], capture_output=True, text=True, check=False)
    assert refusal.returncode == 2
    assert "--epochs cannot change in the middle of a run" in refusal.stderr
