"""A real training, killed with SIGKILL at random moments and resumed each time, against the same training unbroken.

    python benchmarks/kill_a_run.py --kills 5 -- cifar10 --imbalance 100 --epochs 4 --workers 2 --loading decode

What follows `--` are words of `longtail train`. The moments are drawn by a seed over all training steps, as many in
every stage as its turn comes. The hashes of the weights and of the log of steps are compared at the end.
"""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

PROGRAM = [sys.executable, "-m", "longtail", "train"]


@click.command()
@click.option("--kills", default=5, show_default=True, help="How often the training is killed.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--every", default=5.0, show_default=True, help="Seconds between two checkpoints.")
@click.argument("words", nargs=-1)
def main(kills: int, seed: int, every: float, words: tuple[str, ...]) -> None:
    """Kill and compare."""
    words = (*words, "--checkpoint-every", str(every))
    with tempfile.TemporaryDirectory() as folder:
        unbroken, killed = Path(folder, "unbroken"), Path(folder, "killed")
        begin = time.perf_counter()
        subprocess.run([*PROGRAM, *words, "--out", unbroken], check=True, capture_output=True)
        print(f"unbroken: {steps(unbroken)} steps in {time.perf_counter() - begin:.0f} s", flush=True)
        command = [*PROGRAM, *words, "--out", str(killed)]
        for moment in moments(unbroken, kills, random.Random(seed)):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            while steps(killed) < moment and process.poll() is None:
                time.sleep(0.02)
            time.sleep(random.Random(moment).random())  # the log runs behind the training
            assert process.poll() is None, process.communicate()[0].decode()
            process.send_signal(signal.SIGKILL)
            process.communicate()
            print(f"killed behind step {steps(killed)}, where {moment} was drawn", flush=True)
            command = [*PROGRAM, "--resume", str(killed)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(*[line for line in done.stderr.splitlines() if line.startswith("Going on")], sep="\n")
        for name in ("model.safetensors", "steps.jsonl"):
            both = [hashlib.sha256((run / name).read_bytes()).hexdigest() for run in (unbroken, killed)]
            print(f"{name}: {both[0]} unbroken, {both[1]} killed: {'equal' if both[0] == both[1] else 'DIFFERENT'}")


def steps(run: Path) -> int:
    """How many the log tells of."""
    log = run / "steps.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def moments(run: Path, kills: int, generator: random.Random) -> list[int]:
    """Steps to kill behind: one stage after the other in turn, anywhere in it."""
    stages = [line.partition('"stage": ')[2][0] for line in (run / "steps.jsonl").read_text().splitlines()]
    numbers = sorted(set(stages))
    within = [[step for step, stage in enumerate(stages) if stage == number] for number in numbers]
    return sorted(generator.choice(within[kill % len(within)][1:-20]) for kill in range(kills))


if __name__ == "__main__":
    main()
