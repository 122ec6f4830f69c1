"""Losses that weigh samples."""

from __future__ import annotations

from golden_cases.case import Case
from longtail import losses, weighting
from longtail.losses import Criterion, Focus, Sigmoid
from longtail.losses.margins import concave, convex, linear, power


def check(case: Case, criterion: Criterion) -> None:
    logits = case.input("logits")
    case.agree_loss(criterion(logits, case.labels, epoch=0), {"logits": logits})


def cross_entropy(case: Case) -> None:
    build = {
        "plain": lambda: losses.cross_entropy(),
        "inverse_freq_nmin_over_n": lambda: losses.weighted_cross_entropy(case.counts),
        "inverse_sqrt_freq": lambda: losses.weighted_cross_entropy(case.counts, weighting.square_root),
        "thesis_table_1_1_one_over_n_batch_mean": lambda: losses.weighted_cross_entropy(case.counts, mean="batch"),
    }
    check(case, build[case.variant]())


def focal(case: Case) -> None:
    gamma = case.params["gamma"]
    if case.variant.startswith("sigmoid"):
        return check(case, losses.focal_sigmoid(gamma=gamma))
    detached = {"through": False, "detached": True}[case.variant.split("_")[1]]
    return check(case, losses.focal(gamma=gamma, detached=detached, class_weights=case.class_weights))


def class_balanced(case: Case) -> None:
    beta, counts = case.params["beta"], case.counts
    form = case.variant.split("_beta")[0]
    build = {
        "softmax_weighted_mean": lambda: losses.class_balanced(counts, beta, mean="weighted"),
        "softmax_batch_mean": lambda: losses.class_balanced(counts, beta),
        "sigmoid": lambda: losses.class_balanced(counts, beta, likelihood=Sigmoid()),
        "focal_sigmoid": lambda: losses.class_balanced(counts, beta, likelihood=Sigmoid(Focus(case.params["gamma"]))),
    }
    check(case, build[form]())


def generalised(case: Case) -> None:
    check(case, losses.generalised_reweighting(case.counts, case.params["exp_scale"]))


def label_aware_smoothing(case: Case) -> None:
    params = case.params
    curves = {"concave": concave, "linear": linear, "convex": convex, "exp": power(params.get("power", 1))}
    check(
        case,
        losses.label_aware_smoothing(
            case.counts,
            params["smooth_head"],
            params["smooth_tail"],
            curve=curves[params["shape"]],
            spread="others" if "spread" in params else "all",
        ),
    )
