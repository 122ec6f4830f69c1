"""Random changes of brightness, contrast, saturation and hue, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from longtail.data.augmenting.augmentation import BatchAugmentation
from longtail.draws import Draws
from longtail.errors import LongtailError

_CHANGES = 4


@dataclass(frozen=True)
class ColourJitter(BatchAugmentation):
    """Brightness, contrast, saturation and hue by random factors, in random order (torchvision's definition).

    A factor is uniform on max(0, 1 - x) .. 1 + x, that of hue on -x .. x (in turns of the colour wheel). After each
    change the pixels are whole numbers again, as there.

    Args:
        brightness: x of the factor; 0 leaves it as it is.
        contrast: as brightness.
        saturation: as brightness.
        hue: x, 0 .. 0.5.

    Raises:
        LongtailError: a number is negative, or hue above 0.5.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.0

    def __post_init__(self) -> None:
        if min(self.brightness, self.contrast, self.saturation, self.hue) < 0 or self.hue > 0.5:
            raise LongtailError(f"{self}: the numbers must be at least 0, and hue at most 0.5.")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        chance = draws.uniform(torch.empty(len(images), 2 * _CHANGES, device=images.device), "colour jitter")
        order, images = chance[:, _CHANGES:].argsort(1), images.clone()
        for turn in order.unbind(1):
            for number, (change, low, high) in enumerate(self._changes()):
                rows = (turn == number).nonzero()[:, 0]
                if low < high and len(rows):
                    images[rows] = change(images[rows], low + chance[rows, number] * (high - low))
        return images

    def _changes(self) -> tuple[tuple[Callable[[Tensor, Tensor], Tensor], float, float], ...]:
        return (
            (brighten, max(0.0, 1 - self.brightness), 1 + self.brightness),
            (stretch_contrast, max(0.0, 1 - self.contrast), 1 + self.contrast),
            (saturate, max(0.0, 1 - self.saturation), 1 + self.saturation),
            (turn_hue, -self.hue, self.hue),
        )


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """Factor x; images uint8 (B, 3, H, W), factor (B,)."""
    return _mixed(images, torch.zeros((), device=images.device), factor)


def stretch_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Factor x + (1 - factor) m, m the mean of the grey image."""
    return _mixed(images, _grey(images).mean((1, 2, 3), keepdim=True), factor)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Factor x + (1 - factor) g, g the grey image."""
    return _mixed(images, _grey(images), factor)


def turn_hue(images: Tensor, factor: Tensor) -> Tensor:
    """The colour wheel turned by factor, -0.5 .. 0.5; value and saturation stay (HSV model, Smith, 1978).

    Channel n of a colour of hue h (in sixths), value v and range c is v - c clamp(min(k, 4 - k), 0, 1) with
    k = (n + h) mod 6 and n = 5, 3, 1 for red, green, blue.
    """
    red, green, blue = (images.float() / 255).unbind(1)
    value, smallest = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    span = value - smallest
    safe = torch.where(span == 0, 1, span)
    hue = torch.where(value == red, (green - blue) / safe, torch.where(value == green, 2 + (blue - red) / safe, 0))
    hue = torch.where((value != red) & (value != green), 4 + (red - green) / safe, hue) + 6 * factor[:, None, None]
    turned = []
    for channel in (5, 3, 1):
        place = (channel + hue) % 6
        turned.append(value - span * torch.minimum(place, 4 - place).clamp(0, 1))
    return (torch.stack(turned, 1) * (256 - 1e-3)).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """ITU-R 601 brightness as torchvision rounds it, float (B, 1, H, W)."""
    red, green, blue = images.float().unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).floor()[:, None]


def _mixed(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = factor.float()[:, None, None, None]
    return (images * share + other * (1 - share)).clamp_(0, 255).to(torch.uint8)
