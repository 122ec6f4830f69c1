"""The operations that searched augmentation policies are made of (Cubuk et al., CVPR 2019, table 6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
    "Invert",
)

SIGNED = frozenset(OPERATIONS[1:10])
"""Those that go either way; of the others the sign says nothing."""

_SHEAR, _SHIFT, _TURN, _ENHANCE, _BITS = 0.3, 150 / 331, 30.0, 0.9, 4


def operate(name: str, images: Tensor, level: float) -> Tensor:
    """One operation on images uint8 (B, 3, H, W), with torchvision's ranges and its filling in black.

    Args:
        name: one of `OPERATIONS`.
        images: to change.
        level: share of the largest magnitude, -1 .. 1; 0 .. 1 for what is not `SIGNED`.
    """
    height, width = images.shape[-2:]
    changed: Tensor = _operation(name, level, height, width)(images)
    return changed


def _operation(name: str, level: float, height: int, width: int) -> Callable[[Tensor], Any]:
    """The operation with its magnitude: shears about the upper left corner, shifts by whole pixels."""
    from torchvision.transforms.v2 import functional as F  # imports all of torchvision: for those who need it

    shear, factor = math.degrees(math.atan(level * _SHEAR)), 1 + level * _ENHANCE
    move = partial(F.affine, angle=0.0, scale=1.0)
    still, corner = [0, 0], [0, 0]
    known: dict[str, Callable[[Tensor], Any]] = {
        "Identity": lambda images: images,
        "ShearX": partial(move, translate=still, shear=[shear, 0.0], center=corner),
        "ShearY": partial(move, translate=still, shear=[0.0, shear], center=corner),
        "TranslateX": partial(move, translate=[int(level * _SHIFT * width), 0], shear=[0.0, 0.0]),
        "TranslateY": partial(move, translate=[0, int(level * _SHIFT * height)], shear=[0.0, 0.0]),
        "Rotate": partial(F.rotate, angle=level * _TURN),
        "Brightness": partial(F.adjust_brightness, brightness_factor=factor),
        "Color": partial(F.adjust_saturation, saturation_factor=factor),
        "Contrast": partial(F.adjust_contrast, contrast_factor=factor),
        "Sharpness": partial(F.adjust_sharpness, sharpness_factor=factor),
        "Posterize": partial(F.posterize, bits=round(8 - level * _BITS)),
        "Solarize": partial(F.solarize, threshold=255 * (1 - level)),
        "AutoContrast": F.autocontrast,
        "Equalize": F.equalize,
        "Invert": F.invert,
    }
    return known[name]
