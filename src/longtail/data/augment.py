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

from longtail.data.preprocessing import Preprocessing, as_tensor
from longtail.data.reading import orientation, rgb
from longtail.draws import Draws


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


Augmentation = BatchAugmentation | ImageAugmentation


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
    `ratio`; after ten windows that do not fit, the largest centred one of an allowed shape is taken. Unlike there,
    the window's border is filtered with what lies beyond it. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where
    the window stays at least as large as the target.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True

    ATTEMPTS = 10
    numbers = 2 * ATTEMPTS + 3

    def __call__(self, image: Image.Image, numbers: Sequence[float], preprocessing: Preprocessing) -> Tensor:
        turned = orientation(image) >= 5
        size = (image.height, image.width) if turned else image.size
        box = self.window(size, numbers)
        target = (preprocessing.size[1], preprocessing.size[0])
        shrink = _shrink(box, target)
        if shrink > 1:
            image.draft(None, (image.width // shrink, image.height // shrink))
        whole = rgb(image)
        across, down = whole.width / size[0], whole.height / size[1]
        scaled = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        cut = whole.resize(target, preprocessing.resampling, box=scaled)
        if self.flip and numbers[-1] < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return as_tensor(cut)

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


def _shrink(box: tuple[int, int, int, int], target: tuple[int, int]) -> int:
    """The largest of JPEG's decoding scales at which the window is no smaller than the target (width, height)."""
    fits = min((box[2] - box[0]) // target[0], (box[3] - box[1]) // target[1])
    return max(scale for scale in (1, 2, 4, 8) if scale <= max(fits, 1))
