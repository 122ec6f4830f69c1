"""What happens to every image before a model sees it, in training, in testing and in use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from longtail.data.images.decoding import jpeg_shrink, shrink_jpeg
from longtail.data.images.reading import open_image, rgb, upright_size
from longtail.data.parts import ImageSet
from longtail.errors import LongtailError, unknown

Triple = tuple[float, float, float]
Box = tuple[float, float, float, float]

CIFAR_MEAN: Triple = (
    0.4914,
    0.4822,
    0.4465,
)  # of CIFAR-10's training images; the long-tail codes use them for both sets
CIFAR_STD: Triple = (0.2023, 0.1994, 0.2010)
# Other small images: onto [-1, 1]. Statistics of the training images would tie the model's input to one split, and a
# network with batch norm gains nothing from them.
PLAIN: Triple = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Preprocessing:
    """Resize so that `size` / `crop_fraction` is just covered, cut out the centre, then (x / 255 - mean) / std.

    An image that has `size` already and is to be kept whole (`crop_fraction` 1) keeps its very pixels.
    """

    size: tuple[int, int]  # (height, width) in pixels
    mean: Triple = PLAIN
    std: Triple = PLAIN
    interpolation: str = "bicubic"  # Pillow's names in lower case
    crop_fraction: float = 1.0

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise LongtailError(f"The image size must be at least 1 pixel, not {self.size[0]} x {self.size[1]}.")
        if self.interpolation.upper() not in Image.Resampling.__members__:
            raise unknown("interpolation", self.interpolation, [name.lower() for name in Image.Resampling.__members__])

    @classmethod
    def native(cls, images: ImageSet) -> Preprocessing:
        """For small images: their own size, CIFAR's published mean and deviation for CIFAR, else onto [-1, 1].

        Raises LongtailError where the images have no common size.
        """
        if images.size is None:
            raise LongtailError(f"The images of {images.name} have different sizes; give one with --image-size.")
        if images.kind == "cifar":
            return cls(images.size, CIFAR_MEAN, CIFAR_STD)
        return cls(images.size)

    @classmethod
    def of_timm(cls, config: Mapping[str, Any]) -> Preprocessing:
        """From timm's data config (`timm.data.resolve_model_data_config(model)`), centre crop in every crop mode."""
        _, height, width = config["input_size"]
        return cls(
            size=(int(height), int(width)),
            mean=_triple(config["mean"]),
            std=_triple(config["std"]),
            interpolation=str(config.get("interpolation", "bicubic")),
            crop_fraction=float(config.get("crop_pct") or 1.0),
        )

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Self:
        """The preprocessing that `description` describes."""
        triples = {name: _triple(description[name]) for name in ("mean", "std")}
        height, width = description["size"]
        return cls(**{**description, **triples, "size": (height, width)})

    def description(self) -> dict[str, Any]:
        """Everything about it in JSON's types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def at(self, side: int) -> Preprocessing:
        """The same for square images of `side` pixels."""
        return replace(self, size=(side, side))

    @property
    def resampling(self) -> Image.Resampling:
        """Pillow's name of the interpolation."""
        return Image.Resampling[self.interpolation.upper()]

    def pixels(self, image: Path | str | Image.Image) -> Tensor:
        """One image as the model's size, uint8 (3, H, W). Raises UnreadableImage."""
        if not isinstance(image, Image.Image):
            with open_image(Path(image)) as opened:
                return self.pixels(opened)
        return as_tensor(_centre(self.covering(image), self.size))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (..., 3, H, W) to float32 of the same shape."""
        scale, shift = _affine(self.mean, self.std, images.device)
        if images.dim() != 4 or images.is_contiguous():
            return images.to(torch.float32).mul_(scale).add_(shift)
        # Channels last: by whole lines, six times as fast as three numbers at a time.
        width = images.shape[3]
        lines = images.permute(0, 2, 3, 1).flatten(2).to(torch.float32)
        lines = lines.mul_(scale.flatten().repeat(width)).add_(shift.flatten().repeat(width))
        return lines.view(*lines.shape[:2], width, 3).permute(0, 3, 1, 2)

    def __call__(self, image: Image.Image) -> Tensor:
        """One Pillow image as the model takes it, float32 (3, H, W)."""
        return self.normalise(self.pixels(image))

    def resize(self, pixels: NDArray[np.uint8], box: Box | None = None) -> Tensor:
        """Pixels (h, w, 3) as the model's size without regard to their shape, uint8 (3, H, W).

        Without a box, bilinear and bicubic are torch's: at most 3 levels from Pillow's, 0.2 on average, in a third of
        the time.

        Args:
            pixels: what to resize.
            box: (left, top, right, bottom) of the part that is wanted, in fractions of pixels where need be.
        """
        if box is not None or self.interpolation not in ("bilinear", "bicubic"):
            return as_tensor(Image.fromarray(pixels).resize(self.size[::-1], self.resampling, box))
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
        return functional.interpolate(image, self.size, mode=self.interpolation, antialias=True)[0]

    def covering(self, image: Image.Image) -> Image.Image:
        """An opened image as upright RGB, resized until it just covers `size` / `crop_fraction`: timm's very pixels.

        A JPEG of more than four times that is decoded at 1/2, 1/4 or 1/8, which leaves at least twice of it: on average
        0.1 to 0.6 of 255 levels from the whole one, at most 10, in a dozen photographs. Raises UnreadableImage.
        """
        size = upright_size(image)
        plenty = math.ceil(2 * max(self.size) / self.crop_fraction)
        shrink = shrink_jpeg(image, jpeg_shrink(size, (plenty, plenty)))
        decoded = rgb(image)
        left, top, width, height = self._middle(*(size if shrink > 1 else decoded.size))
        box = (left / shrink, top / shrink, (left + width) / shrink, (top + height) / shrink)
        return decoded.resize(self.covering_size(width, height), self.resampling, box)

    def covering_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) that an image of (width, height) is resized to before its centre is cut out."""
        if (height, width) == self.size and self.crop_fraction == 1:
            return width, height
        cover_height, cover_width = (math.floor(side / self.crop_fraction) for side in self.size)
        if cover_height * width >= cover_width * height:
            return int(cover_height * width / height), cover_height
        return cover_width, int(cover_width * height / width)

    def _middle(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, width, height) of what is resized: of a ribbon its middle.

        The rest of it is cut off anyway, but would fill the memory when resized.
        """
        longest = min(width, height) * 16 * math.ceil(max(self.size) / min(self.size))
        across, down = min(width, longest), min(height, longest)
        return (width - across) // 2, (height - down) // 2, across, down


def _centre(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of `size` (height, width)."""
    left, top = round((image.width - size[1]) / 2), round((image.height - size[0]) / 2)
    return image.crop((left, top, left + size[1], top + size[0]))


def as_tensor(image: Image.Image) -> Tensor:
    """An RGB image as uint8 (3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _triple(values: Any) -> Triple:
    first, second, third = (float(value) for value in values)
    return first, second, third


@lru_cache(maxsize=8)
def _affine(mean: Triple, std: Triple, device: torch.device) -> tuple[Tensor, Tensor]:
    """(x / 255 - mean) / std as x * scale + shift; kept, since a copy to a GPU each step would make it wait."""
    centre, width = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean, std))
    scale, shift = 1 / (255 * width), -centre / width
    return scale.float().to(device), shift.float().to(device)
