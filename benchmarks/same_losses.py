"""Whether this engine and the published loop train the same: their losses, step by step, with the same draws.

    python benchmarks/same_losses.py              # float32; seconds
    python benchmarks/same_losses.py --compiled   # this engine compiled; a minute or two

The published way gets the images, crops, flips, partners and noise that the engine draws, one by one by Pillow. At the
recipe's learning rate rounding grows a hundredfold in a step, so that a small one is taken.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as TF

from contest import CLASSES, KEY, Contest, counts_of, new_classifier, train
from longtail.data.parts import Part
from longtail.draws import Key
from longtail.models.classifier import Classifier
from longtail.models.heads import Cosine
from longtail.samplers import LabelIndex
from longtail.training.engine import Engine
from longtail.training.loop.sources import order_of
from longtail.training.planning.settings import CIFAR
from longtail.training.stage import Stage
from published_loop import DEVIATION, PADDING, SIDE, TO_TENSOR, Drawn, PublishedLoop

BATCH, STEPS, SMALL_RATE, TOLERANCE = 64, 3, 1e-3, 1e-5


def main() -> None:
    """Reads the words and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiled", action="store_true", help="compile this engine's network")
    check_losses(compiled=parser.parse_args().compiled)


def check_losses(*, compiled: bool = False) -> None:
    """Train both on the same batches with the same draws in float32; stop where their losses differ."""
    contest = Contest(BATCH, 0, STEPS - 1)
    part = contest.part()
    stage, classifier = replace(contest.stage(part), lr=SMALL_RATE), new_classifier()
    theirs = published_losses(stage, copy.deepcopy(classifier), part)
    engine = Engine(torch.device("cpu"), torch.float32, "to compare", compiled=compiled)
    ours = train(engine, classifier, stage, part)
    difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    told = ", ".join(f"{loss:.6f}" for loss in ours)
    how = "compiled" if compiled else "not compiled"
    print(f"losses of {STEPS} steps in float32, {how}, same draws: {told}; largest difference {difference:.1e}")
    if difference > TOLERANCE:
        raise SystemExit(f"The losses of the published way are {theirs}: the two do not train the same.")


def published_losses(stage: Stage, classifier: Classifier, part: Part) -> list[float]:
    """The published loop, with the numbers that the engine draws."""
    here, index = KEY.at("epoch", 0), LabelIndex.of(part.labels, CLASSES)
    order = order_of(stage, index, here, 0, STEPS)
    rate = stage.lr * stage.lr_schedule.at(0)
    assert isinstance(classifier.head, Cosine)
    loop = PublishedLoop.of(classifier.backbone, classifier.head.weight, counts_of(part), rate)
    losses = []
    for step, (rows, places) in enumerate(zip(*order, strict=True)):
        positions = torch.from_numpy(places)
        images = cropped(part, rows.tolist(), positions, here.at("augmentation"))
        drawn = numbers_of(here, step, positions)
        losses.append(loop.step(images, torch.from_numpy(part.labels[rows]), drawn))
    return losses


def cropped(part: Part, rows: list[int], positions: Tensor, key: Key) -> Tensor:
    """Pillow images, one by one, with the corners and flips that the engine draws."""
    chance = key.draws(positions).uniform(torch.empty(len(rows), 3), "crop and flip")
    corners = (chance[:, :2] * (2 * PADDING + 1)).long().tolist()
    tensors = []
    for row, (top, left), flip in zip(rows, corners, (chance[:, 2] < 0.5).tolist(), strict=True):
        picture: Image.Image = TF.crop(TF.pad(part.pixels.open(row), [PADDING]), top, left, SIDE, SIDE)
        tensors.append(TO_TENSOR(TF.hflip(picture) if flip else picture))
    return torch.stack(tensors)


def numbers_of(epoch: Key, step: int, positions: Tensor) -> Drawn:
    """The mixing and the noise that the engine draws for a step."""
    generator = epoch.at("step", step).at("mixing").generator()
    generator.random()  # whether to mix at all
    share = generator.beta(CIFAR.mixup, CIFAR.mixup)
    partners = torch.from_numpy(generator.permutation(len(positions)))
    draws, like = epoch.at("loss").draws(positions), torch.empty(len(positions), CLASSES)
    first, second = (
        (draws.of(f"{which} targets").half_normal(like, "cloud") * DEVIATION).clamp(max=1)
        for which in ("first", "second")
    )
    return Drawn(share, partners, (first, second))


if __name__ == "__main__":
    main()
