"""A loss that is no number: which images it met is written, and the sentence says where."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from longtail.errors import LongtailError
from longtail.runs import RunFolder
from longtail.training.loop.non_finite import not_finite
from tiny_training import stage


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_step_and_images_are_written(loss: float, tmp_path: Path) -> None:
    folder, images = RunFolder(tmp_path), ("cat/1.png", "dog/Ünïcode \x1b[31m.png", "cat/1.png")
    assert folder.non_finite is None
    error = not_finite(folder, stage(), 2, epoch=3, step=17, loss=loss, images=images)
    assert folder.non_finite == {
        "stage": 2,
        "name": "test",
        "epoch": 3,
        "step": 17,
        "loss": str(loss),
        "images": list(images),
    }
    assert isinstance(error, LongtailError)
    for words in (f"The loss is {loss} in test, epoch 3, step 17", str(tmp_path / "non_finite.json"), "--lr", "--clip"):
        assert words in str(error)


def test_the_record_is_json_in_the_strict_sense(tmp_path: Path) -> None:
    """Python's json would write NaN, which nobody else can read."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    not_finite(RunFolder(tmp_path), stage(), 1, 0, 0, math.nan, ["a"])
    json.loads((tmp_path / "non_finite.json").read_text(encoding="utf-8"), parse_constant=refuse)
