"""How a first training goes, by the kind of images, as data: everything else is the recipe's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from longtail.data.augmenting.augmentation import Augmentation, CropFlip, RandomResizedCropFlip
from longtail.training.planning.decays import STEPS, Decay, HalfCosine

Algorithm = Literal["sgd", "adamw"]

STEPS_AN_EPOCH = 20  # at least, on data too few for the published batch
SMALLEST_BATCH = 32


@dataclass(frozen=True)
class Setting:
    """Numbers of the first training that follow from the images. Later stages take their share of `epochs`."""

    source: str  # where the numbers come from
    backbone: str
    weights: str  # `pretrained` or `none`
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    decay: Decay  # of the learning rate
    mixup: float  # alpha of Beta(alpha, alpha)
    retraining: float  # length of a second stage on the classifier alone, as a share of `epochs`
    retraining_mixup: float | None  # alpha there; None does not mix
    augmentation: Augmentation | None
    nesterov: bool = False
    algorithm: Algorithm = "sgd"

    @property
    def retraining_epochs(self) -> int:
        """Epochs of a second stage on the classifier alone."""
        return max(1, round(self.retraining * self.epochs))

    @property
    def optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """Parameter groups and learning rate to an optimiser."""
        if self.algorithm == "adamw":
            return partial(torch.optim.AdamW, weight_decay=self.weight_decay, fused=True)
        return partial(
            torch.optim.SGD, momentum=0.9, weight_decay=self.weight_decay, nesterov=self.nesterov, fused=True
        )

    def by_adamw(self, *, fine_tuning: bool) -> Setting:
        """The setting by AdamW (Loshchilov and Hutter, ICLR 2019), at a rate and a weight decay that are its own.

        A step of AdamW is about as long as its rate, however large the gradient is. So the rate follows from what is
        trained, not from SGD's, and is the same for smaller batches.

        Args:
            fine_tuning: whether weights that are trained already go on learning, at a tenth of the rate.
        """
        return replace(self, algorithm="adamw", lr=1e-4 if fine_tuning else 1e-3, weight_decay=0.05)

    def for_second_stage(self, number: int) -> Setting:
        """The setting of a second stage by itself on `number` training images: its epochs are all there are."""
        return replace(self, epochs=self.retraining_epochs, retraining=1.0).for_images(number)

    def for_images(self, number: int) -> Setting:
        """The setting for `number` training images.

        Data too few for `STEPS_AN_EPOCH` steps of the published batch get a smaller batch, and a learning rate that is
        smaller in proportion (Goyal et al., 2017).
        """
        batch_size = min(self.batch_size, max(SMALLEST_BATCH, number // STEPS_AN_EPOCH))
        return replace(self, batch_size=batch_size, lr=self.lr * batch_size / self.batch_size)


CIFAR = Setting(
    source="GCL, CVPR 2022, section 4.2 and thesis Table 5.1",
    backbone="resnet32",
    weights="none",
    epochs=200,
    batch_size=128,
    lr=0.1,
    weight_decay=2e-4,
    decay=STEPS,
    mixup=1.0,
    retraining=0.15,  # 30 epochs after 200, as in GCL's code
    retraining_mixup=1.0,
    augmentation=CropFlip(padding=4),
)
DIGITS = replace(
    CIFAR,
    source="CIFAR's numbers; 8 x 8 digits are moved by one pixel and never mirrored",
    epochs=60,
    retraining=1.0,  # an epoch has 12 steps, and a step on the classifier alone costs little
    retraining_mixup=None,
    augmentation=CropFlip(padding=1, flip=False),
)
PHOTOGRAPHS = Setting(
    source="fine-tuning as is common for pretrained networks",
    backbone="resnet50",
    weights="pretrained",
    epochs=30,
    batch_size=64,
    lr=0.01,
    weight_decay=1e-4,
    decay=HalfCosine(warm_up=0.05),
    mixup=0.2,
    retraining=0.15,
    retraining_mixup=1.0,
    augmentation=RandomResizedCropFlip(),
)
PHOTOGRAPHS_FROM_SCRATCH = replace(
    PHOTOGRAPHS,
    source="GCL on ImageNet-LT, thesis Table 5.1",
    weights="none",
    epochs=200,
    batch_size=256,
    lr=0.1,
    weight_decay=2e-4,
    decay=STEPS,
)


PLACES = replace(
    PHOTOGRAPHS_FROM_SCRATCH,
    source="GCL on Places-LT, thesis Table 5.1",
    backbone="resnet152",
    weights="pretrained",
    epochs=90,
    batch_size=512,
    lr=0.2,
    weight_decay=5e-4,
)
FROM_SCRATCH = ("imagenet-lt", "inaturalist2018")
"""Named sets that pretrained weights would spoil: these have seen what the long tail leaves out."""


def setting_for(name: str, kind: str, weights: str | None) -> Setting:
    """The setting for a set by its name, or for a kind of images (digits, cifar, small, photographs), and weights."""
    if name == "places-lt":
        return PLACES
    if kind == "digits":
        return DIGITS
    if kind in {"cifar", "small"}:
        return CIFAR
    return PHOTOGRAPHS_FROM_SCRATCH if weights == "none" or name in FROM_SCRATCH else PHOTOGRAPHS
