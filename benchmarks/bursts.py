"""What a plain split measures on bursts of near-identical frames, and what one by bursts does.

    python benchmarks/bursts.py [SEEDS]

Every burst is 30 frames of one random scene, with a little noise. The label of a burst is drawn at random, so there is
nothing to learn: an honest accuracy is what guessing gives, 1 / classes on average over the classes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import longtail

BURSTS = {"ant": 20, "bee": 15, "cat": 10, "dog": 10}
FRAMES = 30
SIDE = 16  # pixels
EPOCHS = 12


def write_bursts(root: Path, seed: int) -> None:
    """Class folders with bursts in them, the frames under names that do not tell the burst."""
    draw = np.random.default_rng(seed)
    for name, bursts in BURSTS.items():
        (root / name).mkdir(parents=True)
        for _ in range(bursts):
            coarse = Image.fromarray(draw.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            scene = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(int)
            for _ in range(FRAMES):
                frame = np.clip(scene + draw.integers(-6, 7, scene.shape), 0, 255).astype(np.uint8)
                Image.fromarray(frame).save(root / name / f"{draw.integers(1 << 60):x}.png")


def balanced_accuracy(root: Path, out: Path, seed: int, group_by: str | None) -> float:
    """Of plain cross-entropy, mean over the classes."""
    run = longtail.train(root, recipe="ce", epochs=EPOCHS, seed=seed, group_by=group_by, out=out, device="cpu")
    assert run.metrics is not None
    return float(run.metrics["balanced_accuracy"])


def main() -> None:
    """Print a row a seed."""
    print(
        f"{sum(BURSTS.values())} bursts of {FRAMES} frames, {len(BURSTS)} classes: guessing gives {1 / len(BURSTS):.3f}"
    )
    print("seed  plain split  --group-by near-duplicate   (balanced accuracy)")
    for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        with tempfile.TemporaryDirectory() as temporary:
            write_bursts(Path(temporary) / "photos", seed)
            plain, grouped = (
                balanced_accuracy(Path(temporary) / "photos", Path(temporary) / f"run{index}", seed, rule)
                for index, rule in enumerate((None, "near-duplicate"))
            )
        print(f"{seed:4}  {plain:11.3f}  {grouped:25.3f}", flush=True)


if __name__ == "__main__":
    main()
