"""Every figure of a GPU in one call, into one small file.

    python benchmarks/gpu.py figures.json --data DIR        # DIR as gpu_data.py writes it; else pictures are made
    python benchmarks/gpu.py figures.json --limit 540       # leaves out what would take longer than so many seconds
    python benchmarks/gpu.py figures.json --small --device cpu    # everything at a size that shows that it works

`loop`: images a second of GCL's first stage with mixup on a ResNet-32, this engine against the published loop on the
same card. `photographs`: of a ResNet-50 at 224 x 224 (`resnet50.py`). `several`: runs at once on the card against one
alone; with MPS too where it is installed. `recipe`: the whole recipe, 200 + 30 epochs of CIFAR-10 at ratio 100, and its
test. The file is written anew after each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import resnet50
from contest import COMPILED, EAGER, PUBLISHED_RUN, Contest, quieten
from gpu_data import write_made
from longtail.errors import LongtailError
from longtail.runs import RunFolder
from longtail.training.compiling import trouble_compiling

AIMS = {"loop ratio": 15, "photographs a second": 6000, "several ratio": 3, "recipe seconds": 30}
MPS = "nvidia-cuda-mps-control"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    batches: tuple[int, ...] = (64, 128)
    rounds: int = 3
    warm_up: int = 20
    steps: int = 200
    workers: tuple[int, ...] = (0, 2, 8)
    epochs: int = 200
    epochs_at_once: int = 5
    at_once: tuple[int, ...] = (4, 8)
    side: int = 224
    batch_of_photographs: int = 256
    steps_of_photographs: int = 20


SMALL = Sizes(
    batches=(64,),
    rounds=1,
    warm_up=1,
    steps=2,
    workers=(0,),
    epochs=1,
    epochs_at_once=1,
    at_once=(2,),
    side=64,
    batch_of_photographs=8,
    steps_of_photographs=2,
)


@dataclass
class Session:
    """Where measurements are taken, and what was found so far."""

    sizes: Sizes
    device: str
    data: Path
    made: bool
    out: Path
    limit: float
    found: dict[str, Any] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)

    def take(self, name: str, measurement: Callable[[Session], Any]) -> None:
        """One measurement, or what kept it from being one; either is in the file then."""
        begin = time.perf_counter()
        try:
            self.found[name] = measurement(self)
        except (LongtailError, RuntimeError, OSError, subprocess.SubprocessError) as error:
            said: bytes = getattr(error, "stderr", None) or b""
            self.found[name] = {
                "error": f"{type(error).__name__}: {error}",
                "said": said.decode(errors="replace")[-500:],
            }
        self.found[f"{name}_took"] = round(time.perf_counter() - begin, 1)
        self.out.write_text(json.dumps(self.found, indent=1) + "\n")
        print(name, json.dumps(self.found[name]), flush=True)

    @property
    def left(self) -> float:
        """Seconds until the limit."""
        return self.limit - (time.perf_counter() - self.start)


def main() -> None:
    """Reads the words and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="folder of train/ and test/; made where it is not given")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--limit", type=float, default=3600, help="seconds, of everything")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        sizes, made, data = SMALL if options.small else Sizes(), options.data is None, options.data
        if made:
            data = Path(place) / "data"
            write_made(data, share=0.02 if options.small else 1.0)
        session = Session(sizes, options.device, data, made, options.out, options.limit)
        session.take("machine", machine)
        for name in options.only:
            session.take(name, MEASUREMENTS[name])


def machine(session: Session) -> dict[str, Any]:
    """What it is measured on."""
    on_gpu = torch.device(session.device).type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if on_gpu else session.device,
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "small": session.sizes == SMALL,
        "images": "made" if session.made else "given",
        "aims": AIMS,
    }


def loop(session: Session) -> dict[str, Any]:
    """This engine and the published loop in turn, images a second, as medians of the rounds."""
    sizes, found = session.sizes, {}
    ours = [EAGER] if trouble_compiling(torch.device(session.device)) else [EAGER, COMPILED]
    published = [f"published, {number} workers" for number in sizes.workers]
    for batch in sizes.batches:
        contest = Contest(batch, sizes.warm_up, sizes.steps, session.device)
        rates: dict[str, list[float]] = {side: [] for side in (*ours, *published)}
        for _ in range(sizes.rounds):
            for side, each in rates.items():
                each.append(batch / contest.seconds(side))
        middles = {side: statistics.median(each) for side, each in rates.items()}
        best = max(middles[side] for side in ours)
        found[f"batch {batch}"] = {
            "rates": {side: [round(rate, 1) for rate in each] for side, each in rates.items()},
            "ratio": round(best / max(middles[side] for side in published), 2),
            "first_stage_seconds": round(PUBLISHED_RUN / best, 1),
        }
    return found


def recipe(session: Session) -> dict[str, Any]:
    """The whole recipe by the command line: seconds of training, and of everything from the first word to the last."""
    measured = session.found.get("loop", {}).get("batch 128", {}).get("first_stage_seconds")
    if measured is not None and 1.3 * measured > session.left:
        return {"left_out": f"it would take about {1.3 * measured:.0f} s, and {session.left:.0f} s are left"}
    with tempfile.TemporaryDirectory() as place:
        begin = time.perf_counter()
        run = trained(session, Path(place) / "run", "gcl", session.sizes.epochs)
        whole, metrics = time.perf_counter() - begin, run.metrics
        assert metrics is not None
        return {
            "epochs": session.sizes.epochs,
            "train_seconds": metrics["train_seconds"],
            "seconds_of_the_program": round(whole, 1),
            "engine": run.config["engine"],
            "accuracy": metrics["accuracy"],
            "balanced_accuracy": metrics["balanced_accuracy"],
        }


def several(session: Session) -> dict[str, Any]:
    """Runs at once against one alone: the sum of their rates, and whether the first is what it is alone."""
    epochs, found = session.sizes.epochs_at_once, {}
    with tempfile.TemporaryDirectory() as place:
        alone, again = (trained(session, Path(place) / name, "gcl", epochs) for name in ("alone", "again"))
        found["alone"] = {"rate": rate_of(alone), "difference_when_repeated": difference(alone, again)}
        for how in ("", "with MPS"):
            if how and not (shutil.which(MPS) and session.device.startswith("cuda")):
                continue
            for number in session.sizes.at_once:
                with multi_process_service() if how else nullcontext():
                    name = f"{number} at once {how}".strip()
                    found[name] = at_once(session, Path(place) / name, number, alone)
    return found


def at_once(session: Session, folder: Path, number: int, alone: RunFolder) -> dict[str, Any]:
    """Half of them another recipe, each pair with a seed of its own."""
    words = ["--recipes", "gcl,ce_mixup", "--seeds", str(number // 2), "--jobs", str(number)]
    by_words(session, "compare", session.sizes.epochs_at_once, folder, *words)
    runs = [RunFolder(path.parent) for path in sorted(folder.glob("*/model.safetensors"))]
    total = sum(map(rate_of, runs))
    return {
        "rate": round(total, 1),
        "ratio": round(total / rate_of(alone), 2),
        "difference_to_alone": difference(alone, RunFolder(folder / "gcl-seed0")),
    }


def photographs(session: Session) -> dict[str, Any]:
    """Images a second of a ResNet-50."""
    sizes = session.sizes
    found = resnet50.rates(session.device, sizes.side, sizes.batch_of_photographs, sizes.steps_of_photographs)
    return {name: round(rate, 1) for name, rate in found.items()}


def trained(session: Session, folder: Path, name: str, epochs: int) -> RunFolder:
    """One run by the command line."""
    by_words(session, "train", epochs, folder, "--recipe", name)
    return RunFolder(folder)


def by_words(session: Session, command: str, epochs: int, folder: Path, *words: str) -> None:
    """The program in a process of its own, so that nothing is left on the card."""
    asked = [sys.executable, "-m", "longtail", command, str(session.data), "--device", session.device]
    asked += ["--epochs", str(epochs), "--out", str(folder), *words]
    subprocess.run(asked, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=max(60, session.left))


def rate_of(run: RunFolder) -> float:
    """Images a second of the first stage, the median of its epochs."""
    rates = [epoch["images_per_second"] for epoch in run.epochs if epoch["stage"] == 1]
    return float(statistics.median(rates[1:] or rates))  # the first epoch warms up


def difference(one: RunFolder, other: RunFolder) -> float:
    """The largest between their weights; 0 where they are the same to the bit."""
    first, second = load_file(one.weights), load_file(other.weights)
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


@contextmanager
def multi_process_service() -> Iterator[None]:
    """NVIDIA's, which lets kernels of several processes run at the same time; with the rights of the user."""
    with tempfile.TemporaryDirectory() as place:
        folders = {"CUDA_MPS_PIPE_DIRECTORY": place, "CUDA_MPS_LOG_DIRECTORY": place}
        os.environ.update(folders)
        subprocess.run([MPS, "-d"], check=True)
        try:
            yield
        finally:
            subprocess.run([MPS], input=b"quit\n", check=False)
            for name in folders:
                del os.environ[name]


MEASUREMENTS: dict[str, Callable[[Session], Any]] = {
    "loop": loop,
    "photographs": photographs,
    "several": several,
    "recipe": recipe,
}


if __name__ == "__main__":
    quieten()
    main()
