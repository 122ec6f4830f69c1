"""Numbers per class and curves over epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from golden_cases.case import Case
from longtail import samplers, weighting
from longtail.counts import ClassCounts
from longtail.data.splits import imbalance
from longtail.losses import margins
from longtail.losses.margins import PerClassNumbers
from longtail.schedules import CosineDecay, FromEpoch, Linear, MultiStep, Parabolic, Schedule, WarmUp


def class_counts(case: Case) -> None:
    params = case.params
    profile = {"exp": imbalance.exponential, "step": imbalance.step}[params["type"]]
    found = ClassCounts(profile(params["n_max"], params["classes"], params["ratio"]))
    assert list(found.per_class) == case.expected["counts"]
    assert found.total == case.expected["total"]


def effective(counts: ClassCounts, beta: float) -> PerClassNumbers:
    return weighting.summing_to(len(counts), weighting.effective_number(counts, beta))


def generalised(counts: ClassCounts, rho: float) -> PerClassNumbers:
    return weighting.summing_to(len(counts), weighting.inverse_frequency(counts, rho))


def published_kps(counts: ClassCounts) -> PerClassNumbers:
    """The radii mirrored by position."""
    return margins.radius(counts, base=50)[::-1]


def kps_margin(counts: ClassCounts, largest: float) -> PerClassNumbers:
    opposite = margins.opposite_radius(counts, base=50)
    return np.asarray(largest * opposite / opposite.max())


VECTORS: dict[str, Callable[[ClassCounts], PerClassNumbers]] = {
    "ldam_margin_max0.5": partial(margins.fourth_root_margin, largest=0.5),
    "drw_weight_beta0_sum_C": partial(effective, beta=0.0),
    "drw_weight_beta0.9999_sum_C": partial(effective, beta=0.9999),
    "effective_number_weight_raw_beta0.999": partial(weighting.effective_number, beta=0.999),
    "effective_number_weight_raw_beta0.9999": partial(weighting.effective_number, beta=0.9999),
    "effective_number_weight_beta0.9999_sum_1": lambda counts: effective(counts, 0.9999) / len(counts),
    "inverse_frequency_weight_sum_1": lambda counts: weighting.summing_to(1, weighting.balanced(counts)),
    "cost_sensitive_weight_nmin_over_n": weighting.inverse_frequency,
    "gcl_delta_log": margins.log_rarity,
    "gcl_delta_log_over_max": partial(margins.relative, margins.log_rarity),
    "gcl_delta_cos_over_max": partial(margins.relative, margins.cosine_rarity),
    "gcl_delta_pow_1_3_over_max": partial(margins.relative, margins.cube_root_rarity),
    "gcl_delta_pow_1_4_over_max": partial(margins.relative, margins.fourth_root_rarity),
    "kps_radius": partial(margins.radius, base=50),
    "kps_margin_code_max0.2": lambda counts: 0.2 * published_kps(counts) / published_kps(counts).max(),
    "kps_ga_scale_code_s15": lambda counts: (15 * published_kps(counts)).clip(15, 50),
    "kps_margin_paper_max0.5": partial(kps_margin, largest=0.5),
    "kps_margin_paper_max0.35": partial(kps_margin, largest=0.35),
    "kps_margin_paper_max0.3": partial(kps_margin, largest=0.3),
    "kps_mprime_paper": partial(margins.opposite_radius, base=50),
    "kps_ga_scale_paper_sbase15": lambda counts: 15 * margins.opposite_radius(counts, base=50),
    "fbl_lambda_over_max": partial(margins.relative, margins.log_rarity),
    "fbl_lambda_paper_unnormalised": margins.log_rarity,
    "ala_quantity_factor_natural_log": partial(margins.quantity, base=math.e),
    "ala_quantity_factor_openlt_log2": partial(margins.quantity, base=2),
    "log_prior": margins.log_prior,
    "las_smoothing_concave_0.3_0.0": partial(margins.smoothing, head=0.3, tail=0.0, curve=margins.concave),
    "las_smoothing_linear_0.3_0.0": partial(margins.smoothing, head=0.3, tail=0.0, curve=margins.linear),
    "las_smoothing_convex_0.3_0.0": partial(margins.smoothing, head=0.3, tail=0.0, curve=margins.convex),
    "las_smoothing_concave_0.4_0.1": partial(margins.smoothing, head=0.4, tail=0.1, curve=margins.concave),
    "las_smoothing_linear_0.4_0.1": partial(margins.smoothing, head=0.4, tail=0.1, curve=margins.linear),
    "las_smoothing_convex_0.4_0.1": partial(margins.smoothing, head=0.4, tail=0.1, curve=margins.convex),
    "grw_weight_rho1.2_sum_C": partial(generalised, rho=1.2),
    "grw_weight_rho1_sum_C": partial(generalised, rho=1.0),
    "ride_diversity_temperature_factor": partial(margins.class_temperature, span=0.05),
}


def class_weights_and_margins(case: Case) -> None:
    for name, expected in case.expected.items():
        if name == "seql_tail_mask":
            for rule, mask in expected.items():
                assert margins.rare(case.counts, float(rule.removeprefix("lambda"))).tolist() == mask
        else:
            case.agree_vector(VECTORS[name](case.counts), name)


def cben_in_float32(counts: ClassCounts) -> PerClassNumbers:
    """The GCL code's weights: beta in float32, the powers in float64."""
    rarity = margins.relative(margins.log_rarity, counts).astype(np.float32)
    beta = np.float32(0.9999) + np.float32(1e-5) * rarity
    return weighting.effective_number(counts, beta.astype(np.float64))


def by_image(counts: ClassCounts, weights: PerClassNumbers) -> PerClassNumbers:
    return weighting.class_probability(counts, weights)


def drawn(rule: samplers.Sampling, epoch: int = 0, epochs: int = 1) -> Callable[[ClassCounts], PerClassNumbers]:
    """The chance of each class under a sampling rule."""

    def probability(counts: ClassCounts) -> PerClassNumbers:
        found = rule.class_probability(counts, epoch, epochs)
        assert found is not None
        return np.asarray(found / found.sum())

    return probability


SAMPLERS: dict[str, Callable[[ClassCounts], PerClassNumbers]] = {
    "instance_balanced_class_probability": lambda counts: by_image(counts, weighting.instance(counts)),
    "class_balanced_class_probability": drawn(samplers.class_balanced()),
    "balanced_sample_weight": weighting.balanced,
    "effective_number_sample_weight": weighting.effective_number,
    "effective_number_class_probability": drawn(samplers.effective_number()),
    "cben_gcl_repo_float32_sample_weight": cben_in_float32,
    "cben_gcl_repo_float32_class_probability": lambda counts: by_image(counts, cben_in_float32(counts)),
    "cben_gcl_repo_beta_exact": partial(weighting.cben_beta, lowest=0.9999, span=1e-5),
    "cben_gcl_repo_exact_sample_weight": partial(weighting.cben, lowest=0.9999, span=1e-5),
    "cben_gcl_repo_exact_class_probability": drawn(samplers.cben(0.9999, 1e-5)),
    "cben_paper_beta": weighting.cben_beta,
    "cben_paper_sample_weight": weighting.cben,
    "cben_paper_class_probability_when_weights_are_per_sample": drawn(samplers.cben()),
    "cben_paper_rho_normalised_over_classes": drawn(samplers.cben(per="class")),
    "square_root_class_probability": drawn(samplers.square_root()),
    "bbn_reverse_class_probability": drawn(samplers.reversed_()),
}


def sampling(case: Case) -> None:
    for name, expected in case.expected.items():
        if name.startswith("progressive"):
            check_progressive(case, name, expected)
        elif name == "lengths":
            assert expected["weighted_samplers_draws_per_epoch"] == case.counts.total
            assert expected["class_aware_sampler_length"] == case.counts.largest * len(case.counts)
        else:
            case.agree_vector(SAMPLERS[name](case.counts), name)


def check_progressive(case: Case, name: str, expected: dict[str, list[float]]) -> None:
    for epoch, probability in expected.items():
        if "bag_of_tricks" in name:  # its epochs count from 1
            found = drawn(samplers.progressive("bag_of_tricks"), int(epoch) - 1, 200)(case.counts)
        else:
            found = drawn(samplers.progressive(), int(epoch), 90)(case.counts)
        assert found == pytest.approx(probability, rel=1e-9, abs=1e-12)


RATES: dict[str, Schedule] = {
    "ldam_cifar": WarmUp(5, MultiStep((160, 180), 0.01)),
    "gcl_cifar_stage1": WarmUp(5, MultiStep((160, 180))),
    "gcl_cifar_stage2": CosineDecay(30),
    "gcl_places_stage1": WarmUp(5, MultiStep((60, 80))),
    "kps_cifar": WarmUp(5, MultiStep((160, 180))),
    "fbl_cifar10": WarmUp(5, MultiStep((160, 180), 0.01)),
    "fbl_place365": WarmUp(5, MultiStep((60, 80))),
    "fbl_imagenet": WarmUp(5, MultiStep((120, 160))),
    "mislas_stage1_cifar": WarmUp(5, MultiStep((160, 180))),
    "mislas_stage1_cos": CosineDecay(180),
    "mislas_stage2": CosineDecay(10),
}
FIRST_RATES = {"gcl_cifar_stage2": 0.02}  # 0.1 * 0.1 * lr * (1 + cos): a fifth of the first stage's rate


CURVES: dict[str, Schedule] = {
    "fbl_curr_official (epoch/(epochs-10))^2, epochs=200": Parabolic(190),
    "fbl_paper_alpha (t/T)^2, T=200": Parabolic(200),
    "drw_beta_index epoch//160": FromEpoch(160),
    "kps_ga_on epoch>=120": FromEpoch(120),
    "progressive_mix t/(T-1), T=90": Linear(89),
}


def schedules(case: Case) -> None:
    if case.id.startswith("curve"):
        return check_curve(case.id.removeprefix("curve "), case.raw["points"])
    first = FIRST_RATES.get(case.id, 1.0) * case.params["lr"]
    factors = (case.params["lr_factor"], 1.0) if "groups" in case.params else (1.0,)
    for epoch, rates in case.raw["expected_lr_by_epoch0"].items():
        rate = first * RATES[case.id].at(int(epoch))
        assert [rate * factor for factor in factors] == pytest.approx(np.atleast_1d(rates), rel=1e-9, abs=1e-12)
    return None


def check_curve(name: str, points: dict[str, Any]) -> None:
    if name.startswith("bbn_l"):  # epochs from 1
        found = {epoch: 1 - Parabolic(200).at(int(epoch) - 1) for epoch in points}
    else:
        found = {epoch: CURVES[name].at(int(epoch)) for epoch in points}
    assert found == pytest.approx({epoch: float(value) for epoch, value in points.items()}, rel=1e-9)
