"""LADE's regulariser, the one loss here that is no sum over samples."""

from __future__ import annotations

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from longtail.errors import LongtailError
from longtail.losses.criterion import Criterion, Total
from longtail.losses.per_class import PerClass
from longtail.moment import Mixed, Moment


class Lader(Criterion):
    """alpha * -sum_j pi_j (a_j - b_j - lambda b_j^2) (Hong et al., CVPR 2021).

    a_j is the mean of z_ij over the samples i of class j, 0 without one; b_j = log-mean-exp over all samples of
    z_ij - log pi_j - log C. Both belong to the whole batch: pieces of a batch do not add.
    """

    row_separable = False

    def __init__(self, log_prior: ArrayLike, alpha: float, lambda_: float) -> None:
        numbers = PerClass(log_prior)
        super().__init__(numbers)
        self.log_prior, self.alpha, self.lambda_ = numbers, alpha, lambda_

    def _total(self, scores: Tensor, moment: Moment) -> Total:
        log_prior = self.log_prior.like(scores)
        rows, classes = scores.shape
        bound = _log_sum_exp_of_columns(scores) - math.log(rows) - log_prior - math.log(classes)
        gain = self._target_mean(scores, moment) - bound - self.lambda_ * bound.square()
        return Total(-self.alpha * (log_prior.exp() * gain).sum(), scores.new_ones(()))

    def _target_mean(self, scores: Tensor, moment: Moment) -> Tensor:
        """a_j, (C,); of mixed targets the mean of both by their share."""
        if not isinstance(moment.targets, Mixed):
            return _mean_of_targets(scores, moment.labels)
        first, second, share = moment.targets
        if share.dim():
            raise LongtailError("LADE's regulariser belongs to the whole batch: mix it with one share, not (B,).")
        return torch.lerp(_mean_of_targets(scores, second), _mean_of_targets(scores, first), share.to(scores))

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}, lambda_={self.lambda_:g}"


def _log_sum_exp_of_columns(scores: Tensor) -> Tensor:
    """torch.logsumexp(scores, dim=0), holding no (B, C) numbers but the exponentials that its backward needs."""
    highest = scores.detach().amax(dim=0)
    return (scores - highest).exp_().sum(dim=0).log() + highest


def _mean_of_targets(scores: Tensor, labels: Tensor) -> Tensor:
    zeros = scores.new_zeros(scores.shape[1])
    target = scores.gather(1, labels[:, None]).squeeze(1)
    images = zeros.index_add(0, labels, torch.ones_like(target))
    return zeros.index_add(0, labels, target) / images.clamp(min=1)
