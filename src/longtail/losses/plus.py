"""Several losses added, each with a mean of its own."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from longtail.losses.criterion import Criterion, Total
from longtail.moment import Moment


class Plus(Criterion):
    """The sum of losses on the same scores."""

    def __init__(self, *terms: Criterion) -> None:
        super().__init__(*terms)
        self.terms = nn.ModuleList(terms)
        self.row_separable = all(term.row_separable for term in terms)
        self.score_dims = terms[0].score_dims

    def _total(self, scores: Tensor, moment: Moment) -> Total:
        terms = cast("list[Criterion]", self.terms)
        return Total.side_by_side(*(term.total(scores, moment) for term in terms))
