"""LADE's regulariser, the one loss here that is no sum over samples."""

from __future__ import annotations

import math
from functools import partial

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from longtail.errors import LongtailError
from longtail.losses.by_hand import Pull, blocks, by_hand, exp_of_negative_
from longtail.losses.criterion import Criterion, Total
from longtail.losses.per_class import PerClass, at_least_float32, loss_dtype
from longtail.moment import Mixed, Moment

Weighted = list[tuple[Tensor, Tensor]]  # labels (B,), and what each counts in the mean of its class, (B,)


class Lader(Criterion):
    """alpha * -sum_j pi_j (a_j - b_j - lambda b_j^2) (Hong et al., CVPR 2021).

    a_j is the mean of z_ij over the samples i of class j, 0 without one; b_j = log-mean-exp over all samples of
    z_ij - log pi_j - log C. Both belong to the whole batch: pieces of a batch do not add.

    Raises:
        LongtailError: targets mixed with a share per sample; of one share, a_j is the mean of both by their share.
    """

    row_separable = False

    def __init__(self, log_prior: ArrayLike, alpha: float, lambda_: float) -> None:
        numbers = PerClass(log_prior)
        super().__init__(numbers)
        self.log_prior, self.alpha, self.lambda_ = numbers, alpha, lambda_

    def _total(self, scores: Tensor, moment: Moment) -> Total:
        rows, classes = scores.shape
        targets = _weighted(moment.targets, scores)
        of_columns = by_hand(scores, partial(_quick_columns, targets=targets), partial(_columns, targets=targets))
        mean_of_targets, log_sum_exp = of_columns.unbind()
        log_prior = self.log_prior.like(of_columns)
        bound = log_sum_exp - math.log(rows) - log_prior - math.log(classes)
        gain = mean_of_targets - bound - self.lambda_ * bound.square()
        return Total(-self.alpha * (log_prior.exp() * gain).sum(), of_columns.new_ones(()))


def _columns(scores: Tensor, targets: Weighted) -> Tensor:
    """a_j and logsumexp_i z_ij of every class, (2, C)."""
    scores = at_least_float32(scores)
    return torch.stack([_mean_of_targets(scores, targets), scores.logsumexp(0)])


def _quick_columns(scores: Tensor, targets: Weighted) -> tuple[Tensor, Pull]:
    """The same, and how its gradient becomes the scores'."""
    scores = at_least_float32(scores)
    highest = scores.amax(0)
    exponentials, sums = torch.empty_like(scores), torch.zeros_like(highest)
    for rows in blocks(scores):
        sums += exp_of_negative_(torch.sub(scores[rows], highest, out=exponentials[rows])).sum(0)

    def pull(upstream: Tensor) -> Tensor:
        of_mean, of_log_sum = upstream
        gradient = exponentials.mul_(of_log_sum / sums)
        for labels, weights in targets:
            gradient.scatter_add_(1, labels[:, None], (weights * of_mean[labels])[:, None])
        return gradient

    return torch.stack([_mean_of_targets(scores, targets), sums.log() + highest]), pull


def _mean_of_targets(scores: Tensor, targets: Weighted) -> Tensor:
    """a_j, (C,)."""
    means = scores.new_zeros(scores.shape[1])
    for labels, weights in targets:
        means = means.index_add(0, labels, weights * scores.gather(1, labels[:, None]).squeeze(1))
    return means


def _weighted(targets: Tensor | Mixed, scores: Tensor) -> Weighted:
    """Labels, with their share over the images of the class."""
    if not isinstance(targets, Mixed):
        return [(targets, 1 / _images(targets, scores))]
    first, second, share = targets
    if share.dim():
        raise LongtailError("LADE's regulariser belongs to the whole batch: mix it with one share, not (B,).")
    return [(first, share / _images(first, scores)), (second, (1 - share) / _images(second, scores))]


def _images(labels: Tensor, scores: Tensor) -> Tensor:
    """How many of the labels (B,) are like each of them, (B,)."""
    none = torch.zeros(scores.shape[1], dtype=loss_dtype(scores), device=scores.device)
    return none.index_add(0, labels, none.new_ones(len(labels)))[labels]
