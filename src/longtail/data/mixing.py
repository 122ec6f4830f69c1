"""Mixing the samples of a batch in pairs: mixup, CutMix, manifold mixup, remix.

Targets stay hard: a mixed sample has two labels and a share (`longtail.moment.Mixed`), never a soft vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from longtail.counts import ClassCounts
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.moment import Mixed

Place = Literal["images", "features"]
"""Where samples are mixed: the images, or the features that enter the head."""

Blend = Callable[[Tensor, Tensor, float, np.random.Generator], tuple[Tensor, float]]
"""(samples (B, ...), partners (B,), share, generator) to the mixed samples and the share that came about."""

LabelShares = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(first labels (B,), second labels (B,), share of the first sample 0-d) to the share of the first label, 0-d or (B,)."""


@dataclass(frozen=True)
class Mixing:
    """How the samples of a batch are mixed, each with one other; share and partners are drawn once a batch.

    Args:
        name: what a report calls the rule.
        alpha: the share is drawn from Beta(alpha, alpha).
        blend: two samples to one.
        label_shares: share of a sample to share of its label; the same where None.
        places: where samples are mixed; with several, one is drawn each batch.
        probability: that a batch is mixed at all.

    Raises LongtailError for an alpha that is not above 0.
    """

    name: str
    alpha: float
    blend: Blend = field(repr=False)
    label_shares: LabelShares | None = field(default=None, repr=False)
    places: tuple[Place, ...] = ("images",)
    probability: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha > 0 or not 0 <= self.probability <= 1:
            raise LongtailError(
                f"{self.name}: alpha must be above 0 and probability within 0 and 1, "
                f"not {self.alpha:g} and {self.probability:g}."
            )

    def place(self, key: Key) -> Place:
        """Where this batch is mixed: ask before the backbone, call `mix` there."""
        return self.places[int(key.at("place").generator().integers(len(self.places)))]

    def mix(self, samples: Tensor, targets: Tensor, key: Key) -> tuple[Tensor, Mixed]:
        """Mixed samples and their two labels.

        Args:
            samples: images (B, ..., H, W) or features (B, D), floating point; not changed.
            targets: (B,) class indices.
            key: of this batch; the same key gives the same share and partners.
        """
        generator = key.at("mixing").generator()
        share = generator.beta(self.alpha, self.alpha) if generator.random() < self.probability else 1.0
        partners = torch.from_numpy(generator.permutation(len(samples))).to(samples.device)
        mixed, share = self.blend(samples, partners, share, generator)
        second = targets[partners]
        first_share = torch.tensor(
            share, dtype=torch.promote_types(samples.dtype, torch.float32), device=samples.device
        )
        if self.label_shares is not None:
            first_share = self.label_shares(targets, second, first_share)
        return mixed, Mixed(targets, second, first_share)

    def __str__(self) -> str:
        return self.name


def mixup(alpha: float = 1.0) -> Mixing:
    """x = lam x_1 + (1 - lam) x_2, lam ~ Beta(alpha, alpha) (Zhang et al., ICLR 2018).

    alpha is 1 on CIFAR, 0.2 on large data (MiSLAS, GCL).

    >>> images, targets = mixup().mix(torch.rand(4, 3, 8, 8), torch.arange(4), Key.of_seed(0))
    >>> images.shape, targets.share.shape
    (torch.Size([4, 3, 8, 8]), torch.Size([]))
    """
    return Mixing(f"mixup(alpha={alpha:g})", alpha, average)


def cutmix(alpha: float = 1.0, probability: float = 1.0) -> Mixing:
    """A box of the second image is pasted into the first (Yun et al., ICCV 2019, equation 1 and section 3.1).

    The box has a share 1 - lam of the area, lam ~ Beta(alpha, alpha), and its centre anywhere; what of it
    lies outside is lost, and lam becomes the share that is left of the first image. Published: alpha 1,
    probability 0.5 on CIFAR, 1 on ImageNet.
    """
    return Mixing(
        f"cutmix(alpha={alpha:g}, probability={probability:g})", alpha, paste, probability=probability
    )


def manifold_mixup(alpha: float = 2.0) -> Mixing:
    """Mixup of the images or of the features that enter the head, drawn each batch (Verma et al., ICML 2019).

    The paper draws among the first blocks of the network too; here the backbone stays closed, and its two
    ends are the layers to choose from.
    """
    return Mixing(f"manifold_mixup(alpha={alpha:g})", alpha, average, places=("images", "features"))


def remix(
    counts: ClassCounts, mixing: Mixing | None = None, *, kappa: float = 3.0, tau: float = 0.5
) -> Mixing:
    """Any mixing, with labels in favour of the rarer class (Chou et al., ECCV 2020 workshops, equation 7).

    The label's share is 0 where n_1 / n_2 >= kappa and lam < tau, 1 where n_1 / n_2 <= 1 / kappa and 1 - lam
    < tau, and lam otherwise.

    Args:
        counts: training images per class.
        mixing: what mixes the samples; `mixup()` where None.
        kappa: how many times rarer a class must be to be favoured.
        tau: share below which the commoner class's label is given up.
    """
    mixing = mixing or mixup()
    per_class = torch.tensor(counts.per_class, dtype=torch.float64)

    def label_shares(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        images = per_class.to(first.device)
        ratio = images[first] / images[second]
        rarer_second = (ratio >= kappa) & (share < tau)
        rarer_first = (ratio <= 1 / kappa) & (1 - share < tau)
        return share.expand(len(first)).masked_fill(rarer_second, 0).masked_fill(rarer_first, 1)

    return replace(
        mixing, name=f"remix({mixing.name}, kappa={kappa:g}, tau={tau:g})", label_shares=label_shares
    )


def average(
    samples: Tensor, partners: Tensor, share: float, generator: np.random.Generator | None = None
) -> tuple[Tensor, float]:
    """share x sample + (1 - share) x partner, (B, ...); draws nothing."""
    return share * samples + (1 - share) * samples[partners], share


def paste(
    samples: Tensor, partners: Tensor, share: float, generator: np.random.Generator
) -> tuple[Tensor, float]:
    """The partner's box in each image (B, ..., H, W), one box for the batch, and the share that the box leaves."""
    height, width = samples.shape[-2:]
    rows = _stretch(height, share, generator)
    columns = _stretch(width, share, generator)
    mixed = samples.clone()
    mixed[..., rows, columns] = samples[..., rows, columns][partners]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (height * width)


def _stretch(length: int, share: float, generator: np.random.Generator) -> slice:
    """One side of the box: sqrt(1 - share) of the length around a centre anywhere, cut off at the borders."""
    half = int(length * (1 - share) ** 0.5) // 2
    centre = int(generator.integers(length))
    return slice(max(centre - half, 0), min(centre + half, length))
