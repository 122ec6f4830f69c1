"""A trained head whose logits are moved by a constant per class: other class frequencies, known or wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from longtail.errors import LongtailError
from longtail.models.head import Head


class Shifted(Head):
    """Logits of any head plus a shift per class (post-hoc logit adjustment; Menon et al., ICLR 2021, eq. 9).

        logits_j = base logits_j + shift_j

    `longtail.priors.logit_shift` makes the shift of the training counts and of the frequencies that are expected. It
    is in units of log odds, beside the base's logits: its scale, its inference queries and the mean over its experts
    come first. Training scores are the base's.

    Args:
        base: the trained head.
        shift: (C,); zeros where None, for a shift that is loaded.

    Raises:
        LongtailError: the shift is not one finite number per class.
    """

    kind = "shifted"
    shift: Tensor

    def __init__(self, base: Head, shift: ArrayLike | None = None) -> None:
        super().__init__(base.features, base.classes)
        numbers = np.zeros(base.classes) if shift is None else np.asarray(shift, dtype=np.float64)
        if numbers.shape != (base.classes,) or not np.isfinite(numbers).all():
            raise LongtailError(f"A shift is {base.classes} finite numbers, one per class, not {shift!r}.")
        self.base = base
        self.register_buffer("shift", torch.tensor(numbers, dtype=torch.get_default_dtype()))

    def forward(self, features: Tensor) -> Tensor:
        """The base's training scores, (B, C), of experts (B, M, C)."""
        scores: Tensor = self.base(features)
        return scores

    def logits(self, features: Tensor) -> Tensor:
        """The base's logits plus the shift, (B, C)."""
        return self.base.logits(features) + self.shift

    def observe(self, features: Tensor) -> None:
        """Let the base take note of features (B, D)."""
        self.base.observe(features)

    def description(self) -> dict[str, Any]:
        """The kind, and the base's description; the shift is one of the weights."""
        return {"kind": self.kind, "base": self.base.description()}
