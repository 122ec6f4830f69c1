"""A classifier made without longtail, made fair by `longtail rebalance`; and the wrong class orders that it refuses.

    python benchmarks/foreign.py                              # on digits, as 32 x 32 PNGs in class folders: a minute
    python benchmarks/foreign.py --folders DIR --imbalance 50 --image-size 64 --epochs 20

timm's ResNet-18 is trained from scratch by a plain loop with cross-entropy and saved twice: as safetensors whose
metadata name the classes, and as a .pt of tensors alone. Everything after that goes through the command line. The last
table is what an order of classes costs that neither file nor folder contradicts: on training images, the balanced
accuracy under the order given and under the best of all orders.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from longtail.data.open import open_images
from longtail.data.parts import ImageSet, Part
from longtail.data.sources.digits import digits
from longtail.runs import RunFolder

NETWORK = "resnet18"
HALF = (0.5, 0.5, 0.5)
ENLARGED = 32  # pixels a side of a digit


def write_digits(folder: Path) -> Path:
    """The long-tailed digits as train/CLASS/NUMBER.png and test/CLASS/NUMBER.png."""
    images = digits()
    for name, part in images.parts.items():
        for index, label in enumerate(part.labels):
            place = folder / name / images.classes[label]
            place.mkdir(parents=True, exist_ok=True)
            part.pixels.open(index).resize((ENLARGED, ENLARGED)).save(place / f"{index}.png")
    return folder


def train_plainly(images: ImageSet, side: int, epochs: int) -> nn.Module:
    """A ResNet-18 as anybody trains one."""
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(NETWORK, num_classes=len(images.classes))
    pixels, labels = loaded(images.train, side), torch.from_numpy(images.train.labels)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        network.train()
        for chosen in torch.randperm(len(labels)).split(64):
            loss = F.cross_entropy(network(pixels[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return network.eval()


def loaded(part: Part, side: int) -> Tensor:
    """All images of a part (N, 3, side, side), normalised."""
    prepare = transforms.Compose(
        [
            transforms.Resize(side, InterpolationMode.BICUBIC),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(HALF, HALF),
        ]
    )
    return torch.stack([prepare(part.pixels.open(index).convert("RGB")) for index in range(len(part))])


def rebalance(model: Path, data: Path, out: Path, *words: object) -> int:
    """`longtail rebalance MODEL DATA ...`: the exit code; what it says is shown."""
    command = ["rebalance", str(model), str(data), "--backbone", NETWORK, "--out", str(out), *map(str, words)]
    print("\n$ longtail", *(word.removeprefix(f"{data.parent}/") for word in command), flush=True)
    return subprocess.run([sys.executable, "-m", "longtail", *command], check=False).returncode


def show_groups(out: Path) -> None:
    """Accuracy by group, before and after."""
    run = RunFolder(out)
    assert run.before is not None
    assert run.metrics is not None
    print(f"\n{'balanced accuracy':20s} {'before':>8s} {'after':>8s}")
    print(f"{'all':20s} {run.before['balanced_accuracy']:8.3f} {run.metrics['balanced_accuracy']:8.3f}")
    for name, group in run.metrics["groups"].items():
        if group["accuracy"] is not None:
            print(f"{name:20s} {run.before['groups'][name]['accuracy']:8.3f} {group['accuracy']:8.3f}")


def show_orders(network: nn.Module, images: ImageSet, side: int) -> None:
    """How far the order that is given is behind the best of all orders, on training images."""
    with torch.no_grad():
        predicted = torch.cat([network(some).argmax(dim=1) for some in loaded(images.train, side).split(256)]).numpy()
    classes = len(images.classes)
    shuffled = np.random.default_rng(0).permutation(classes)
    swapped = np.arange(classes)
    swapped[[0, 1]] = 1, 0
    print(f"\n{'order of the classes':20s} {'as given':>9s} {'best':>6s} {'places that differ':>20s}")
    for name, order in {"right": np.arange(classes), "two swapped": swapped, "shuffled": shuffled}.items():
        given, best, differing = orders(confusion(order[predicted], images.train.labels, classes))
        print(f"{name:20s} {given:9.3f} {best:6.3f} {differing:20d}")


def confusion(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Share of the images of each class (row) that went to each class (column), (C, C)."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, predicted), 1)
    shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


def orders(shares: NDArray[np.float64]) -> tuple[float, float, int]:
    """Balanced accuracy as the classes stand, that of the best order, and how many classes it moves."""
    rows, columns = linear_sum_assignment(shares, maximize=True)
    return float(np.diag(shares).mean()), float(shares[rows, columns].mean()), int((rows != columns).sum())


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    """A file of class names."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Trains, saves, re-balances, and tries the wrong orders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=Path, help="class folders of one's own")
    parser.add_argument("--imbalance", type=float, help="cut them down to this ratio")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20, help="of the plain loop")
    parser.add_argument("--views", type=int, default=1)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, timm {timm.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        data = arguments.folders or write_digits(work / "images")
        images = open_images(data, {"imbalance": arguments.imbalance})
        print(*images.notes, sep="\n")
        start = time.perf_counter()
        network = train_plainly(images, arguments.image_size, arguments.epochs)
        print(f"{NETWORK} trained by a plain loop of {arguments.epochs} epochs in {time.perf_counter() - start:.0f} s")
        try_all(network, images, data, work, arguments)


def try_all(network: nn.Module, images: ImageSet, data: Path, work: Path, arguments: argparse.Namespace) -> None:
    """Everything that goes through the command line."""
    tensors: dict[str, Tensor] = network.state_dict()
    named, nameless = work / "plain.safetensors", work / "plain.pt"
    save_file(tensors, named, metadata={"classes": json.dumps(images.classes)})
    torch.save(tensors, nameless)
    side = arguments.image_size
    described: dict[str, Any] = {"size": [side, side], "mean": HALF, "std": HALF, "crop_fraction": 1.0}
    preprocessing = work / "preprocessing.json"
    preprocessing.write_text(json.dumps({**described, "interpolation": "bicubic"}), encoding="utf-8")
    words: list[object] = ["--image-size", side, "--preprocessing", preprocessing, "--views", arguments.views]
    words += [] if arguments.imbalance is None else ["--imbalance", arguments.imbalance]
    digests = [digest(named), digest(nameless)]

    right = write_lines(work / "right.txt", images.classes)
    wrong = write_lines(work / "wrong.txt", images.classes[::-1])
    assert rebalance(named, data, work / "fair", *words) == 0
    show_groups(work / "fair")
    codes = {
        "no classes": rebalance(nameless, data, work / "no", *words),
        "classes that the file contradicts": rebalance(named, data, work / "no", *words, "--classes", wrong),
        "the right ones": rebalance(nameless, data, work / "same", *words, "--classes", right),
    }
    print("\nExit codes:", ", ".join(f"{code} with {name}" for name, code in codes.items()))
    assert list(codes.values()) == [2, 2, 0]
    assert digests == [digest(named), digest(nameless)]
    print(f"The files of weights are as they were, SHA-256 {digests[0][:12]} and {digests[1][:12]}")
    show_orders(network, images, side)


if __name__ == "__main__":
    main()
