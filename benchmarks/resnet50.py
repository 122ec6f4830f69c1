"""Images a second of training a ResNet-50 at 224 x 224: GCL with mixup, crop and flip, of images on the device.

    python benchmarks/resnet50.py --device cuda
    python benchmarks/resnet50.py --device cpu --side 64 --batch 8 --steps 2

The images are made here and lie on the device as uint8; nothing is decoded.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from contest import CLASSES, KEY, Stopwatch, counts_of
from longtail.data.augmenting.augmentation import CropFlip
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.parts import Part
from longtail.data.pixels import InMemory
from longtail.models.backbones import build_backbone, feature_size
from longtail.models.classifier import Classifier
from longtail.models.heads import Cosine
from longtail.runs import RunFolder
from longtail.training.compiling import trouble_compiling
from longtail.training.engine import Engine, choose_engine
from longtail.training.loop.log import Turn
from longtail.training.loop.trainer import Trainer
from longtail.training.planning.settings import PHOTOGRAPHS_FROM_SCRATCH
from longtail.training.recipes.cosines import gcl
from longtail.watching import Watcher


def main() -> None:
    """Reads the words and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    for name, rate in rates(options.device, options.side, options.batch, options.steps).items():
        print(f"{name:28s}{rate:9.1f} images/s", flush=True)


def rates(device: str, side: int, batch: int, steps: int) -> dict[str, float]:
    """Of the engine as it is and compiled; on a GPU also where cuDNN tries its algorithms out."""
    engine, found = choose_engine(device), {}
    compiled = [False] if trouble_compiling(engine.device) else [False, True]
    tried = [False, True] if engine.device.type == "cuda" else [False]
    for compiles in compiled:
        for tries in tried:
            torch.backends.cudnn.benchmark = tries
            name = ("compiled" if compiles else "not compiled") + (", cudnn.benchmark" if tries else "")
            found[name] = batch / seconds(replace(engine, compiled=compiles), side, batch, steps)
    torch.backends.cudnn.benchmark = False
    return found


def seconds(engine: Engine, side: int, batch: int, steps: int) -> float:
    """Of a training step."""
    watch = Stopwatch(left_out=max(1, steps // 4), steps=steps)
    number = (watch.left_out + steps + 1) * batch
    images = np.random.default_rng(0).integers(0, 256, (number, 3, side, side), dtype=np.uint8)
    part = Part(np.arange(number) % CLASSES, tuple(map(str, range(number))), InMemory(torch.from_numpy(images)))
    setting = replace(PHOTOGRAPHS_FROM_SCRATCH, batch_size=batch, augmentation=CropFlip(padding=side // 8))
    stage = replace(gcl(counts_of(part), setting).stages[0], epochs=1)
    backbone = build_backbone("resnet50")
    classifier = engine.place(Classifier(backbone, Cosine(feature_size(backbone), CLASSES)))
    classifier.head.register_forward_pre_hook(watch.tick)
    with tempfile.TemporaryDirectory() as place, engine.running():
        trainer = Trainer(engine, Preprocessing((side, side)), RunFolder(Path(place)), workers=0, watcher=Watcher())
        trainer.fit(classifier, stage, part, Turn(1, 1, 1), KEY)
    return watch.seconds


if __name__ == "__main__":
    main()
