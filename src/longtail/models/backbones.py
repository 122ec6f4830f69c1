"""Backbones: images (B, 3, H, W) to features (B, D). CIFAR's ResNet-32, or a network of timm or torchvision by name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from longtail.errors import LongtailError
from longtail.models.resnet32 import ResNet32

RESNET32 = "resnet32"
TORCHVISION = "torchvision/"


def build_backbone(name: str, image_size: int | None = None) -> nn.Module:
    """An untrained backbone.

    Args:
        name: `resnet32` (CIFAR's), a name of timm such as `resnet50` or `vit_small_patch16_224.augreg_in21k`, or
            `torchvision/resnet50`.
        image_size: pixels a side, for the networks that are built for one size.

    Raises:
        LongtailError: there is no such backbone.
    """
    if name == RESNET32:
        return ResNet32()
    check_backbone(name)
    if name.startswith(TORCHVISION):
        from longtail.models import torchvision_networks

        return torchvision_networks.build(name.removeprefix(TORCHVISION), image_size)
    import timm

    sized: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
    try:
        return timm.create_model(name, num_classes=0, **sized)
    except TypeError:  # a network that takes every size does not know the argument
        return timm.create_model(name, num_classes=0)


def feature_size(backbone: nn.Module) -> int:
    """D, the length of a backbone's features.

    Some networks of timm have a layer between their last maps, of `num_features`, and the features.
    """
    size = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    assert isinstance(size, int)  # noqa: S101  (a network of timm or torchvision, or ours)
    return size


def check_backbone(name: str) -> None:
    """Raise LongtailError if there is no such backbone, without building it."""
    import timm

    if name == RESNET32 or timm.is_model(name):
        return
    from longtail.models import torchvision_networks

    others = [TORCHVISION + other for other in torchvision_networks.names()]
    if name in others:
        return
    near = difflib.get_close_matches(name, [RESNET32, *timm.list_models(), *others], n=3)
    way_out = f"use {RESNET32}, a name of timm, or {TORCHVISION}NAME with one of torchvision's linear classifiers."
    hint = f"did you mean {' or '.join(near)}?" if near else way_out
    raise LongtailError(f"Unknown backbone {name!r}; {hint}")


def data_config(backbone: nn.Module) -> dict[str, Any]:
    """Size, mean, standard deviation and resizing that a backbone of timm or torchvision was published with."""
    from timm.data import resolve_model_data_config

    config: dict[str, Any] = resolve_model_data_config(backbone)
    return config


def load_pretrained(name: str, backbone: nn.Module) -> None:
    """Give a timm backbone its published weights (safetensors only), from the local cache or the network.

    Raises:
        LongtailError: there are none, or they cannot be had.
    """
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars, logging

    way_out = "use --weights none to start from scratch, or --weights FILE.safetensors"
    source = getattr(backbone, "pretrained_cfg", {}).get("hf_hub_id")
    if not source:
        raise LongtailError(f"Backbone {name!r} has no weights published as safetensors; {way_out}.")
    logging.set_verbosity_error()
    disable_progress_bars()
    try:
        file = huggingface_hub.hf_hub_download(source, "model.safetensors")
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LongtailError(
            f"The pretrained weights of {name!r} cannot be had ({reason}); without a network {way_out}."
        ) from error
    load_file(backbone, Path(file))


def load_file(backbone: nn.Module, path: Path) -> None:
    """Give a backbone the weights of a safetensors file: of the backbone alone, of a classifier, or of a run.

    Raises:
        LongtailError: the file is missing, is not safetensors, or holds another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file as read

    try:
        tensors = read(path)
    except (OSError, SafetensorError) as error:
        raise LongtailError(
            f"Cannot read {path} as safetensors ({error}); give a file of weights in that format, or --weights none."
        ) from None
    load_tensors(backbone, tensors, str(path))


def load_tensors(backbone: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Give a backbone tensors by name; those of a classifier on top of it are left out, nothing else may differ."""
    own = backbone.state_dict()
    inside = {
        name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")
    }
    tensors = inside or tensors
    foreign = [name for name in tensors if name not in own and not name.startswith(_classifier_prefixes(backbone))]
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    shaped = [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    for names, what in ((missing, "lacks"), (foreign, "holds an unknown"), (shaped, "has another shape of")):
        if names:
            raise LongtailError(
                f"{source} does not fit this backbone: it {what} {names[0]!r} ({len(names)} such); "
                "give the weights of the same network, with the same --image-size."
            )
    backbone.load_state_dict({name: tensors[name] for name in own if name in tensors}, strict=False)


def _classifier_prefixes(backbone: nn.Module) -> tuple[str, ...]:
    """How the names of the tensors of a network's classifier begin."""
    return tuple(f"{name}." for name in classifier_names(backbone))


def classifier_names(backbone: nn.Module) -> tuple[str, ...]:
    """What the classifier is called that belongs on top of this backbone; several names, for ours, are choices."""
    names = getattr(backbone, "pretrained_cfg", {}).get("classifier", ("fc", "linear", "head", "classifier"))
    return (names,) if isinstance(names, str) else tuple(names)
