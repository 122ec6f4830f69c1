"""What a loss says of what it cannot take."""

from __future__ import annotations

import pytest
import torch

from longtail import losses
from longtail.counts import ClassCounts
from longtail.moment import Mixed, Moment

COUNTS = [30, 5, 2]
SCORES = torch.zeros(2, 3)
TARGETS = torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("scores", "targets", "sentence"),
    [
        (torch.zeros(2, 4), TARGETS, r"Scores must be \(B, 3\).*not \(2, 4\)"),
        (torch.zeros(2), TARGETS, r"Scores must be \(B, 3\)"),
        (SCORES, torch.tensor([0]), r"Targets must be int64 class indices of shape \(2,\)"),
        (SCORES, torch.tensor([0.0, 2.0]), "not torch.float32"),
        (SCORES, torch.eye(3)[TARGETS], "int64 class indices"),
        (SCORES, Mixed(TARGETS, TARGETS[:1], torch.tensor(0.5)), "int64 class indices"),
    ],
)
def test_wrong_shapes_are_told_every_time(scores: torch.Tensor, targets: torch.Tensor, sentence: str) -> None:
    criterion = losses.ldam(COUNTS)
    criterion(SCORES, TARGETS)
    for _ in range(2):
        with pytest.raises(ValueError, match=sentence):
            criterion(scores, targets)


@pytest.mark.parametrize(("wrong", "named"), [(3, "Target 3"), (-1, "Target -1")])
def test_targets_out_of_range(wrong: int, named: str) -> None:
    with pytest.raises(ValueError, match=f"{named} is no class: there are 3, from 0 to 2"):
        losses.cross_entropy()(SCORES, torch.tensor([0, wrong]))


@pytest.mark.parametrize("build", [losses.gcl, losses.gcl_angular, losses.ldam, losses.kps, losses.ala, losses.arcface])
def test_logits_where_cosines_are_asked_for(build: object) -> None:
    assert callable(build)
    with pytest.raises(ValueError, match="takes cosines, from -1 to 1, but a score is 12"):
        build(COUNTS)(torch.full((2, 3), 12.0), TARGETS)


def test_missing_context() -> None:
    with pytest.raises(ValueError, match="looks at the features"):
        losses.fbl(COUNTS)(SCORES, TARGETS, epoch=3)
    with pytest.raises(ValueError, match="changes over the epochs"):
        losses.fbl(COUNTS)(SCORES, TARGETS, features=SCORES)
    with pytest.raises(ValueError, match="changes over the epochs"):
        losses.ldam(COUNTS, class_weights=losses.deferred_reweighting(COUNTS))(SCORES, TARGETS)
    with pytest.raises(ValueError, match="draws random numbers"):
        losses.gcl(COUNTS).total(SCORES, Moment(TARGETS))


def test_features_of_other_samples() -> None:
    with pytest.raises(ValueError, match="3 rows of features for 2 of scores"):
        losses.fbl(COUNTS)(SCORES, TARGETS, features=torch.zeros(3, 4), epoch=0)


def test_lade_belongs_to_one_share() -> None:
    with pytest.raises(ValueError, match="whole batch"):
        losses.lade(COUNTS)(SCORES, Mixed(TARGETS, TARGETS, torch.tensor([0.5, 0.2])))


def test_counts_as_people_have_them() -> None:
    """A list, tensor, dict, ClassCounts and the labels give the same loss."""
    labels = [0] * 30 + [1] * 5 + [2] * 2
    forms = (COUNTS, torch.tensor(COUNTS), {"a": 30, "b": 5, "c": 2}, ClassCounts((30, 5, 2)), labels)
    found = {losses.balanced_softmax(form)(SCORES, TARGETS).item() for form in forms}
    assert len(found) == 1
