"""One golden case: what went in, and what must come out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from longtail import losses
from longtail.counts import ClassCounts
from longtail.draws import Draws
from longtail.losses import ClassWeights


@dataclass(frozen=True)
class Case:
    """A case of a golden file, with its numbers as tensors on demand."""

    file: str
    raw: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.raw["id"])

    @property
    def variant(self) -> str:
        return str(self.raw.get("variant", ""))

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.raw.get("params") or {})

    @property
    def expected(self) -> dict[str, Any]:
        return dict(self.raw["expected"])

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.raw.get("dtype") == "float32" else torch.float64

    @property
    def counts(self) -> ClassCounts:
        return ClassCounts(tuple(self.raw["class_counts"]))

    @property
    def labels(self) -> Tensor:
        return torch.tensor(self.raw["targets"], dtype=torch.int64)

    @property
    def class_weights(self) -> ClassWeights | None:
        """The second phase of deferred re-weighting, where the case has it."""
        return losses.deferred_reweighting(self.counts, start=0) if "weight" in self.params else None

    def input(self, name: str) -> Tensor:
        """An input, a leaf with gradient."""
        return torch.tensor(self.raw["inputs"][name], dtype=self.dtype, requires_grad=True)

    def drawn(self, name: str) -> Tensor:
        """Numbers that were drawn."""
        return torch.tensor(self.raw["random"][name], dtype=self.dtype)

    def agree(self, actual: Tensor, expected: Any, relative: float = 1e-9) -> None:
        """float64: within `relative`; float32: 1e-5. Arrays: of their largest entry, 1e-4 in float32."""
        wanted = torch.tensor(expected, dtype=torch.float64)
        single = self.dtype is torch.float32
        found = actual.detach().to(torch.float64)
        if wanted.dim() == 0:
            torch.testing.assert_close(found, wanted, rtol=1e-5 if single else relative, atol=1e-12)
        else:
            largest = max(1.0, float(wanted.abs().max()))
            torch.testing.assert_close(found, wanted, rtol=0, atol=(1e-4 if single else relative) * largest)

    def agree_loss(self, loss: Tensor, inputs: dict[str, Tensor], relative: float = 1e-9) -> None:
        """The loss, and its gradient for every input."""
        self.agree(loss, self.expected["loss"], relative)
        loss.backward()
        for name, gradient in self.expected["grad"].items():
            found = inputs[name].grad
            self.agree(torch.zeros_like(inputs[name]) if found is None else found, gradient, relative)

    def agree_vector(self, actual: ArrayLike, name: str, relative: float = 1e-9) -> None:
        """A vector of expected numbers, entry by entry."""
        assert actual == pytest.approx(self.expected[name], rel=relative, abs=1e-12), name


@dataclass(frozen=True)
class Given(Draws):
    """Draws that were made elsewhere: (B, C), the same for every purpose."""

    numbers: Tensor

    def uniform(self, like: Tensor, purpose: str) -> Tensor:
        return self.numbers[:, : like.shape[1]]

    def normal(self, like: Tensor, purpose: str) -> Tensor:
        return self.uniform(like, purpose)

    def half_normal(self, like: Tensor, purpose: str) -> Tensor:
        return self.normal(like, purpose).abs()

    def of(self, purpose: str) -> Draws:
        return self

    def rows(self, rows: slice) -> Draws:
        return Given(self.numbers[rows])

    def then(self, other: Given) -> Given:
        return Given(torch.cat([self.numbers, other.numbers]))


def read(path: Path) -> Iterator[Case]:
    """The cases of a golden file; the curves of the schedules count as cases."""
    content = json.loads(path.read_text())
    for raw in content["cases"]:
        yield Case(path.stem, raw)
    for name, points in content.get("curves", {}).items():
        yield Case(path.stem, {"id": f"curve {name}", "points": points})
