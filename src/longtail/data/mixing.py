"""Mixing the samples of a batch in pairs: mixup, CutMix, manifold mixup, remix, and BBN's cumulative learning.

Targets stay hard: a mixed sample has two labels and a share (`longtail.moment.Mixed`), never a soft vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longtail.counts import ClassCounts
from longtail.data.blending import Blend, average, paste
from longtail.device import copies_behind
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.moment import Mixed

Place = Literal["images", "features"]
"""What is mixed: the images, or the features that enter the head."""

LabelShare = Callable[[Tensor, Tensor, Tensor], Tensor]
"""First labels (B,), second labels (B,), share of the first samples -> share of the first labels (B,)."""


class Mixing(ABC):
    """How the samples of a batch become mixed samples with two labels each."""

    @abstractmethod
    def place(self, key: Key) -> Place:
        """What to give to `mix` for the batch of this key."""

    def needed(self, rows: NDArray[np.int64], batch: int, key: Key) -> NDArray[np.int64]:
        """Which images of a batch of B the mixtures of some rows are made of; in ascending order if there are others.

        So a process that has some rows of a batch need not load all of it. Where features are mixed it needs no others:
        they come together behind the backbone.
        """
        return rows

    @abstractmethod
    def mix(
        self, samples: Tensor, targets: Tensor, key: Key, epoch: int = 0, rows: NDArray[np.int64] | None = None
    ) -> tuple[Tensor, Mixed]:
        """Mixed samples and their two labels.

        Args:
            samples: images (B, ..., H, W) or features (B, D), floating point; they are not changed.
            targets: class indices, (B,).
            key: of the batch; the same key gives the same share and partners.
            epoch: counted from 0, for mixing that changes over time.
            rows: which mixtures are wanted, where not all of them are; `samples` are then the images that they need.

        Returns:
            The mixtures, of `rows` or of the whole batch to the same bits, and the labels of the whole batch.
        """


@dataclass(frozen=True, repr=False)
class RandomPairs(Mixing):
    """Every sample of a batch is mixed with one other; share and partners are drawn once a batch.

    Args:
        name: what `repr` and reports call the rule.
        alpha: the share of the first sample is drawn from Beta(alpha, alpha).
        blend: two samples to one.
        label_share: share of the first sample to share of its label; the same where None.
        places: what is mixed; of several, one is drawn for each batch.
        probability: that a batch is mixed at all.

    Raises:
        LongtailError: alpha is not above 0, or the probability outside 0 to 1.
    """

    name: str
    alpha: float
    blend: Blend
    label_share: LabelShare | None = None
    places: tuple[Place, ...] = ("images",)
    probability: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha > 0 or not 0 <= self.probability <= 1:
            raise LongtailError(f"{self.name}: alpha must be above 0, and the probability from 0 to 1.")

    def __repr__(self) -> str:
        return self.name

    def place(self, key: Key) -> Place:
        """One of the places, drawn by the key."""
        return self.places[int(key.at("place").generator().integers(len(self.places)))]

    def needed(self, rows: NDArray[np.int64], batch: int, key: Key) -> NDArray[np.int64]:
        """The rows and their partners, where images are mixed."""
        return self._drawn(key, batch).needed(rows) if self.place(key) == "images" else rows

    def mix(
        self, samples: Tensor, targets: Tensor, key: Key, epoch: int = 0, rows: NDArray[np.int64] | None = None
    ) -> tuple[Tensor, Mixed]:
        """Samples mixed with their partners, in every epoch alike."""
        drawn = self._drawn(key, len(targets))
        first, second = drawn.pairs(samples, rows)
        mixed, share = self.blend(first, second, drawn.share, drawn.generator)
        partners = targets[_places(drawn.partners, targets.device)]
        dtype = torch.promote_types(samples.dtype, torch.float32)
        of_first = torch.full((), share, dtype=dtype, device=samples.device)
        if self.label_share is not None:
            of_first = self.label_share(targets, partners, of_first)
        return mixed, Mixed(targets, partners, of_first)

    def _drawn(self, key: Key, batch: int) -> _Drawn:
        generator = key.at("mixing").generator()
        share = generator.beta(self.alpha, self.alpha) if generator.random() < self.probability else 1.0
        return _Drawn(share, generator.permutation(batch), generator)


class _Drawn(NamedTuple):
    """What was drawn for a batch."""

    share: float  # of the first samples; 1 where the batch stays as it is
    partners: NDArray[np.int64]  # (B,)
    generator: np.random.Generator  # for what the blend draws

    def needed(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows and those mixed into them, ascending."""
        return np.union1d(rows, self._mixed_into(rows))

    def pairs(self, samples: Tensor, rows: NDArray[np.int64] | None) -> tuple[Tensor, Tensor]:
        """First and second samples: of all rows, or of some for which the needed samples are there."""
        if rows is None:
            return samples, samples[_places(self.partners, samples.device)]
        there = self.needed(rows)
        first = samples if np.array_equal(there, rows) else samples[np.searchsorted(there, rows)]
        return first, samples[np.searchsorted(there, self._mixed_into(rows))]

    def _mixed_into(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows if self.share == 1 else self.partners[rows]


def _places(rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """Rows to index with on a device, which a GPU does not wait for."""
    return torch.from_numpy(rows).to(device, non_blocking=copies_behind(device))


@dataclass(frozen=True, repr=False)
class Cumulative(Mixing):
    """The features of two branches, weighed by how far training has come; see `cumulative`."""

    epochs: int

    def __repr__(self) -> str:
        return f"cumulative(epochs={self.epochs})"

    def place(self, key: Key) -> Place:
        """The features, always."""
        return "features"

    def mix(
        self, samples: Tensor, targets: Tensor, key: Key, epoch: int = 0, rows: NDArray[np.int64] | None = None
    ) -> tuple[Tensor, Mixed]:
        """Features (B, 2D) of two branches and the targets (2B,) of both samplings, weighed for the epoch.

        Raises:
            LongtailError: there are not twice as many targets as features, or training should be over.
        """
        if not 0 <= epoch < self.epochs:
            raise LongtailError(f"Cumulative learning of {self.epochs} epochs has no epoch {epoch}, counted from 0.")
        half = len(samples)
        if samples.dim() != 2 or samples.shape[1] % 2 or len(targets) != 2 * half:
            raise LongtailError(
                "Cumulative learning takes features (B, 2D) of two branches and 2B targets, not "
                f"{tuple(samples.shape)} and {len(targets)}; use it with a bilateral network and two samplings."
            )
        dtype = torch.promote_types(samples.dtype, torch.float32)
        share = torch.full((), 1 - (epoch / self._divisor) ** 2, dtype=dtype, device=samples.device)
        first, second = samples.chunk(2, dim=1)
        mixed = torch.cat([2 * share * first, 2 * (1 - share) * second], dim=1)
        return mixed, Mixed(targets[:half], targets[half:], share)

    @property
    def _divisor(self) -> int:
        return 100 * (self.epochs // 100 + 1) if self.epochs in (90, 180) else self.epochs


def mixup(alpha: float = 1.0) -> RandomPairs:
    """Averages, lam x_1 + (1 - lam) x_2 with lam ~ Beta(alpha, alpha) (Zhang et al., ICLR 2018).

    Args:
        alpha: 1 on CIFAR, 0.2 on large data (MiSLAS, GCL).

    >>> images, targets = mixup().mix(torch.rand(4, 3, 8, 8), torch.arange(4), Key.of_seed(0))
    >>> images.shape, targets.share.shape
    (torch.Size([4, 3, 8, 8]), torch.Size([]))
    """
    return RandomPairs(f"mixup(alpha={alpha:g})", alpha, average)


def cutmix(alpha: float = 1.0, probability: float = 1.0) -> RandomPairs:
    """A box of the second image is pasted into the first (Yun et al., ICCV 2019, equations 1 and 2).

    The box covers 1 - lam of the area, lam ~ Beta(alpha, alpha), around a centre anywhere. What lies outside
    the image is lost, and lam becomes the share of the first image that is left.

    Args:
        alpha: 1 in the paper.
        probability: that a batch is mixed; in the paper 0.5 on CIFAR, 1 on ImageNet.
    """
    name = f"cutmix(alpha={alpha:g}, probability={probability:g})"
    return RandomPairs(name, alpha, paste, probability=probability)


def manifold_mixup(alpha: float = 2.0) -> RandomPairs:
    """Mixup of the images, or of the features that enter the head, as drawn (Verma et al., ICML 2019).

    The paper also draws among the network's first blocks; here any backbone will do, and its two ends are
    what there is to choose from.
    """
    return RandomPairs(f"manifold_mixup(alpha={alpha:g})", alpha, average, places=("images", "features"))


def remix(
    counts: ClassCounts, mixing: RandomPairs | None = None, *, kappa: float = 3.0, tau: float = 0.5
) -> RandomPairs:
    """Any mixing, with the label in favour of the rarer class (Chou et al., ECCV 2020 workshops).

    The share of the first label is 0 where n_1 >= kappa n_2 and lam < tau, 1 where n_2 >= kappa n_1 and
    1 - lam < tau, and lam otherwise. Samples are mixed as ever.

    Args:
        counts: training images per class.
        mixing: of the samples; `mixup()` where None.
        kappa: how many times commoner a class must be to give way.
        tau: share below which its label gives way.
    """
    mixing = mixing or mixup()
    per_class = torch.tensor(counts.per_class, dtype=torch.float32)

    def label_share(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        images = per_class.to(first.device)
        first_gives_way = (images[first] >= kappa * images[second]) & (share < tau)
        second_gives_way = (images[second] >= kappa * images[first]) & (1 - share < tau)
        return share.expand(len(first)).masked_fill(first_gives_way, 0).masked_fill(second_gives_way, 1)

    return replace(mixing, name=f"remix({mixing}, kappa={kappa:g}, tau={tau:g})", label_share=label_share)


def cumulative(epochs: int) -> Cumulative:
    """Cumulative learning of two branches: common classes first, then rare ones (BBN; Zhou et al., CVPR 2020).

        features [2 l f_c, 2 (1 - l) f_r], targets y_c with share l and y_r with the rest;    l = 1 - (t / T)^2

    f_c and f_r are the features of the two branches of a bilateral network (`longtail.models.branches`), y_c and y_r
    the labels of the two samplings behind them, t the epoch counted from 0.

    Args:
        epochs: of the training, T; the published code puts 100 and 200 for trainings of 90 and 180 epochs.

    >>> features, targets = cumulative(epochs=2).mix(torch.ones(1, 2), torch.tensor([3, 7]), Key.of_seed(0), epoch=1)
    >>> features.tolist(), targets.share.item()
    ([[1.5, 0.5]], 0.75)
    """
    if epochs < 1:
        raise LongtailError(f"Cumulative learning takes at least 1 epoch, not {epochs}.")
    return Cumulative(epochs)
