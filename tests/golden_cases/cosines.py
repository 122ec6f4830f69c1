"""Losses with margins on the target's cosine."""

from __future__ import annotations

import math

from golden_cases.case import Case
from longtail import losses
from longtail.losses import Criterion
from longtail.losses.margins import radius
from longtail.losses.rotation import less_angle_sine, straight_through


def check(case: Case, criterion: Criterion) -> None:
    cosine = case.input("cosine")
    case.agree_loss(criterion(cosine, case.labels, epoch=0), {"cosine": cosine})


def ldam(case: Case) -> None:
    params = case.params
    check(case, losses.ldam(case.counts, params["max_m"], params["s"], class_weights=case.class_weights))


def cosface_arcface(case: Case) -> None:
    params = case.params
    if case.variant.startswith("cosface"):
        return check(case, losses.cosface(case.counts, params["m"], params["s"]))
    beyond = straight_through if "insightface" in case.variant else less_angle_sine
    return check(case, losses.arcface(case.counts, params["m"], params["s"], beyond=beyond))


def kps(case: Case) -> None:
    check(case, published_kps(case) if "max_m" in case.params else thesis_kps(case))


def thesis_kps(case: Case) -> Criterion:
    params = case.params
    adjust_from = 0 if params["ga"] else None
    return losses.kps(case.counts, params["m_max"], params["s_base"], base=params["n_base"], adjust_from=adjust_from)


def published_kps(case: Case) -> Criterion:
    """The code mirrors the list of radii by position, which is wrong on unsorted classes; so the test does it."""
    params = case.params
    return losses.kps(
        case.counts,
        params["max_m"],
        params["s"],
        adjust_from=0 if params["weighted"] else None,
        largest_scale=50,
        opposite=radius(case.counts, base=50)[::-1],
    )


def ala(case: Case) -> None:
    base = {"formula": math.e, "openlt": 2.0}[case.variant.split("_")[0]]
    check(case, losses.ala(case.counts, case.params["s"], base=base, class_weights=case.class_weights))
