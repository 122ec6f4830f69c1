"""Probabilities for class frequencies other than those that a classifier learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.counts import ClassCounts
from longtail.data.words import shown
from longtail.errors import LongtailError
from longtail.priors import ESTIMATE, estimate_prior, logit_shift, read_prior, shares
from longtail.text import counted
from longtail.watching import Watcher

NAMED = 10
"""Classes whose estimated share is said, the most frequent first."""


@dataclass(frozen=True)
class TestPrior:
    """How often a model expects each class, and how often it is expected where the model is used."""

    __test__ = False  # what pytest collects begins with Test

    classes: tuple[str, ...]
    stands_for: NDArray[np.float64]  # (C,), what softmax(logits) stands for
    expected: NDArray[np.float64] | None  # (C,); None: estimated from the images themselves

    @classmethod
    def asked(
        cls,
        words: str | Path,
        *,
        classes: Sequence[str],
        stands_for: ArrayLike | None,
        counts: ClassCounts | None,
        model: Path,
    ) -> TestPrior:
        """The prior that words name: `estimate`, or what `longtail.priors.read_prior` knows.

        Raises:
            LongtailError: there is no such prior, or it is not known what the model's probabilities stand for.
        """
        expected = None if str(words) == ESTIMATE else read_prior(words, counts, classes)
        if stands_for is None:
            raise LongtailError(
                f"{model} does not say how often the model expects each class, so --test-prior has nothing to start "
                'from; add "prior" to it, a share for each class: those of the training images for plain '
                "cross-entropy, all alike for a balanced loss or a re-balanced classifier."
            )
        return cls(tuple(classes), shares(stands_for), expected)

    def settled(self, logits: NDArray[np.floating], watcher: Watcher) -> TestPrior:
        """The prior with what was to be estimated, from logits (N, C) of the images; the estimate is said."""
        if self.expected is not None:
            return self
        if len(logits) == 0:
            return replace(self, expected=self.stands_for)
        estimate = estimate_prior(_softmax(logits), self.stands_for)
        watcher.say(f"Estimated from {counted(len(logits), 'image')}: {self._in_words(estimate)}")
        return replace(self, expected=estimate)

    @property
    def shift(self) -> NDArray[np.float64]:
        """What to add to logits, (C,); of a settled prior."""
        return logit_shift(self.stands_for, target=self.expected)

    def as_dict(self) -> dict[str, float] | None:
        """The share expected of each class; None before it is settled."""
        return None if self.expected is None else dict(zip(self.classes, self.expected.tolist(), strict=True))

    def _in_words(self, prior: NDArray[np.float64]) -> str:
        order = np.argsort(-prior, kind="stable")
        said = [f"{shown(self.classes[index])} {prior[index]:.1%}" for index in order[:NAMED]]
        return ", ".join(said) + (", ..." if len(order) > NAMED else "")


def _softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
