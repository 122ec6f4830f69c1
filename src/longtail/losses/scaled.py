"""Any loss on the bare scores of a cosine head."""

from __future__ import annotations

from torch import Tensor

from longtail.losses.criterion import Criterion, Total
from longtail.moment import Moment


class Scaled(Criterion):
    """A loss of `scale` times the scores, so that cosines reach as far as logits do.

    >>> import torch
    >>> from longtail.losses import cross_entropy
    >>> cosines, targets = torch.tensor([[0.9, -0.2]]), torch.tensor([0])
    >>> bool(Scaled(cross_entropy(), 30.0)(cosines, targets) == cross_entropy()(30 * cosines, targets))
    True
    """

    def __init__(self, loss: Criterion, scale: float) -> None:
        super().__init__(loss)
        self.loss, self.scale = loss, scale
        self.row_separable, self.score_dims = loss.row_separable, loss.score_dims
        self.takes_cosines, self.score_scale = True, scale * loss.score_scale

    def _total(self, scores: Tensor, moment: Moment) -> Total:
        return self.loss.total(self.scale * scores, moment)
