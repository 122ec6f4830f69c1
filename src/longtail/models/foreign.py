"""Networks that were trained elsewhere: read without running anything that comes with them.

The only file that may read PyTorch's own format, which is a program; it is read as tensors and plain values alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from longtail.errors import LongtailError, unknown
from longtail.models.backbones import build_backbone, classifier_names, feature_size, load_tensors
from longtail.models.class_order import agreed_classes, classes_within
from longtail.models.classifier import Architecture, Classifier
from longtail.models.heads import Linear

SAFE_SINCE = "2.10"
"""A file can make older versions of PyTorch write where they should not, or run code."""
PLACES = ("state_dict", "model_state_dict", "model", "state_dict_ema")
"""Where checkpoints keep their tensors, the first that is there."""
WRAPPERS = ("module.", "model.", "_orig_mod.")
"""What wrappers put before the name of every tensor."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and the order of the classes if the file says it."""

    source: str
    tensors: dict[str, Tensor]
    classes: tuple[str, ...] | None


def foreign_classifier(
    path: Path, *, backbone: str, classes: Sequence[str] | None = None, image_size: int | None = None
) -> tuple[Classifier, Architecture]:
    """A network trained elsewhere as a classifier with a linear head, which gives the same logits.

    Args:
        path: `.safetensors`, or a `.pt`, `.pth` or `.bin` with tensors; it is only read.
        backbone: what the network is: a name of timm, `torchvision/NAME`, or `resnet32`.
        classes: names in the order of the outputs, where the file does not say them.
        image_size: pixels a side, for networks built for one size.

    Raises:
        LongtailError: the file is no safe checkpoint, holds another network, or the classes are not known.
    """
    checkpoint = read_checkpoint(path)
    network = build_backbone(backbone, image_size)
    tensors = dict(checkpoint.tensors)
    weight, bias = _take_classifier(tensors, checkpoint.source, network, backbone)
    names = agreed_classes(classes, checkpoint.classes, len(weight), str(path))
    load_tensors(network, tensors, str(path))
    head = Linear(feature_size(network), len(names))
    head.load_state_dict({"weight": weight, "bias": bias})
    classifier = Classifier(network, head)
    classifier.classes = names
    return classifier.eval(), Architecture(backbone, image_size, head.description(), names)


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors of a file and what it says of classes.

    Raises:
        LongtailError: there is no such file, or it holds more than tensors and plain values.
    """
    readers = {".safetensors": _read_safetensors, **dict.fromkeys((".pt", ".pth", ".bin"), _read_torch)}
    if path.suffix not in readers:
        raise unknown("kind of checkpoint", path.suffix or path.name, readers)
    if not path.is_file():
        raise LongtailError(f"There is no file {path}.")
    tensors, beside = readers[path.suffix](path)
    tensors = _unwrapped(tensors)
    if "head.weight" in tensors and any(name.startswith("backbone.") for name in tensors):
        raise LongtailError(f"{path} is a model of longtail; give its run folder instead.")
    return Checkpoint(str(path), tensors, classes_within(beside, str(path)))


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise LongtailError(f"Cannot read {path} as safetensors ({error}).") from None


def _read_torch(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    if torch.__version__ < SAFE_SINCE:
        raise LongtailError(
            f"PyTorch {torch.__version__} does not read {path.name} safely; install {SAFE_SINCE} or newer, or give the "
            "weights as safetensors."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file that is no checkpoint makes of the reader
        raise LongtailError(
            f"{path} holds more than tensors and plain values, or is damaged, and was not read: its code could do "
            "anything. Where it comes from, save model.state_dict() alone, best as safetensors."
        ) from error
    if not isinstance(content, Mapping):
        raise LongtailError(f"{path} holds a {type(content).__name__}, not tensors by name; save model.state_dict().")
    return _tensors_in(content, path), content


def _tensors_in(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors by name, however deep in a checkpoint they lie."""
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return dict(content)
    for place in PLACES:
        if isinstance(content.get(place), Mapping):
            return _tensors_in(content[place], path)
    raise LongtailError(
        f"{path} holds no tensors by name: there is none of {', '.join(PLACES)} in it; save model.state_dict()."
    )


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that the network itself gives them."""
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            return _unwrapped({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return tensors


def _take_classifier(
    tensors: dict[str, Tensor], source: str, network: nn.Module, backbone: str
) -> tuple[Tensor, Tensor]:
    """Take weight (C, D) and bias (C,) of the last layer out of the tensors; a bias that is not there is zero."""
    choices = classifier_names(network)
    found = [name for name in choices if f"{name}.weight" in tensors]
    looked = " or ".join(f"{name}.weight" for name in choices)
    if not found:
        raise LongtailError(
            f"{source} has no classifier {looked}; is it the whole network, and is {backbone} its backbone?"
        )
    if len(found) > 1:
        raise LongtailError(f"{source} has {len(found)} classifiers ({looked}), which cannot be one head.")
    weight = tensors.pop(f"{found[0]}.weight").flatten(1)
    bias = tensors.pop(f"{found[0]}.bias", torch.zeros(len(weight)))
    if weight.shape[1] != feature_size(network):
        raise LongtailError(
            f"The classifier {found[0]!r} in {source} takes {weight.shape[1]} features, but {backbone} gives "
            f"{feature_size(network)}; give the --backbone that the file belongs to."
        )
    if bias.shape != weight.shape[:1]:
        raise LongtailError(
            f"The classifier {found[0]!r} in {source} has weights for {len(weight)} outputs, "
            f"but a bias for {len(bias)}."
        )
    return weight, bias
