"""Gaussian clouded logits: the recorded noise is handed in."""

from __future__ import annotations

from golden_cases.case import Case, Given
from longtail import losses
from longtail.draws import Draws
from longtail.losses import Criterion, Focus
from longtail.losses.rotation import less_sine, only_acute


def check(case: Case, criterion: Criterion) -> None:
    cosine = case.input("cosine")
    loss = criterion(cosine, case.labels, draws=noise(case, "noise"), epoch=0)
    case.agree_loss(loss, {"cosine": cosine})


def noise(case: Case, name: str) -> Draws:
    """The recorded draws of N(0, 1/9), as standard normals."""
    return Given(case.drawn(name) * 3)


def focus(case: Case) -> Focus | None:
    """The second stage's focal factor."""
    return Focus(case.params["gamma"], detached=True) if case.params["train_cls"] else None


def gcl(case: Case) -> None:
    params = case.params
    check(
        case,
        losses.gcl(
            case.counts,
            params["s"],
            amplitude=params["noise_mul"],
            target_margin=params["m"],
            shared_noise="noise_sharing" in params,
            focus=focus(case),
            class_weights=case.class_weights,
        ),
    )


def gcl_angular(case: Case) -> None:
    params = case.params
    check(
        case,
        losses.gcl_angular(
            case.counts,
            params["s"],
            amplitude=params["epsilon"],
            target_margin=params["m"],
            beyond=only_acute if params["easy_margin"] else less_sine,
            focus=focus(case),
        ),
    )
