"""The engine of a run: the same again from what was written down, and nothing that a device has not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from longtail.errors import LongtailError
from longtail.training.engine import Engine, choose_engine
from tiny_training import FLOAT32


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_engine_comes_back_from_json(precision: torch.dtype, threads: int) -> None:
    engine = Engine(torch.device("cpu"), precision, "for a test", threads)
    again = Engine.of(json.loads(json.dumps(engine.description())))
    assert again == engine
    assert again.describe() == engine.describe()


def test_the_number_of_threads_is_written_down_where_nobody_chose_it() -> None:
    assert FLOAT32.threads is None
    with replace(FLOAT32, threads=3).running():
        description = FLOAT32.description()
        assert description["threads"] == 3
    with Engine.of(description).running():
        assert torch.get_num_threads() == 3


def test_small_batches_take_one_thread_and_say_why() -> None:
    engine = choose_engine("cpu")
    small, large = engine.for_batches_of(32 * 8 * 8), engine.for_batches_of(128 * 32 * 32)
    assert (small.threads, large.threads) == (1, engine.threads)
    assert "one thread, the batches are small" in small.describe()
    assert Engine.of(small.description()) == small


def test_what_ran_elsewhere_does_not_go_on_here() -> None:
    with pytest.raises(LongtailError, match="runs on the device 'cuda:63', which is not here"):
        Engine.of({**FLOAT32.description(), "device": "cuda:63"})


def test_a_precision_that_was_asked_for_holds() -> None:
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        engine = choose_engine("cpu", name)  # type: ignore[arg-type]
        assert engine.precision is dtype
        assert engine.reason == "as asked"
        with engine.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is dtype
