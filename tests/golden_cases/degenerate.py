"""Equal counts: the published numbers where there are any, and cross-entropy where published code gives NaN."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from golden_cases.case import Case
from golden_cases.clouds import noise
from longtail import losses
from longtail.schedules import Constant


def equal_counts(case: Case) -> None:
    cosine, labels, counts = case.input("cosine"), case.labels, case.counts
    feature, draws = case.input("feature"), noise(case, "noise")
    plain, scaled = F.cross_entropy(cosine, labels), F.cross_entropy(30 * cosine, labels)
    smoothed = losses.label_aware_smoothing(counts)(cosine, labels)
    angular = losses.gcl_angular(counts, target_margin=0.0)
    found = {
        "gcl": (losses.gcl(counts)(cosine, labels, draws=draws), scaled),
        "gcl_angular": (angular(cosine, labels, draws=draws), scaled),
        "fbl": (losses.fbl(counts, Constant(60.0))(cosine, labels, features=feature, epoch=0), plain),
        "kps_plain": (losses.kps(counts, 0.2)(cosine, labels), None),
        "kps_ga": (losses.kps(counts, 0.2, adjust_from=0)(cosine, labels, epoch=0), None),
        "ldam": (losses.ldam(counts)(cosine, labels), None),
        "label_aware_smoothing_concave": (smoothed, plain),
    }
    assert found.keys() == case.expected.keys()
    for name, (loss, graceful) in found.items():
        if case.expected[name] == "nan":
            assert graceful is not None, name
            torch.testing.assert_close(loss, graceful, rtol=1e-12, atol=1e-12)
        else:
            case.agree(loss, case.expected[name])
