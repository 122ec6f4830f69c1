"""What a power cut leaves of a run, at any moment of it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from shutil import rmtree

from longtail.runs import LOGS, RunFolder
from longtail.training.loop.checkpoints import Checkpoints
from operations import watched
from power_loss import Disk, Found, lay_out
from tiny_runs import photographs, train

REQUEST = Path("run/unfinished/request.json")
RESULTS = [Path("run") / name for name in ("model.safetensors", "model.json", "test_predictions.safetensors")]


def test_a_power_cut_leaves_a_run_that_goes_on_or_a_finished_one(tmp_path: Path) -> None:
    """At every moment, whatever is lost of what was not synced: a checkpoint that counts is whole, as are its logs."""
    (tmp_path / "runs").mkdir()
    run, disk = tmp_path / "runs/run", Disk(tmp_path / "runs")
    with watched(tmp_path / "runs", disk):
        train(photographs(tmp_path / "photographs"), run, "ce", epochs=1, batch_size=32, checkpoint_every=0)
    begun = next(moment for moment, left in enumerate(disk.left) if all(REQUEST in found for found in left))
    states = set()
    for found in chain(*disk.left[begun:]):
        if REQUEST in found:
            states.add(frozenset(item for item in found.items() if item[0].name in LOGS or "checkpoints" in str(item)))
        else:
            assert all(found[name] == (tmp_path / "runs" / name).read_bytes() for name in RESULTS)
    logs = {name: (run / name).read_bytes() for name in LOGS}
    assert sum(check_unfinished(dict(state), logs, tmp_path / "found") for state in states) > 30


def check_unfinished(found: Found, logs: dict[str, bytes], folder: Path) -> bool:
    """Whether there is a checkpoint; its logs then are the beginning of what they are in the end."""
    run = RunFolder(lay_out({Path("run"): None, Path("run/unfinished"): None, **found}, folder) / "run")
    lines: list[str] = []
    checkpoint = Checkpoints(run.path / "unfinished/checkpoints").newest(lines.append)
    assert lines == []
    if checkpoint is not None:
        run.cut_logs(checkpoint.facts["logs"])
        stage, epoch, step = checkpoint.position
        epochs = epoch if stage == 1 else 1
        assert (len(run.epochs), len(run.steps)) == (epochs, 2 * epochs + step)
        assert all(content.startswith((run.path / name).read_bytes()) for name, content in logs.items())
    rmtree(folder)
    return checkpoint is not None
