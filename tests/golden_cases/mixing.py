"""Mixup of images, and losses of mixed targets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from golden_cases.case import Case
from golden_cases.clouds import noise
from longtail import losses
from longtail.data.blending import average
from longtail.draws import Draws
from longtail.moment import Mixed


def mixup(case: Case) -> None:
    if "random" in case.raw:
        return clouded(case)
    partners = torch.tensor(case.params["permutation"])
    first = case.input("images")
    images, share = average(first, first[partners], case.params["lambda"])
    case.agree(images, case.expected["mixed_images"])
    mixed = Mixed(case.labels, case.labels[partners], torch.tensor(share, dtype=case.dtype))
    assert mixed.first.tolist() == case.expected["targets_a"]
    assert mixed.second.tolist() == case.expected["targets_b"]
    logits = case.input("logits")
    return case.agree_loss(losses.cross_entropy()(logits, mixed), {"logits": logits})


def clouded(case: Case) -> None:
    """GCL draws its noise anew for each of the two targets."""
    params, targets = case.params, case.raw["targets"]
    share = torch.tensor(params["lambda"], dtype=case.dtype)
    mixed = Mixed(torch.tensor(targets["a"]), torch.tensor(targets["b"]), share)
    draws = ByPurpose({"first targets": noise(case, "noise_a"), "second targets": noise(case, "noise_b")})
    criterion = losses.gcl(case.counts, params["s"], amplitude=params["noise_mul"], target_margin=params["m"])
    cosine = case.input("cosine")
    case.agree_loss(criterion(cosine, mixed, draws=draws), {"cosine": cosine})


@dataclass(frozen=True)
class ByPurpose(Draws):
    """Other draws for each purpose, and none without one."""

    draws: dict[str, Draws]

    def of(self, purpose: str) -> Draws:
        return self.draws[purpose]

    def uniform(self, like: Tensor, purpose: str) -> Tensor:
        raise AssertionError

    normal = half_normal = uniform

    def rows(self, rows: slice) -> Draws:
        return ByPurpose({purpose: draws.rows(rows) for purpose, draws in self.draws.items()})

    def then(self, other: ByPurpose) -> ByPurpose:
        raise AssertionError
