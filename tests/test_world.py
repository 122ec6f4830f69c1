"""Processes that train together, in real groups of two and three, against one process that has the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from longtail.cards import LOSS, methods
from longtail.errors import LongtailError
from longtail.world import ALONE, World
from processes import in_processes
from shared_work import agreeing, dealing, gathering, left_behind, sharing, sums, training

SIZES = pytest.mark.parametrize("size", [2, 3])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("batch", [6, 7, 64, 128])
def test_rows_are_shared_evenly_and_in_order(size: int, batch: int) -> None:
    shares = [range(batch)[World(rank, size).rows(batch)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(batch))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_more_processes_than_images_are_refused() -> None:
    with pytest.raises(LongtailError, match="3 processes cannot share 2 images; give a larger --batch-size"):
        World(0, 3).rows(2)


@SIZES
def test_everyone_has_all_rows_and_keeps_the_gradient_of_its_own(size: int, tmp_path: Path) -> None:
    for found in in_processes(size, gathering, tmp_path):
        assert len(found) == 36
        for name, (mine, expected) in found.items():
            assert torch.equal(mine, expected), name


@SIZES
def test_sums_and_their_gradients(size: int, tmp_path: Path) -> None:
    x, weights = sums(ALONE)["sum"], size * (size + 1) / 2
    for found in in_processes(size, sums, tmp_path):
        torch.testing.assert_close(found["sum"], weights * x)
        torch.testing.assert_close(found["gradient"], 2 * weights * weights * x)


@SIZES
def test_gradients_are_everyones(size: int, tmp_path: Path) -> None:
    total = size * (size + 1) / 2
    for found in in_processes(size, sharing, tmp_path):
        assert {name: pytest.approx(gradient.item()) for name, gradient in found.items()} == {
            "of all": total,
            "in half precision": total,
            "of the last alone": size,
            "of nobody": -1,
            "frozen": -1,
            "equal": 1 / 3,
            "equal, of the first alone": 1,
            "equal, of nobody": -1,
        }
        assert found["equal"] == torch.tensor(1.0) / 3  # to the bit


@SIZES
def test_processes_agree(size: int, tmp_path: Path) -> None:
    alone = agreeing(ALONE)
    assert bytes(alone["heard"].tolist()).decode() == "Größe ✓"
    assert alone["any"].tolist() == [False, True, True]
    for found in in_processes(size, agreeing, tmp_path):
        assert found.keys() == alone.keys()
        for name, tensor in found.items():
            assert torch.equal(tensor, alone[name]), name


@pytest.mark.parametrize("number", [3, 8, 12, 13])
def test_what_was_dealt_out_comes_back_in_order(number: int, tmp_path: Path) -> None:
    """Of 3 images and batches of 4, one process has none."""
    parts = in_processes(2, dealing, tmp_path, number, 4)
    for rank, found in enumerate(parts):
        assert torch.equal(found["together"], found["images"])
        assert torch.equal(found["wide"], found["images"][:, :, None].expand(-1, -1, 2))
        assert all(image // 4 % 2 == rank for image in found["own"].tolist())
    assert sorted(torch.cat([found["own"] for found in parts]).tolist()) == list(range(number))
    alone = dealing(ALONE, number, 4)
    assert torch.equal(alone["together"], alone["images"])


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_process_that_ends_is_noticed_and_said(how: str, tmp_path: Path) -> None:
    if how == "killed":
        with pytest.raises(Exception, match="SIGKILL"):
            in_processes(3, left_behind, tmp_path, how)
        return
    for found in in_processes(3, left_behind, tmp_path, how)[:2]:
        said = bytes(found["heard"].tolist()).decode()
        assert said.startswith("Another process of this training has ended")
        assert "longtail train --resume RUN" in said


@SIZES
@pytest.mark.parametrize(("dtype", "steps", "tolerance"), [(torch.float32, 1, 1e-6), (torch.float64, 3, 1e-12)])
def test_every_loss_learns_as_in_one_process(
    size: int, dtype: torch.dtype, steps: int, tolerance: float, tmp_path: Path
) -> None:
    """Losses and gradients: normalisers, running counts and noise are of the global batch. Steps magnify rounding."""
    kinds = [card.name for card in methods() if card.kind is LOSS]
    assert len(kinds) > 20
    alone = training(ALONE, kinds, dtype, steps)
    for found in in_processes(size, training, tmp_path, kinds, dtype, steps):
        assert found.keys() == alone.keys()
        for name, tensor in found.items():
            assert (tensor - alone[name]).abs().max() <= tolerance * alone[name].abs().max().clamp_min(1), name
