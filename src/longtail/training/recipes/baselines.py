"""Recipes on a linear head, in one stage: what all others are compared with."""

from __future__ import annotations

from longtail import losses
from longtail.counts import ClassCounts
from longtail.schedules import Parabolic
from longtail.training.planning.settings import Setting
from longtail.training.recipes.parts import first_stage, linear, mixed_first_stage
from longtail.training.second_stage.rebalance import posthoc
from longtail.training.stage import Recipe


def ce(counts: ClassCounts, setting: Setting) -> Recipe:
    """Cross-entropy on all images as they come: what one would do without knowing of the long tail.

    One stage: linear head, every image once an epoch, no mixing. The baseline of all four papers.
    """
    return linear(first_stage(setting, losses.cross_entropy()), balanced=False)


def ce_mixup(counts: ClassCounts, setting: Setting) -> Recipe:
    """Cross-entropy with mixup (Zhang et al., ICLR 2018); the first stage of MiSLAS (Zhong et al., CVPR 2021)."""
    return linear(mixed_first_stage(setting, losses.cross_entropy()), balanced=False)


def focal(counts: ClassCounts, setting: Setting, *, gamma: float = 1.0, detached: bool = True) -> Recipe:
    """Focal loss (Lin et al., ICCV 2017), as the papers compare with it: gamma 1, no gradient through the factor.

    LADE's code has gamma 2; LDAM's lets the gradient through.
    """
    return linear(first_stage(setting, losses.focal(counts, gamma, detached=detached)), balanced=False)


def cb_focal(counts: ClassCounts, setting: Setting, *, beta: float = 0.9999, gamma: float = 1.0) -> Recipe:
    """Focal loss on sigmoids, weighted by the effective number of samples (Cui et al., CVPR 2019)."""
    objective = losses.class_balanced(counts, beta, likelihood=losses.Sigmoid(losses.Focus(gamma)))
    return linear(first_stage(setting, objective))


def equalization(
    counts: ClassCounts, setting: Setting, *, gamma: float = 0.9, rare_below: float | None = None
) -> Recipe:
    """Softmax equalization loss: rare classes are, mostly, not pushed down by others (Tan et al., CVPR 2020).

    rare_below, the share of the images under which a class is rare, is 0.05 for CIFAR-10 and 0.005 for CIFAR-100.
    """
    return linear(first_stage(setting, losses.equalization(counts, gamma, rare_below)))


def logit_adjustment(counts: ClassCounts, setting: Setting, *, tau: float = 1.0) -> Recipe:
    """Logit-adjusted loss (Menon et al., ICLR 2021)."""
    return linear(first_stage(setting, losses.logit_adjustment(counts, tau)))


def balanced_softmax(counts: ClassCounts, setting: Setting) -> Recipe:
    """Balanced softmax (Ren et al., NeurIPS 2020): logit adjustment with tau 1."""
    return linear(first_stage(setting, losses.balanced_softmax(counts)))


def lade(counts: ClassCounts, setting: Setting, *, alpha: float = 0.1, regularity: float = 0.1) -> Recipe:
    """LADE: balanced softmax with a regulariser on the logits themselves (Hong et al., CVPR 2021).

    alpha and lambda (`regularity`) differ by data set, and between the code's configurations and its README. For other
    class frequencies at prediction: `--test-prior`.
    """
    return linear(first_stage(setting, losses.lade(counts, alpha, regularity)))


def pc_softmax(counts: ClassCounts, setting: Setting) -> Recipe:
    """PC softmax: cross-entropy, then the training prior taken out of the logits (Hong et al., CVPR 2021).

    The same as post-hoc logit adjustment with tau 1. For other class frequencies at prediction: `--test-prior`.
    """
    return Recipe(linear().head, (first_stage(setting, losses.cross_entropy()), posthoc(counts, tau=1.0)))


def fbl(counts: ClassCounts, setting: Setting, *, strength: float = 60.0) -> Recipe:
    """Feature-balanced loss with its curriculum (thesis equations 4.6 and 4.7).

    The strength grows with the square of the epoch and reaches its full value at 0.95 of them, 190 of 200; the thesis
    leaves the constant open, the published code has 60 on CIFAR and 150 on larger sets.
    """
    return linear(first_stage(setting, losses.fbl(counts, Parabolic(0.95 * setting.epochs, strength))))


RECIPES = (
    ce,
    ce_mixup,
    focal,
    cb_focal,
    equalization,
    logit_adjustment,
    balanced_softmax,
    lade,
    pc_softmax,
    fbl,
)
