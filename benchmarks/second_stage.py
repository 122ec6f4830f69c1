"""What a second stage costs: GCL's classifier re-training as its published code goes about it, and from kept features.

    python benchmarks/second_stage.py                                    # on digits, with a run of its own: a minute
    python benchmarks/second_stage.py RUN --data cifar10 --data-root data --imbalance 100

RUN is a trained run folder with a cosine head. The published way is written out here: every epoch every image is
augmented by torchvision and goes through the frozen network in float32. Ours is `longtail rebalance` with one cached
view, with eight, and in its exact form, which keeps nothing. All take turns, seed by seed, in one process. Seconds are
those of the stage, features included, opening and testing left out, as medians (least, most); ratios are of medians.
Accuracy is the balanced one in percent, mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from torchvision import transforms

import longtail
from longtail.counts import ClassCounts
from longtail.data.augmenting.augmentation import CropFlip
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.parts import ImageSet, Part
from longtail.device import choose_device
from longtail.metrics import Outcomes, balanced_accuracy
from longtail.models.heads import Cosine
from longtail.studies.original import Original, images_for
from longtail.training.engine import choose_engine
from longtail.training.planning.settings import Setting, setting_for
from longtail.training.planning.wishes import Wishes
from longtail.training.recipes.cosines import gcl
from longtail.training.second_stage.rebalance import WARM_RATE
from longtail.training.stage import Recipe
from longtail.watching import Watcher
from longtail.weighting import cben

FORMS = {1: "one cached view", 8: "eight cached views", 0: "exact form"}
AIMS = {1: 50, 8: 7, 0: 5 if torch.cpu._is_amx_tile_supported() else 2}
SCALE, AMPLITUDE, TARGET_MARGIN, DEVIATION = 20.0, 0.5, 0.1, 1 / 3


class Outcome(NamedTuple):
    """One second stage; the accuracy of one that was cut short is not known."""

    seconds: float
    accuracy: float | None


def stage_one(counts: ClassCounts, setting: Setting) -> Recipe:
    """GCL without its second stage, as a recipe of one's own."""
    whole = gcl(counts, setting)
    return replace(whole, steps=whole.steps[:1])


class Small(Dataset[tuple[Tensor, int]]):
    """A part as torchvision's CIFAR10 holds one: an array, made a Pillow image one by one."""

    def __init__(self, part: Part, transform: Callable[[Image.Image], Tensor]) -> None:
        self.images = np.stack([np.asarray(part.pixels.open(index)) for index in range(len(part))])
        self.labels, self.transform = part.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class PublishedLoss(nn.Module):
    """GCL's loss of stage two (Li, Cheung and Lu, CVPR 2022, and its code), written out.

    z_j = s (cos_j - a |e_j| m_j - m [j = y]), e ~ N(0, 1/3) within -1 and 1, m_j = log(n_max / n_j) over its largest;
    the cross-entropy L of z, times 1 - exp(-L).
    """

    margins: Tensor

    def __init__(self, counts: ClassCounts) -> None:
        super().__init__()
        rarity = math.log(max(counts.per_class)) - torch.tensor(counts.per_class).log()
        self.register_buffer("margins", AMPLITUDE * rarity / rarity.max())

    def forward(self, cosines: Tensor, targets: Tensor) -> Tensor:
        """Cosines (B, C) and targets (B,) to the mean loss."""
        noise = torch.normal(0, DEVIATION, cosines.shape, device=cosines.device).clamp(-1, 1).abs()
        margins = noise * self.margins + TARGET_MARGIN * F.one_hot(targets, cosines.shape[1])
        losses = F.cross_entropy(SCALE * (cosines - margins), targets, reduction="none")
        return ((1 - torch.exp(-losses.detach())) * losses).mean()


@dataclass(frozen=True)
class Published:
    """Classifier re-training with CBEN sampling and mixup, image by image."""

    original: Original
    images: ImageSet
    device: torch.device
    epochs: int
    warm: bool
    """Whether the classifier goes on at a small rate, as in the published code, or begins anew."""

    def run(self, seed: int, workers: int, epochs: int | None = None) -> Outcome:
        """The whole stage, or its first `epochs`."""
        torch.manual_seed(seed)
        setting = setting_for(self.images.name, self.images.kind, "none").for_images(len(self.images.train))
        backbone = self.original.classifier.backbone.to(self.device).eval().requires_grad_(False)
        old = self.original.classifier.head
        head = Cosine(old.features, old.classes)
        if self.warm:
            head.load_state_dict(old.state_dict())
        head.to(self.device)
        loader, loss_of = self._loader(setting, workers), PublishedLoss(self.images.counts).to(self.device)
        rate = WARM_RATE if self.warm else setting.lr
        optimizer = torch.optim.SGD(head.parameters(), rate, momentum=0.9, weight_decay=setting.weight_decay)
        start = time.perf_counter()
        for epoch in range(epochs or self.epochs):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
            for images, targets in loader:
                self._step(backbone, head, optimizer, loss_of, images.to(self.device), targets.to(self.device), setting)
        seconds = time.perf_counter() - start
        return Outcome(seconds, self.accuracy(backbone, head) if epochs is None else None)

    def _step(
        self,
        backbone: nn.Module,
        head: Cosine,
        optimizer: torch.optim.Optimizer,
        loss_of: PublishedLoss,
        images: Tensor,
        targets: Tensor,
        setting: Setting,
    ) -> None:
        share, others = 1.0, torch.randperm(len(images), device=images.device)
        if alpha := setting.retraining_mixup:
            share = float(np.random.default_rng(int(torch.randint(2**31, ()))).beta(alpha, alpha))
        scores = head(backbone(share * images + (1 - share) * images[others]))
        loss = share * loss_of(scores, targets) + (1 - share) * loss_of(scores, targets[others])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # published code keeps a running mean of it

    def _loader(self, setting: Setting, workers: int) -> DataLoader[tuple[Tensor, int]]:
        part, preprocessing, crop = self.images.train, self.original.preprocessing, setting.augmentation
        assert isinstance(crop, CropFlip)
        flips = [transforms.RandomHorizontalFlip()] if crop.flip else []
        steps = [transforms.RandomCrop(preprocessing.size, crop.padding), *flips, *_to_tensor(preprocessing)]
        weights = cben(self.images.counts)[part.labels]
        return DataLoader(
            Small(part, transforms.Compose(steps)),
            setting.batch_size,
            sampler=WeightedRandomSampler(weights.tolist(), len(part)),
            num_workers=workers,
            persistent_workers=workers > 0,
            drop_last=True,
        )

    @torch.no_grad()
    def accuracy(self, backbone: nn.Module, head: nn.Module) -> float:
        """Balanced accuracy on the test images, in percent, in float32."""
        assert self.images.test is not None
        test = Small(self.images.test, transforms.Compose(_to_tensor(self.original.preprocessing)))
        scores = torch.cat([head(backbone(images.to(self.device))).cpu() for images, _ in DataLoader(test, 256)])
        return 100 * balanced_accuracy(Outcomes.of(scores.numpy(), self.images.test.labels))


def _to_tensor(preprocessing: Preprocessing) -> list[Any]:
    return [transforms.ToTensor(), transforms.Normalize(preprocessing.mean, preprocessing.std)]


def ours(views: int, model: Path, arguments: argparse.Namespace, seed: int) -> Outcome:
    """The same by `longtail rebalance`, with no features from before."""
    wishes: Wishes = {**_wishes(arguments), "epochs": arguments.epochs, "views": views}
    with tempfile.TemporaryDirectory() as place:
        run = longtail.rebalance(model, arguments.data, how=arguments.how, seed=seed, out=Path(place) / "run", **wishes)
        assert run.metrics is not None
        return Outcome(run.metrics["train_seconds"], 100 * run.metrics["balanced_accuracy"])


def race(model: Path, arguments: argparse.Namespace) -> None:
    """All ways on one model, seed by seed."""
    original = Original.open(model, None, None, {})
    images = images_for(original, arguments.data, Watcher(), _wishes(arguments))
    device, warm = choose_device(arguments.device), arguments.how == "crt-warm"
    published = Published(original, images, device, arguments.epochs, warm)
    trials = {workers: published.run(0, workers, epochs=1).seconds for workers in (0, 2)}
    workers = min(trials, key=trials.__getitem__)
    told = ", ".join(f"{seconds:.1f} s with {number}" for number, seconds in trials.items())
    print(f"An epoch of the published way takes {told} workers of its DataLoader; {workers} from here on")

    sides: dict[str, Callable[[int], Outcome]] = {
        "published": lambda seed: published.run(seed, workers, arguments.epochs_timed),
        **{FORMS[views]: partial(ours, views, model, arguments) for views in arguments.views},
    }
    found: dict[str, list[Outcome]] = {name: [] for name in sides}
    for seed in range(arguments.seeds):
        for name, side in sides.items():
            found[name].append(side(seed))
            print(f"  seed {seed}, {name}: {found[name][-1].seconds:.1f} s", flush=True)
    if arguments.epochs_timed:
        longer = arguments.epochs / arguments.epochs_timed
        found["published"] = [Outcome(longer * seconds, None) for seconds, _ in found["published"]]
        print(f"The published way: {arguments.epochs_timed} epochs timed, {arguments.epochs} told")
    before = published.accuracy(original.classifier.backbone, original.classifier.head)
    show(found, before, {FORMS[views]: AIMS[views] for views in arguments.views})


def show(found: dict[str, list[Outcome]], before: float, aims: dict[str, float]) -> None:
    """The table."""
    print(f"\n{'':20s} {'seconds':>26s} {'ratio':>8s} {'aim':>4s}   balanced accuracy, before {before:.2f}")
    slowest = statistics.median(outcome.seconds for outcome in found["published"])
    for name, outcomes in found.items():
        times = [outcome.seconds for outcome in outcomes]
        middle = statistics.median(times)
        seconds = f"{middle:.1f} ({min(times):.1f}, {max(times):.1f})"
        accuracies = [outcome.accuracy for outcome in outcomes if outcome.accuracy is not None]
        print(f"{name:20s} {seconds:>26s} {slowest / middle:7.1f}x {aims.get(name, 1):4g}   {spread(accuracies)}")


def spread(accuracies: list[float]) -> str:
    """Mean, and standard deviation of several."""
    if len(accuracies) < 2:
        return ", ".join(f"{accuracy:.2f}" for accuracy in accuracies) or "not measured"
    return f"{statistics.mean(accuracies):.2f} +- {statistics.stdev(accuracies):.2f}"


def _wishes(arguments: argparse.Namespace) -> Wishes:
    return {"data_root": arguments.data_root, "imbalance": arguments.imbalance, "device": arguments.device}


def main() -> None:
    """Reads the words; trains a run on digits where none is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--imbalance", type=float)
    parser.add_argument("--how", choices=("crt", "crt-warm"), default="crt", help="a new classifier, or the old one")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--epochs-timed", type=int, help="time so many of the published way's, without its accuracy")
    parser.add_argument("--views", type=int, nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, {arguments.threads} threads"
    print(f"{versions}, {torch.backends.cpu.get_cpu_capability()}; {choose_engine(arguments.device).describe()}")
    if arguments.run:
        race(arguments.run, arguments)
        return
    with tempfile.TemporaryDirectory() as place:
        recipe = f"{__file__}:{stage_one.__name__}"
        run = longtail.train(arguments.data, recipe=recipe, out=Path(place) / "run", **_wishes(arguments))
        race(run.path, arguments)


if __name__ == "__main__":
    main()
