"""Losses with margins in logit units. They take logits (B, C) of a linear head, or of a cosine head times its scale."""

from __future__ import annotations

from longtail.counts import ClassCounts
from longtail.losses.factors import Chance, InverseFeatureNorm, OftenerSeen, Overconfidence, Strength
from longtail.losses.lader import Lader
from longtail.losses.likelihood import Sigmoid
from longtail.losses.margins import log_prior, log_rarity, rare, relative
from longtail.losses.objective import Objective
from longtail.losses.per_class import Counts
from longtail.losses.plus import Plus
from longtail.losses.steps import Subtract
from longtail.losses.where import Everywhere, OffTarget
from longtail.schedules import Parabolic, Schedule

CURRICULUM = Parabolic(epochs=200, peak=60.0)  # alpha(t) of FBL
IGNORED = 1e4  # subtracted from a logit, it takes the class out of the sum: e^-10000 is 0


def logit_adjustment(counts: Counts, tau: float = 1.0) -> Objective:
    """Logit-adjusted loss (Menon et al., ICLR 2021; thesis eq. 4.9).

        u_j = z_j + tau log pi_j;   loss = batch mean of CE(u, y)

    Args:
        counts: training images per class.
        tau: 1 for balanced error. Codes add 1e-12 inside the logarithm; here it is exact.

    Cosines are to be scaled before: the margin is in logit units.

    >>> import torch
    >>> logit_adjustment([3, 1])(torch.zeros(1, 2), torch.tensor([1])).exp().round(decimals=4)
    tensor(4.)
    """
    return Objective(Subtract(Everywhere(-tau * log_prior(ClassCounts.of(counts)))))


def balanced_softmax(counts: Counts) -> Objective:
    """Balanced softmax (Ren et al., NeurIPS 2020; thesis eq. 4.10): logit adjustment with tau = 1.

        u_j = z_j + log n_j;   loss = batch mean of CE(u, y)

    Args:
        counts: training images per class.

    log n_j and log pi_j differ by a constant, which the softmax does not see. Thesis table 1.1 prints a minus sign;
    eq. 4.10 and every code have plus.

    >>> import torch
    >>> balanced_softmax([3, 1])(torch.zeros(1, 2), torch.tensor([1])).exp().round(decimals=4)
    tensor(4.)
    """
    return logit_adjustment(counts, tau=1.0)


def equalization(counts: Counts, gamma: float = 0.9, rare_below: float | None = None) -> Objective:
    """Softmax equalization loss: rare classes are, mostly, not pushed down by others (Tan et al., CVPR 2020).

        w_j = 1 - beta_j rare_j [j != y],   beta ~ Bernoulli(gamma) per entry
        loss = batch mean of -log(e^{z_y} / sum_k w_k e^{z_k})

    Args:
        counts: training images per class.
        gamma: how often a rare class is left out of another class's sum.
        rare_below: share of the images below which a class is rare; 0.5 / C by default, which is the 0.05 and
            0.005 of Bag of Tricks for CIFAR-10 and CIFAR-100.

    That code exponentiates raw logits and overflows above 88 in float32; here the terms go out in the logarithm.

    >>> import torch
    >>> equalization([98, 2], gamma=1)(torch.zeros(1, 2), torch.tensor([0])).item()
    0.0
    """
    counts = ClassCounts.of(counts)
    left_out = rare(counts, 0.5 / len(counts) if rare_below is None else rare_below)
    return Objective(Subtract(OffTarget(IGNORED * left_out, Chance(gamma))))


def equalization_sigmoid(counts: Counts, rare_below: float = 0.00177) -> Objective:
    """Sigmoid equalization loss, its first form (Tan et al., CVPR 2020).

        loss = batch mean of sum_j w_j BCE(z_j, t_j),   w_j = 1 - rare_j [j != y],   t one-hot

    Args:
        counts: training images per class.
        rare_below: share of the images below which a class is rare; the published 0.00177 is made for the 1,230
            classes of LVIS.

    The detection code keeps all terms of background boxes; images have none.

    >>> import torch
    >>> equalization_sigmoid([98, 2], rare_below=0.05)(torch.zeros(1, 2), torch.tensor([0])).exp().round(decimals=4)
    tensor(2.)
    """
    left_out = rare(ClassCounts.of(counts), rare_below)
    return Objective(Subtract(OffTarget(IGNORED * left_out)), likelihood=Sigmoid())


def seesaw(counts: Counts, p: float = 0.8, q: float = 2.0, floor: float = 0.01) -> Objective:
    """Seesaw loss, classification form (Wang et al., CVPR 2021).

        u_j = z_j + log M_yj + log K_yj;   loss = batch mean of CE(u, y)
        M_yj = min(1, N_j / N_y)^p,   K_yj = max(1, p_j / max(p_y, floor))^q,   p = softmax(z) without gradient

    Args:
        counts: training images per class; only their number is looked at. N_j are the labels seen so far, those
            of the batch included: call the criterion in training mode, or `observe` once a step.
        p: how far rare classes are spared the push of common ones (mitigation).
        q: how far that is taken back where they are mistaken for the target (compensation).
        floor: least p_y.

    Under mixup the first targets are counted. Thesis eqs. 4.11 and 4.12 give a simplified reading.

    >>> import torch
    >>> seesaw([9, 1])(torch.zeros(2, 2), torch.tensor([0, 0])).item() < 0.6931  # class 0 was seen oftener
    True
    """
    classes = len(ClassCounts.of(counts))
    return Objective(Subtract(Everywhere(p, OftenerSeen(classes)), Everywhere(q, Overconfidence(floor))))


def lade(counts: Counts, alpha: float = 0.1, lambda_: float = 0.1) -> Plus:
    """LADE: disentangling the label distribution (Hong et al., CVPR 2021).

        loss = CE(z + log pi, y) + alpha LADER,   LADER = -sum_j pi_j (a_j - b_j - lambda b_j^2)
        a_j = mean of z_ij over samples i of class j,   b_j = log mean_i exp(z_ij - log pi_j - log C)

    Args:
        counts: training images per class.
        alpha: weight of the regulariser. README of the code: CIFAR-100 0.1, ImageNet-LT 0.05, Places-LT 0.005,
            iNaturalist 0.05.
        lambda_: README: 0.01 (CIFAR-100, ratio 100), 0.5, 0.1, 0.5; its yaml files have 0.1 mostly.

    The regulariser belongs to the whole batch, so that pieces of a batch do not add. The code adds 1e-9 inside the
    logarithms; here they are exact. To predict for a class prior pi': z + log pi'.

    >>> import torch
    >>> lade([3, 1], alpha=0.0)(torch.zeros(1, 2), torch.tensor([1])).exp().round(decimals=4)
    tensor(4.)
    """
    return Plus(logit_adjustment(counts), Lader(log_prior(ClassCounts.of(counts)), alpha, lambda_))


def fbl(counts: Counts, curriculum: Schedule = CURRICULUM, *, relative_rarity: bool = True) -> Objective:
    """Feature-balanced loss: rare classes are asked for longer features (Li et al., thesis eqs. 4.4 to 4.8).

        u_j = z_j - alpha(t) lambda_j / |f|,   lambda_j = log n_max - log n_j;   loss = batch mean of CE(u, y)

    Args:
        counts: training images per class.
        curriculum: alpha(t), `Parabolic(200, peak=60)` by default; it grows from 0, so that the network
            learns features first. The constant is not in the thesis; the code's is 60 for CIFAR and 150 for larger
            sets. Thesis table 4.4: `Falling`, `Linear`, `Sine`, `Cosine` and `Parabolic`, the best.
        relative_rarity: lambda divided by its maximum, as in the code, for which its constants are made.

    The call takes `features=` (B, D), whose norm has a gradient, and `epoch=`. The code's curriculum for 200 epochs
    is `Parabolic(190, 60)`. It divides by |f| + 1e-12 and gives NaN where counts are equal; here a zero feature and
    equal counts give finite losses.

    >>> import torch
    >>> criterion = fbl([9, 1])
    >>> criterion(torch.zeros(1, 2), torch.tensor([0]), features=torch.ones(1, 3), epoch=0).exp()
    tensor(2.)
    """
    counts = ClassCounts.of(counts)
    rarity = relative(log_rarity, counts) if relative_rarity else log_rarity(counts)
    return Objective(Subtract(Everywhere(rarity, InverseFeatureNorm(), Strength(curriculum))))
