"""Losses that weigh samples and leave the scores as they are. They take logits (B, C)."""

from __future__ import annotations

from typing import Literal

from longtail import weighting
from longtail.counts import ClassCounts
from longtail.losses.likelihood import Focus, Likelihood, Sigmoid, SmoothedSoftmax, Softmax
from longtail.losses.margins import Curve, Rule, concave, smoothing
from longtail.losses.objective import ClassWeights, Mean, Objective
from longtail.losses.per_class import Counts
from longtail.schedules import FromEpoch


def cross_entropy(counts: Counts | None = None) -> Objective:
    """Cross-entropy, the yardstick of every other loss here (GCL eq. 1).

        loss = batch mean of logsumexp_j z_j - z_y

    Args:
        counts: not looked at; taken so that all methods are called alike.

    >>> import torch
    >>> cross_entropy()(torch.zeros(1, 4), torch.tensor([2])).exp()
    tensor(4.)
    """
    return Objective()


def weighted_cross_entropy(counts: Counts, rule: Rule = weighting.balanced, mean: Mean = "weighted") -> Objective:
    """Cross-entropy with a weight per class, 1 / n_y by default (thesis table 1.1).

        loss = sum_i w_{y_i} CE_i / sum_i w_{y_i}

    Args:
        counts: training images per class.
        rule: class counts -> weights, a function of `longtail.weighting` or one's own.
        mean: "weighted" as above; "batch" divides by the number of samples. The thesis does not say which; codes
            take the weighted mean, in which a common factor of the weights cancels.

    >>> import torch
    >>> logits = torch.tensor([[9.0, 0.0], [0.0, 0.0]])
    >>> weighted_cross_entropy([99, 1])(logits, torch.tensor([0, 1])).round(decimals=3)
    tensor(0.6860)
    """
    return Objective(class_weights=ClassWeights(rule(ClassCounts.of(counts))), mean=mean)


def deferred_reweighting(counts: Counts, start: float = 160, beta: float = 0.9999) -> ClassWeights:
    """DRW: weights 1 before epoch `start`, effective-number weights from then on (Cao et al., NeurIPS 2019).

        w_j = (1 - beta) / (1 - beta^{n_j}), rescaled to sum C

    Give it to a loss as `class_weights=`; the loss then asks for `epoch=`. The published runs defer to epoch 160
    of 200.

    >>> import torch
    >>> criterion = Objective(class_weights=deferred_reweighting([50, 5], start=8))
    >>> round(criterion(torch.eye(2), torch.tensor([0, 1]), epoch=8).item(), 4)
    0.3133
    """
    return ClassWeights(_effective_number(counts, beta), FromEpoch(start))


def focal(
    counts: Counts | None = None,
    gamma: float = 2.0,
    *,
    detached: bool = False,
    class_weights: ClassWeights | None = None,
) -> Objective:
    """Focal loss on softmax probabilities (Lin et al., ICCV 2017; thesis table 1.1).

        r = w_y CE,   p = exp(-r),   loss = batch mean of (1 - p)^gamma r

    Args:
        counts: not looked at; taken so that all methods are called alike.
        gamma: how fast samples that are right fade. The long-tail comparisons of LDAM, GCL, KPS and FBL take 1.
        detached: no gradient through (1 - p)^gamma, as in the code of GCL, KPS, FBL and LADE; LDAM's lets it
            through.
        class_weights: w_j, 1 by default; as published they enter p as well.

    >>> import torch
    >>> focal(gamma=1)(torch.zeros(1, 2), torch.tensor([0])).round(decimals=4)  # log(2) / 2
    tensor(0.3466)
    """
    return Objective(class_weights=class_weights, focus=Focus(gamma, detached=detached), mean="batch")


def focal_sigmoid(counts: Counts | None = None, gamma: float = 2.0) -> Objective:
    """Focal loss on one sigmoid per class, its first form (Lin et al., ICCV 2017).

        loss = batch mean of sum_j |t_j - sigmoid(z_j)|^gamma BCE(z_j, t_j),   t one-hot

    Args:
        counts: not looked at; taken so that all methods are called alike.
        gamma: how fast entries that are right fade.

    >>> import torch
    >>> focal_sigmoid(gamma=0)(torch.zeros(1, 2), torch.tensor([0])).round(decimals=4)  # 2 log(2)
    tensor(1.3863)
    """
    return Objective(likelihood=Sigmoid(Focus(gamma)))


def class_balanced(
    counts: Counts, beta: float = 0.9999, *, likelihood: Likelihood | None = None, mean: Mean = "batch"
) -> Objective:
    """Class-balanced loss by the effective number of samples (Cui et al., CVPR 2019).

        w_j = (1 - beta) / (1 - beta^{n_j}), rescaled to sum C;   loss = sum_i w_{y_i} l_i / B

    Args:
        counts: training images per class.
        beta: 0.9, 0.99, 0.999 or 0.9999 in the paper.
        likelihood: l, `Softmax()` by default; `Sigmoid()` and `Sigmoid(Focus(gamma))`, gamma 0.5, 1 or 2, are the
            paper's other two forms.
        mean: "batch" as in the original code; the PyTorch copies take the "weighted" mean.

    Thesis table 1.1 prints the weight without its exponent and with a plus sign. A popular port's "softmax" form
    applies binary cross-entropy to softmax outputs, another loss.

    >>> import torch
    >>> class_balanced([50, 5])(torch.zeros(1, 2), torch.tensor([1])).round(decimals=3)
    tensor(1.2600)
    """
    weights = ClassWeights(_effective_number(counts, beta))
    return Objective(likelihood=likelihood or Softmax(), class_weights=weights, mean=mean)


def generalised_reweighting(counts: Counts, rho: float = 1.2) -> Objective:
    """Generalised re-weighting, the loss of DisAlign's second stage (Zhang et al., CVPR 2021).

        w_j = (1 / pi_j)^rho, rescaled to sum C;   loss = sum_i w_{y_i} CE_i / sum_i w_{y_i}

    Args:
        counts: training images per class.
        rho: 1.2 for ImageNet-LT, 0.3 for ADE20K; 0 is cross-entropy.

    >>> import torch
    >>> generalised_reweighting([50, 5])(torch.zeros(1, 2), torch.tensor([1])).exp()
    tensor(2.)
    """
    counts = ClassCounts.of(counts)
    weights = weighting.summing_to(len(counts), weighting.inverse_frequency(counts, rho))
    return Objective(class_weights=ClassWeights(weights))


def label_aware_smoothing(
    counts: Counts,
    head: float = 0.3,
    tail: float = 0.0,
    *,
    curve: Curve = concave,
    spread: Literal["others", "all"] = "others",
) -> Objective:
    """Label-aware smoothing of MiSLAS's second stage (Zhong et al., CVPR 2021).

        e_j = tail + (head - tail) curve((n_j - n_min) / (n_max - n_min))
        loss = batch mean of -(1 - e_y) log p_y - e_y / (C - 1) sum_{j != y} log p_j

    Args:
        counts: training images per class; where they are equal every class is smoothed by `tail`.
        head: smoothing of the largest class. Paper: CIFAR-10 0.1, 0.2, 0.3 and CIFAR-100 0.2, 0.3, 0.4 at ratio
            10, 50, 100; ImageNet-LT and iNaturalist 0.3; Places-LT 0.4.
        tail: smoothing of the smallest class: 0, but 0.1 for CIFAR-100 at ratio 100 and Places-LT.
        curve: `concave` (sine, the paper's choice), `linear`, `convex` or `power(p)` of `longtail.losses.margins`.
        spread: "others" as above; the published code spreads over "all": -(1 - e_y) log p_y - e_y / C sum_j log p_j.

    >>> import torch
    >>> label_aware_smoothing([50, 5])(torch.zeros(1, 2), torch.tensor([0])).exp()
    tensor(2.)
    """
    return Objective(likelihood=SmoothedSoftmax(smoothing(ClassCounts.of(counts), head, tail, curve), spread))


def _effective_number(counts: Counts, beta: float) -> weighting.Weights:
    counts = ClassCounts.of(counts)
    return weighting.summing_to(len(counts), weighting.effective_number(counts, beta))
