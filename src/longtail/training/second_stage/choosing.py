"""One number chosen on validation images by repeated stratified folds; by theory where these are too few."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from longtail.text import counted
from longtail.training.evidence import Evidence, Features

LEAST_RARE = 5
"""Validation images that the rarest shot group must have."""
FOLDS, REPEATS = 5, 10


@dataclass(frozen=True)
class Choice:
    """A number, and why this one."""

    name: str
    value: float
    reason: str
    spread: tuple[float, float] | None = None
    """The middle four fifths of what the folds chose."""
    held_out: tuple[float, float] | None = None
    """Balanced accuracy on the images left out of each fold's choice: mean and standard deviation."""

    def __str__(self) -> str:
        return f"{self.name} {self.value:g} ({self.reason})"

    def record(self) -> dict[str, Any]:
        """The choice as JSON."""
        return {
            self.name: self.value,
            "reason": self.reason,
            "spread": self.spread,
            "held_out_balanced_accuracy": self.held_out,
        }


def choose(
    name: str,
    candidates: Sequence[float],
    by_theory: float,
    logits: Callable[[float, Tensor], Tensor],
    evidence: Evidence,
) -> Choice:
    """The candidate with the best balanced accuracy on validation images.

    Each of 50 choices (5 stratified folds, 10 times) is made on four fifths of the images and tested on the last fifth;
    the median of them is taken. It is `by_theory` with fewer than 5 validation images in the rarest shot group, or with
    one image a class, which no fold can both choose by and test on.

    Args:
        name: what is chosen.
        candidates: the numbers to choose from, ascending.
        by_theory: the number where nothing can be measured.
        logits: candidate and features (N, D) -> logits (N, C).
        evidence: where the validation features come from.
    """
    validation = evidence.validation
    if validation is None or (lack := _lack(validation, evidence)):
        return Choice(name, by_theory, f"the theory's value: {'no validation images' if validation is None else lack}")
    correct = np.stack(
        [
            (logits(candidate, validation.values).argmax(dim=1) == validation.labels).cpu().numpy()
            for candidate in candidates
        ]
    )
    return _by_folds(name, np.asarray(candidates), correct, validation.labels.cpu().numpy())


def _lack(validation: Features, evidence: Evidence) -> str:
    """Why nothing can be chosen on these images; empty where it can."""
    labels = validation.labels.cpu().numpy()
    groups = np.array(evidence.counts.shot_groups(evidence.borders))
    rarest = next(group for group in ("few", "medium", "many") if group in groups)
    rare = int((groups[labels] == rarest).sum())
    if rare < LEAST_RARE:
        return f"only {counted(rare, 'validation image')} of rare classes"
    return "only one validation image a class" if np.bincount(labels).max() == 1 else ""


def _by_folds(
    name: str, candidates: NDArray[np.float64], correct: NDArray[np.bool_], labels: NDArray[np.int64]
) -> Choice:
    from sklearn.model_selection import RepeatedStratifiedKFold

    splits = min(FOLDS, int(np.bincount(labels).max()))
    folds = RepeatedStratifiedKFold(n_splits=splits, n_repeats=REPEATS, random_state=0)
    chosen, held_out = [], []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # it is then not in every fold
        for kept, left in folds.split(labels, labels):
            best = int(np.argmax([_balanced(row[kept], labels[kept]) for row in correct]))
            chosen.append(candidates[best])
            held_out.append(_balanced(correct[best, left], labels[left]))
    low, high = np.quantile(chosen, [0.1, 0.9], method="nearest").tolist()
    mean, spread = float(np.mean(held_out)), float(np.std(held_out))
    return Choice(
        name,
        value=float(np.quantile(chosen, 0.5, method="nearest")),
        reason=f"{len(chosen)} choices on {counted(len(labels), 'validation image')} lie from {low:g} to {high:g}; "
        f"balanced accuracy on the images left out {mean:.1%}, deviation {spread:.1%}",
        spread=(low, high),
        held_out=(mean, spread),
    )


def _balanced(correct: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Mean over the classes present of the share that is right."""
    images = np.bincount(labels)
    right = np.bincount(labels, weights=correct)
    return float((right[images > 0] / images[images > 0]).mean())
