"""The loss of a head with very many classes, without ever holding its scores (B, C)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from longtail.draws import Draws
from longtail.errors import LongtailError
from longtail.losses.criterion import Criterion, Total
from longtail.moment import Mixed, Moment


def chunked(
    criterion: Criterion,
    queries: Tensor,
    anchors: Tensor,
    targets: Tensor | Mixed,
    *,
    offsets: Tensor | None = None,
    features: Tensor | None = None,
    epoch: float | Tensor | None = None,
    generator: torch.Generator | None = None,
    draws: Draws | None = None,
    rows: int = 32,
) -> Tensor:
    """`criterion(queries @ anchors.T + offsets, targets, ...)`, exact, `rows` rows of scores at a time.

    Gradients are computed on the way forward, in the same pass over the chunks, and only once: they have no derivative
    of their own.

    Args:
        criterion: a loss whose rows add; LADE's regulariser does not.
        queries: what the head compares with the anchors, (B, Q).
        anchors: a row per class, (C, Q).
        targets: (B,) int64, or `Mixed`.
        offsets: added to the scores, (C,).
        features: (B, D), for losses that look at them.
        epoch: for losses that change over time.
        generator: where noise comes from.
        draws: the noise instead of `generator`.
        rows: samples in a chunk; 32 to 64 are fastest on a processor.

    Raises:
        LongtailError: the loss belongs to the whole batch.

    >>> import torch
    >>> from longtail import losses
    >>> queries, anchors, targets = torch.rand(5, 4), torch.rand(9, 4), torch.arange(5)
    >>> criterion = losses.ldam(range(1, 10), scale=2)
    >>> whole = criterion(0.2 * queries @ anchors.T, targets)
    >>> bool(torch.isclose(chunked(criterion, 0.2 * queries, anchors, targets, rows=2), whole))
    True
    """
    if not criterion.row_separable:
        raise LongtailError("This loss belongs to the whole batch and cannot be taken in chunks of rows.")
    moment = criterion.moment(queries, targets, features=features, epoch=epoch, generator=generator, draws=draws)
    if criterion.training:
        criterion.observe(moment)
    loss: Tensor = _Chunked.apply(queries, anchors, offsets, features, criterion, moment, rows)
    return loss


@dataclass
class _Gradients:
    """What one term of a loss, before it is divided by its weight, changes by."""

    queries: Tensor
    anchors: Tensor
    offsets: Tensor | None
    features: Tensor | None


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        anchors: Tensor,
        offsets: Tensor | None,
        features: Tensor | None,
        criterion: Criterion,
        moment: Moment,
        rows: int,
    ) -> Tensor:
        total: Total | None = None
        terms: list[_Gradients] = []  # apart, since each is divided by a weight that only the last chunk completes
        for start in range(0, len(queries), rows):
            part = slice(start, start + rows)
            scores = queries[part] @ anchors.mT
            scores = scores if offsets is None else scores.add_(offsets)
            chunk, changes = _chunk(criterion, scores, moment.rows(part))
            total = chunk if total is None else total + chunk
            terms = terms or [_zeros(queries, anchors, offsets, features) for _ in changes]
            for term, (of_scores, of_features) in zip(terms, changes, strict=True):
                torch.mm(of_scores, anchors, out=term.queries[part])
                term.anchors.addmm_(of_scores.mT, queries[part])
                if term.offsets is not None:
                    term.offsets += of_scores.sum(0)
                if term.features is not None and of_features is not None:
                    term.features[part] = of_features
        if total is None:
            raise LongtailError("A batch without a sample has no loss.")
        ctx.gradients = [_mean(terms, total, name) for name in ("queries", "anchors", "offsets", "features")]
        return total.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (*(None if gradient is None else gradient * upstream for gradient in ctx.gradients), None, None, None)


def _chunk(criterion: Criterion, scores: Tensor, moment: Moment) -> tuple[Total, list[tuple[Tensor, Tensor | None]]]:
    """The total of some rows and, for each of its terms, what it changes by with the scores and the features."""
    leaves = [scores.requires_grad_()]
    if moment.features is not None:
        leaves.append(moment.features.detach().requires_grad_())
        moment = replace(moment, features=leaves[1])
    with torch.enable_grad():
        total = criterion.total(scores, moment)
        changes = [
            torch.autograd.grad(term, leaves, retain_graph=True, allow_unused=True) for term in total.sum.reshape(-1)
        ]
    pairs = [(change[0], change[1] if len(change) > 1 else None) for change in changes]
    return Total(total.sum.detach(), total.weight.detach()), pairs


def _zeros(queries: Tensor, anchors: Tensor, offsets: Tensor | None, features: Tensor | None) -> _Gradients:
    return _Gradients(
        torch.empty_like(queries),
        torch.zeros_like(anchors),
        None if offsets is None else torch.zeros_like(offsets),
        None if features is None else torch.zeros_like(features),
    )


def _mean(terms: list[_Gradients], total: Total, name: str) -> Tensor | None:
    """The gradient of the mean: each term's divided by its weight, and added."""
    gradients = [getattr(term, name) for term in terms]
    if gradients[0] is None:
        return None
    weights = total.weight.reshape(-1).unbind()
    parts: list[Tensor] = [gradient.div_(weight) for gradient, weight in zip(gradients, weights, strict=True)]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
