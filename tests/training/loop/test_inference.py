"""What a network makes of all images, also where not so many fit into the memory as are looked at together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from longtail.data.sources.digits import digits
from tiny_training import Counting, classifier, trainer

ROOM = 50


def has_room(layer: nn.Module, inputs: tuple[Tensor]) -> None:
    """A hook before a layer."""
    if len(inputs[0]) > ROOM:
        raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize("views", [0, 1], ids=["as they come", "kept"])
def test_little_memory_changes_nothing_but_the_time(views: int, tmp_path: Path) -> None:
    part, plenty, little = digits().train, classifier(), classifier()
    expected = trainer(tmp_path / "plenty", views).inference.predict(plenty, part, "test")
    assert isinstance(little.backbone, Counting)
    little.backbone.last.register_forward_pre_hook(has_room)
    Counting.calls.clear()
    found = trainer(tmp_path / "little", views).inference.predict(little, part, "test")
    assert max(Counting.calls) <= ROOM
    assert sum(Counting.calls) == len(part)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5, atol=1e-5)
