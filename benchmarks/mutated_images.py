"""Loads mutated image files and bombs: no crash, no hang, no label shift, no byte of them changed.

    python benchmarks/mutated_images.py mutated [--files 100000] [--seed 0]
    python benchmarks/mutated_images.py bombs

Mutated files of six formats are loaded in blocks, each in a process of its own, so that a crash has an address. The
checks are those of tests/hostile_checks.py. Bombs are decoded one by one; seconds, and megabytes above the process's
own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hostile_checks import check_mutated, refusal
from hostile_images import bombs

BLOCK = 2000
LONGEST = 300  # seconds a block


def main() -> None:
    """Reads the words and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("mutated", "bombs"))
    parser.add_argument("--files", type=int, default=100_000, help="mutated files")
    parser.add_argument("--seed", type=int, default=0, help="number of the first block")
    arguments = parser.parse_args()
    if arguments.what == "bombs":
        _bombs()
    else:
        _mutated(arguments.files, arguments.seed)


def _mutated(files: int, seed: int) -> None:
    begin, tally, failed = time.perf_counter(), Counter[str](), []
    for block in range(seed, seed + -(-files // BLOCK)):
        found = _in_a_process(block)
        if isinstance(found, str):
            failed.append(f"block {block}: {found}")
            print(failed[-1], flush=True)
        else:
            tally += found
    for name, count in tally.most_common():
        print(f"{count:8d} {name}")
    print(f"{len(failed)} of {-(-files // BLOCK)} blocks failed; {time.perf_counter() - begin:.0f} s")
    sys.exit(bool(failed))


def _in_a_process(block: int) -> Counter[str] | str:
    """What was found, or how it failed."""
    answer, question = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_one_block, args=(block, question))
    child.start()
    question.close()
    try:
        if not answer.poll(LONGEST):
            return "hangs"
        found: Counter[str] | str = answer.recv()
        return found
    except EOFError:
        child.join()
        return f"crashed with exit code {child.exitcode}"
    finally:
        child.kill()
        child.join()


def _one_block(block: int, question: Connection) -> None:
    try:
        question.send(check_mutated(BLOCK, seed=block))
    except Exception as error:  # noqa: BLE001  (whatever it is, the block failed)
        question.send(f"{type(error).__name__}: {error}")


def _bombs() -> None:
    print(f"{'bomb':32s} {'bytes':>8s} {'seconds':>8s} {'MB':>6s}  reason")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, content in bombs():
            path = Path(folder) / name
            path.write_bytes(content)
            found = refusal(path)
            bad += found.reason is None or found.seconds >= 2 or found.megabytes >= 300
            print(f"{name:32s} {len(content):8d} {found.seconds:8.3f} {found.megabytes:6.1f}  {found.reason}")
    print(f"{bad} not refused in 2 s and 300 MB")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
