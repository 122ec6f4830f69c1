"""What to add to the logits of a trained classifier so that it predicts for other class frequencies."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.counts import ClassCounts
from longtail.errors import LongtailError


def logit_shift(counts: ClassCounts, tau: float = 1.0, target: ArrayLike | None = None) -> NDArray[np.float64]:
    """Post-hoc logit adjustment: log pi'_j - tau log pi_j, (C,) (Menon et al., ICLR 2021).

    Args:
        counts: training images per class, whose shares are pi.
        tau: how far the training frequencies are taken out; tuned on validation images, 1 for PC softmax.
        target: pi' (C,), how often each class is expected; alike by default, which adds nothing.

    Raises:
        LongtailError: `target` has another length than there are classes, or a frequency that is not above 0.

    >>> logit_shift(ClassCounts((3, 1))).round(3).tolist()
    [0.288, 1.386]
    """
    log_prior = np.log(np.array(counts.per_class) / counts.total)
    if target is None:
        return np.asarray(-tau * log_prior)
    expected = np.asarray(target, dtype=np.float64)
    if expected.shape != log_prior.shape or not np.all(expected > 0):
        raise LongtailError(f"A class prior is {len(log_prior)} frequencies above 0, one per class, not {target}.")
    return np.asarray(np.log(expected) - tau * log_prior)
