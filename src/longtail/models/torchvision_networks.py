"""torchvision's networks as backbones: without their classifier, and with what timm's networks say of themselves."""

from __future__ import annotations

from typing import Any

import torchvision
from torch import nn

NOT_LINEAR = frozenset({"googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1"})
"""Their classifiers are more than one linear layer, or none."""


def names() -> list[str]:
    """The networks whose classifier is one linear layer."""
    return [name for name in torchvision.models.list_models(module=torchvision.models) if name not in NOT_LINEAR]


def build(name: str, image_size: int | None = None) -> nn.Module:
    """An untrained network whose last linear layer is taken off, so that it gives features (B, D).

    Like a network of timm it has `num_features` and a `pretrained_cfg`: the name of the classifier that was taken
    off, and how the images of the published weights were prepared.

    Args:
        name: one of `names`.
        image_size: pixels a side, for the networks that are built for one size.
    """
    network = _build(name, image_size)
    *_, (place, classifier) = ((place, each) for place, each in network.named_modules() if isinstance(each, nn.Linear))
    network.set_submodule(place, nn.Identity())
    network.num_features = classifier.in_features  # type: ignore[assignment]
    network.pretrained_cfg = {"classifier": place, **_images_of(name)}  # type: ignore[assignment]
    return network


def _build(name: str, image_size: int | None) -> nn.Module:
    sized = {} if image_size is None else {"image_size": image_size}
    network: nn.Module
    try:
        network = torchvision.models.get_model(name, weights=None, **sized)
    except TypeError:  # a network that takes every size does not know the argument
        network = torchvision.models.get_model(name, weights=None)
    return network


def _images_of(name: str) -> dict[str, Any]:
    """How torchvision's best weights of this network saw images, in timm's words."""
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    (side,), (resized,) = preset.crop_size, preset.resize_size
    return {
        "input_size": (3, side, side),
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "interpolation": preset.interpolation.value,
        "crop_pct": side / resized,
    }
