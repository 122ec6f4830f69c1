"""Class frequencies: those that probabilities stand for, those expected, and the way from one to the other."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longtail.counts import ClassCounts
from longtail.errors import LongtailError

UNIFORM, TRAIN, ESTIMATE = "uniform", "train", "estimate"


def logit_shift(
    stands_for: ClassCounts | ArrayLike, tau: float = 1.0, target: ArrayLike | None = None
) -> NDArray[np.float64]:
    """What to add to logits so that they predict for other class frequencies: log pi'_j - tau log pi_j, (C,).

    By Bayes' rule (Menon et al., ICLR 2021, section 3; Saerens et al., 2002, equation 2.4). pi are the frequencies that
    softmax(logits) stands for. Of a network trained with cross-entropy they are the training images'; the result
    is then post-hoc logit adjustment, and with a `target` the inference of PC softmax (Hong et al., CVPR 2021). Of
    one trained with a balanced loss, such as LADE, they are alike, and log pi'_j is LADE's inference.

    Args:
        stands_for: training images per class, or frequencies (C,); only their shares count.
        tau: how far they are taken out; tuned on validation images, 1 by theory.
        target: pi' (C,), how often each class is expected; alike by default, which adds nothing.

    Raises:
        LongtailError: `target` has another length than there are classes, or a frequency is not above 0.

    >>> logit_shift(ClassCounts((3, 1))).round(3).tolist()
    [0.288, 1.386]
    >>> logit_shift([0.5, 0.5], target=[0.9, 0.1]).round(3).tolist()
    [0.588, -1.609]
    """
    known = stands_for.per_class if isinstance(stands_for, ClassCounts) else stands_for
    log_prior = np.log(shares(known))
    if target is None:
        return np.asarray(-tau * log_prior)
    expected = np.asarray(target, dtype=np.float64)
    if expected.shape != log_prior.shape or not np.all(expected > 0):
        raise LongtailError(f"A class prior is {len(log_prior)} frequencies above 0, one per class, not {target}.")
    return np.asarray(np.log(expected) - tau * log_prior)


def shares(frequencies: ArrayLike) -> NDArray[np.float64]:
    """Frequencies (C,) with the sum 1.

    Raises:
        LongtailError: one is not a number above 0.
    """
    numbers = np.asarray(frequencies, dtype=np.float64)
    if numbers.ndim != 1 or not np.all(np.isfinite(numbers) & (numbers > 0)):
        raise LongtailError(f"A class prior is a frequency above 0 for every class, not {numbers}.")
    return np.asarray(numbers / numbers.sum())


def estimate_prior(
    posteriors: ArrayLike,
    stands_for: ArrayLike,
    *,
    pseudo_images: float = 1.0,
    tolerance: float = 1e-6,
    iterations: int = 1000,
) -> NDArray[np.float64]:
    """How often each class occurs among unlabelled images, (C,), by the classifier's own probabilities.

    Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities",
    Neural Computation 14 (2002), equation 2.9: expectation maximisation, which begins at pi,

        r_nj  =  p_j / pi_j  post_nj  /  sum_k p_k / pi_k  post_nk,        p_j  <-  (sum_n r_nj + a pi_j) / (N + a)

    Every step raises the likelihood sum_n log sum_k p_k / pi_k post_nk (with a > 0, plus a sum_k pi_k log p_k). The
    result is as good as the probabilities are calibrated, and images of a class must look as they did in training.

    Args:
        posteriors: (N, C), the rows sum to 1.
        stands_for: pi (C,), the frequencies that they stand for.
        pseudo_images: a, images with the frequencies pi that are thought to be there as well, so that few images
            say little and no class gets 0. The paper has 0.
        tolerance: largest change of a share in the last step.
        iterations: steps at most.

    Raises:
        LongtailError: no image, shapes that do not fit, or probabilities that are none.
    """
    rows, pi = np.asarray(posteriors, dtype=np.float64), shares(stands_for)
    if rows.ndim != 2 or rows.shape[1] != len(pi) or len(rows) == 0:
        raise LongtailError(f"A prior is estimated from probabilities (N, {len(pi)}) of some images, not {rows.shape}.")
    if not (np.all(rows >= 0) and np.allclose(rows.sum(axis=1), 1, atol=1e-3)):
        raise LongtailError("A prior is estimated from probabilities: numbers from 0 to 1, whose rows sum to 1.")
    prior = pi
    for _ in range(iterations):
        odds = prior / pi
        images = odds * (rows.T @ (1 / (rows @ odds)))  # of each class: the sum of r over the images
        before, prior = prior, (images + pseudo_images * pi) / (len(rows) + pseudo_images)
        if np.abs(prior - before).max() <= tolerance:
            break
    return np.asarray(prior / prior.sum())


def read_prior(words: str | Path, counts: ClassCounts | None, classes: Sequence[str]) -> NDArray[np.float64]:
    """The class frequencies that words name, (C,), with the sum 1, in the order of `classes`.

    Args:
        words: `uniform`; `train`, the shares of the training images; or a file: CSV with the columns `class` and
            `share` or `count`, or JSON {"class": number}. Only the proportions of the numbers count.
        counts: training images per class; None where they are not known.
        classes: the C class names.

    Raises:
        LongtailError: the file cannot be read, or does not give every class, and no other, a number above 0.
    """
    if str(words) == UNIFORM:
        return np.full(len(classes), 1 / len(classes))
    if str(words) == TRAIN:
        if counts is None:
            raise LongtailError("The training images per class are not known here; give the prior as a file.")
        return shares(counts.per_class)
    path = Path(words)
    if not path.is_file():
        raise LongtailError(
            f"There is no prior and no file {str(words)!r}; a prior is {UNIFORM}, {TRAIN}, {ESTIMATE}, or a file of "
            "classes and shares."
        )
    try:
        numbers = _from_json(path) if path.suffix.lower() == ".json" else _from_csv(path)
    except (ValueError, OSError, csv.Error) as error:
        if isinstance(error, LongtailError):
            raise
        raise LongtailError(f"Cannot read the prior in {path} ({error}).") from None
    return _in_order(numbers, classes, path)


def _in_order(numbers: Mapping[str, float], classes: Sequence[str], path: Path) -> NDArray[np.float64]:
    for names, what in (
        ([name for name in numbers if name not in classes], "names classes that the model does not know"),
        ([name for name in classes if name not in numbers], "lacks classes"),
        # Never, said of a class, would be believed whatever its images show.
        (
            [name for name in numbers if not 0 < numbers[name] < math.inf],
            "gives no number above 0 (a small one will do) to",
        ),
    ):
        if names:
            raise LongtailError(f"The prior in {path} {what}: {', '.join(names)}.")
    return shares([numbers[name] for name in classes])


def _from_json(path: Path) -> dict[str, float]:
    content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=lambda pairs: _once(pairs, path))
    if not isinstance(content, dict):
        raise LongtailError(f'The prior in {path} is not of the form {{"class": number, ...}}.')
    return content


def _from_csv(path: Path) -> dict[str, float]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = [name for name in ("share", "count") if name in (reader.fieldnames or ())]
        if "class" not in (reader.fieldnames or ()) or len(columns) != 1:
            raise LongtailError(f"The prior in {path} needs a first line class,share or class,count.")
        return _once([(row["class"], row[columns[0]]) for row in reader], path)


def _once(pairs: Sequence[tuple[str, Any]], path: Path) -> dict[str, float]:
    """Every class once, with its number."""
    numbers: dict[str, float] = {}
    for name, text in pairs:
        if name in numbers:
            raise LongtailError(f"The prior in {path} names the class {name!r} more than once.")
        try:
            numbers[name] = float(text)
        except (TypeError, ValueError):
            raise LongtailError(f"The prior in {path} gives the class {name!r} no number, but {text!r}.") from None
    return numbers
