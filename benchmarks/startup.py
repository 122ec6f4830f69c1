"""How long the program takes to answer `--help`: the median of a few whole processes, in seconds.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 9


def seconds(*words: str) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    bare, answers = [], []
    for _ in range(ROUNDS):  # in turn, so that a busy machine is busy for both
        bare.append(seconds("-c", "pass"))
        answers.append(seconds("-m", "longtail", "--help"))
    print(f"python alone     {statistics.median(bare):.3f} s  ({min(bare):.3f} to {max(bare):.3f})")
    print(f"longtail --help  {statistics.median(answers):.3f} s  ({min(answers):.3f} to {max(answers):.3f})")
