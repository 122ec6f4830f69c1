"""A network that was trained elsewhere, ready to use: the classifier, and how it wants its images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from longtail.data.images.preprocessing import Preprocessing
from longtail.errors import LongtailError
from longtail.models.backbones import RESNET32, data_config
from longtail.models.classifier import Architecture, Classifier
from longtail.models.foreign import foreign_classifier


def load_foreign(
    path: str | Path,
    *,
    backbone: str,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> tuple[Classifier, Architecture, Preprocessing]:
    """A checkpoint made outside longtail as a classifier, in evaluation mode; the file is only read.

    Args:
        path: safetensors, or a .pt, .pth or .bin with tensors and plain values alone.
        backbone: what the network is: a name of timm, `torchvision/NAME`, or `resnet32`.
        classes: class names in the order of the outputs, where the file does not say them.
        image_size: pixels a side; by default what the backbone was published with.
        preprocessing: as model.json has it; by default what timm or torchvision publish for the backbone.

    Raises:
        LongtailError: the file is no safe checkpoint, holds another network, or classes or preprocessing are
            not known.
    """
    classifier, architecture = foreign_classifier(Path(path), backbone=backbone, classes=classes, image_size=image_size)
    prepared = _preprocessing(classifier, backbone, image_size, preprocessing)
    classifier.transform = prepared
    return classifier, architecture, prepared


def read_preprocessing(path: Path) -> Mapping[str, Any]:
    """How a network wants its images, from a JSON file: a run's model.json, or what stands there as `preprocessing`.

    Raises:
        LongtailError: the file cannot be read, or is not JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise LongtailError(f"Cannot read the preprocessing in {path}: {error.strerror}.") from None
    except ValueError as error:
        raise LongtailError(
            f"{path} is not JSON ({error}); it should look as preprocessing in a run's model.json."
        ) from None
    if not isinstance(content, dict):
        raise LongtailError(f"{path} holds no JSON object; it should look as preprocessing in a run's model.json.")
    described: Mapping[str, Any] = content.get("preprocessing", content)
    return described


def _preprocessing(
    classifier: Classifier, backbone: str, image_size: int | None, given: Mapping[str, Any] | None
) -> Preprocessing:
    if given is not None:
        try:
            return Preprocessing.of(given)
        except (KeyError, TypeError, ValueError) as error:
            raise LongtailError(
                "--preprocessing needs size, mean, std, interpolation and crop_fraction, as in model.json; "
                f"{f'it lacks {error}' if isinstance(error, KeyError) else error}."
            ) from None
    if backbone == RESNET32:
        raise LongtailError(f"{RESNET32} was published without preprocessing; say what the network was trained with.")
    published = Preprocessing.of_timm(data_config(classifier.backbone))
    return published if image_size is None else published.at(image_size)
