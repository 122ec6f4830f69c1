"""Random changes of training images, as functions of (key, position in the epoch's order)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from longtail.data.images.decoding import decode, jpeg_shrink, shrink_jpeg
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import upright_size
from longtail.draws import Draws
from longtail.errors import LongtailError


class BatchAugmentation(ABC):
    """Changes a whole batch of images that have the model's size already."""

    @abstractmethod
    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (B, 3, H, W) to the same shape; row i depends on its image and on row i of `draws`."""


class ImageAugmentation(ABC):
    """Changes one image on its way from the file to the model's size."""

    numbers: int
    """How many uniform numbers an image needs."""

    @abstractmethod
    def __call__(self, image: Image.Image, numbers: Sequence[float], preprocessing: Preprocessing) -> Tensor:
        """An opened image to uint8 (3, H, W) of the preprocessing's size. Raises UnreadableImage."""


@dataclass(frozen=True)
class Chain:
    """Augmentations one after the other: at most one of single images, at the beginning, then those of batches.

    >>> Chain(CropFlip(), CropFlip(padding=1)).of_image is None
    True
    """

    parts: tuple[BatchAugmentation | ImageAugmentation, ...]

    def __init__(self, *parts: BatchAugmentation | ImageAugmentation) -> None:
        if any(isinstance(part, ImageAugmentation) for part in parts[1:]):
            raise LongtailError("In a chain of augmentations, one of single images must come first.")
        object.__setattr__(self, "parts", parts)

    @property
    def of_image(self) -> ImageAugmentation | None:
        """What happens to single images on their way from the file."""
        return next((part for part in self.parts if isinstance(part, ImageAugmentation)), None)

    def of_batch(self, images: Tensor, draws: Draws) -> Tensor:
        """What happens to a batch then: uint8 (B, 3, H, W) to the same shape."""
        for place, part in enumerate(self.parts):
            if isinstance(part, BatchAugmentation):
                images = part(images, draws.of(str(place)) if place else draws)
        return images


Augmentation = BatchAugmentation | ImageAugmentation | Chain


def as_chain(augmentation: Augmentation | None) -> Chain:
    """The augmentation as a chain of none, one or several."""
    if isinstance(augmentation, Chain):
        return augmentation
    return Chain() if augmentation is None else Chain(augmentation)


@dataclass(frozen=True)
class CropFlip(BatchAugmentation):
    """Black padding, a random crop of the old size, mirrored every other time (He et al., 2016, section 4.2)."""

    padding: int = 4
    flip: bool = True

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        size, height, width = images.shape[0], images.shape[2], images.shape[3]
        chance = draws.uniform(torch.empty(size, 3, device=images.device), "crop and flip")
        top, left = (chance[:, :2] * (2 * self.padding + 1)).long().unbind(1)
        rows = top[:, None] + torch.arange(height, device=images.device)
        columns = torch.arange(width, device=images.device).expand(size, -1)
        if self.flip:
            columns = torch.where(chance[:, 2:] < 0.5, columns.flip(1), columns)
        columns = columns + left[:, None]
        padded = functional.pad(images, (self.padding,) * 4)
        # One gather over flattened images: four times as fast as indexing rows and columns.
        places = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).reshape(size, 1, -1)
        return padded.flatten(2).gather(2, places.expand(-1, images.shape[1], -1)).reshape(images.shape)


@dataclass(frozen=True)
class RandomResizedCropFlip(ImageAugmentation):
    """A window of random area and shape, resized, mirrored every other time (Szegedy et al., 2015).

    torchvision's rule: the window's share of the area is uniform on `scale`, its width over height log-uniform on
    `ratio`; after ten windows that do not fit, the largest centred one of an allowed shape is taken. A JPEG is decoded
    at 1/2, 1/4 or 1/8 of its size where the window stays at least as large as the target: 0.9 of 255 levels from the
    whole one on average in grainy photographs, at most 31.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True

    ATTEMPTS = 10
    numbers = 2 * ATTEMPTS + 3

    def __call__(self, image: Image.Image, numbers: Sequence[float], preprocessing: Preprocessing) -> Tensor:
        size = upright_size(image)
        left, top, right, bottom = self.window(size, numbers)
        shrink = shrink_jpeg(image, jpeg_shrink((right - left, bottom - top), preprocessing.size[::-1]))
        whole = decode(image)
        if shrink == 1:
            cut = preprocessing.resize(whole[top:bottom, left:right])
        else:
            x, y = left // shrink, top // shrink
            box = (left / shrink - x, top / shrink - y, right / shrink - x, bottom / shrink - y)
            cut = preprocessing.resize(whole[y : math.ceil(bottom / shrink), x : math.ceil(right / shrink)], box)
        return cut.flip(2) if self.flip and numbers[-1] < 0.5 else cut

    def window(self, size: tuple[int, int], numbers: Sequence[float]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in an image of `size` (width, height), from `self.numbers` uniform numbers."""
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for attempt in range(self.ATTEMPTS):
            share, shape = numbers[2 * attempt : 2 * attempt + 2]
            area = size[0] * size[1] * (self.scale[0] + share * (self.scale[1] - self.scale[0]))
            aspect = math.exp(low + shape * (high - low))
            width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < width <= size[0] and 0 < height <= size[1]:
                left = int(numbers[-3] * (size[0] - width + 1))
                top = int(numbers[-2] * (size[1] - height + 1))
                return left, top, left + width, top + height
        return self._widest(size)

    def _widest(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        width = min(size[0], max(1, round(size[1] * self.ratio[1])))
        height = min(size[1], max(1, round(size[0] / self.ratio[0])))
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        return left, top, left + width, top + height
