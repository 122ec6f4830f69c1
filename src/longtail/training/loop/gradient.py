"""The gradient of a batch's loss: the way forward and back, in one go or piece by piece."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.losses.criterion import Total
from longtail.moment import Mixed, Moment
from longtail.training.engine import Engine
from longtail.training.loop.learning import Learning
from longtail.training.loop.pieces import Piece, Pieces
from longtail.training.loop.sources import Sample, Source
from longtail.training.stage import Stage, Targets


class _Seen(NamedTuple):
    """A piece of a batch on its way forward."""

    scores: Tensor
    features: Tensor
    """Without gradient."""
    moment: Moment


class Gradient:
    """Adds the gradients of a stage's loss to its parameters; where processes share the work, all get the same."""

    def __init__(self, stage: Stage, learning: Learning, source: Source, pieces: Pieces, engine: Engine) -> None:
        self._stage, self._source, self._pieces, self._engine = stage, source, pieces, engine
        self._classifier, self._objective = learning.classifier, learning.objective

    def of(self, sample: Sample, here: Key, epoch: int, step: int) -> Tensor:
        """The loss of a batch, 0-d; its gradient is in the parameters then."""
        world, place = self._pieces.world, here.at("step", step)
        self._engine.seed((place.at("process", world.rank) if world.rank else place).value)  # dropout and the like
        take = self._whole if self._pieces.number == 1 else self._in_pieces
        loss = take(sample, place, here.at("loss"), epoch)
        world.share_gradients(self._classifier.backbone.parameters(), self._classifier.head.parameters())
        return loss.detach()

    def _whole(self, sample: Sample, place: Key, noise: Key, epoch: int) -> Tensor:
        (piece,) = self._pieces.all
        seen = self._see(sample, piece, place, noise, epoch)
        self._classifier.head.observe(seen.features)
        self._objective.observe(seen.moment)
        loss = self._objective.total(seen.scores, seen.moment).mean()
        loss.backward()
        return loss

    def _in_pieces(self, sample: Sample, place: Key, noise: Key, epoch: int) -> Tensor:
        """The same with the memory of one piece; what looks at the batch as a whole sees it whole."""
        if self._stage.mixing is not None and not isinstance(sample.targets, Mixed):
            raise LongtailError(
                f"{self._stage.mixing} mixes the features of a batch, which --accumulate would divide; leave it away."
            )
        self._objective.observe(Moment(sample.targets))
        loss, features = torch.zeros((), device=self._engine.device), []
        for piece in self._pieces.all:
            seen = self._see(sample, piece, place, noise, epoch)
            features.append(seen.features)
            total = self._objective.total(seen.scores, seen.moment)
            share = Total(total.sum, self._weight(sample, seen)).mean()
            share.backward()
            loss += share.detach()
        self._classifier.head.observe(torch.cat(features))
        return loss

    def _see(self, sample: Sample, piece: Piece, place: Key, noise: Key, epoch: int) -> _Seen:
        """A piece through the network, and what the loss gets to know."""
        targets: Targets = _rows(sample.targets, piece)
        features = self._source.features(sample, piece)
        features, targets = self._stage.mixed("features", features, targets, place, epoch)
        scores = self._classifier.head(features)
        positions = sample.positions[piece.rows][: len(scores)]
        moment = self._objective.moment(
            scores, targets, features=features, epoch=epoch, draws=noise.draws(positions.to(scores.device))
        )
        return _Seen(scores, features.detach(), moment)

    def _weight(self, sample: Sample, seen: _Seen) -> Tensor:
        """What the loss of the whole batch divides by: it depends on the targets alone, whatever the scores are."""
        rows = len(sample.positions)
        nothing = seen.scores.new_zeros(rows, *seen.scores.shape[1:])
        moment = replace(
            seen.moment,
            targets=sample.targets,
            features=seen.features.new_zeros(rows, *seen.features.shape[1:]),
            draws=Key(0).draws(sample.positions.to(nothing.device)),
        )
        with torch.no_grad():
            return self._objective.total(nothing, moment).weight


def _rows(targets: Targets, piece: Piece) -> Targets:
    return targets.rows(piece.rows) if isinstance(targets, Mixed) else targets[piece.rows]
