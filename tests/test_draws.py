"""Random numbers as functions of where they are used."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from longtail.draws import Draws, Key

ROWS, COLUMNS = 500, 400


@pytest.fixture
def draws() -> Draws:
    return Key.of_seed(3).draws(torch.arange(ROWS))


@pytest.fixture
def like() -> torch.Tensor:
    return torch.zeros(ROWS, COLUMNS)


def test_slicing_and_drawing_commute(draws: Draws, like: torch.Tensor) -> None:
    rows = slice(17, 60)
    for kind in ("uniform", "normal", "half_normal"):
        whole = getattr(draws, kind)(like, "noise")
        assert torch.equal(getattr(draws.rows(rows), kind)(like[rows], "noise"), whole[rows])


def test_joining_and_drawing_commute(draws: Draws, like: torch.Tensor) -> None:
    first, second = draws.of("first").rows(slice(0, 200)), draws.of("second").rows(slice(200, ROWS))
    both, middle = first.then(second), slice(150, 250)
    for kind in ("uniform", "normal", "half_normal"):
        apart = [getattr(each, kind)(like[:rows], "noise") for each, rows in ((first, 200), (second, 300))]
        assert torch.equal(getattr(both, kind)(like, "noise"), torch.cat(apart))
        assert torch.equal(getattr(both.rows(middle), kind)(like[middle], "noise"), torch.cat(apart)[middle])
        inside = both.of("more").rows(slice(0, 200))
        assert torch.equal(
            getattr(inside, kind)(like[:200], "noise"), getattr(first.of("more"), kind)(like[:200], "noise")
        )


def test_a_number_depends_on_its_position_alone(draws: Draws, like: torch.Tensor) -> None:
    shuffled = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    other = Key.of_seed(3).draws(shuffled)
    assert torch.equal(other.normal(like, "noise"), draws.normal(like, "noise")[shuffled])


def test_purposes_keys_and_rows_are_independent(draws: Draws, like: torch.Tensor) -> None:
    first = draws.uniform(like, "one")
    others = [
        draws.uniform(like, "two"),
        draws.of("one").uniform(like, "one"),
        Key.of_seed(4).draws(torch.arange(ROWS)).uniform(like, "one"),
        first.roll(1, 0),
        first.roll(1, 1),
    ]
    for other in others:
        correlation = np.corrcoef(first.flatten(), other.flatten())[0, 1]
        assert abs(correlation) < 4 / math.sqrt(ROWS * COLUMNS)


def test_uniform_is_uniform(draws: Draws, like: torch.Tensor) -> None:
    uniform = draws.uniform(like, "noise")
    assert uniform.min() >= 0
    assert uniform.max() < 1
    cells = np.histogram(uniform.numpy(), bins=100, range=(0, 1))[0]
    expected = ROWS * COLUMNS / 100
    chi_square = float(((cells - expected) ** 2 / expected).sum())
    assert chi_square < 99 + 4 * math.sqrt(2 * 99)


def test_normal_has_the_quantiles_of_a_normal(draws: Draws, like: torch.Tensor) -> None:
    levels = torch.linspace(-3, 3, 25, dtype=torch.float64)
    wanted = torch.special.ndtr(levels)
    normal = draws.normal(like, "noise").flatten().double().sort().values
    found = torch.searchsorted(normal, levels) / normal.numel()
    assert (found - wanted).abs().max() < 2.0 / math.sqrt(normal.numel())  # Kolmogorov and Smirnov
    assert normal.mean().abs() < 4 / math.sqrt(normal.numel())


def test_half_normal_is_the_absolute_value_of_normal(draws: Draws, like: torch.Tensor) -> None:
    assert torch.equal(draws.half_normal(like, "noise"), draws.normal(like, "noise").abs())


@pytest.mark.parametrize("kind", ["uniform", "normal", "half_normal"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_compiled_draws_have_the_same_bits(kind: str, dtype: torch.dtype) -> None:
    draws, like = Key.of_seed(9).draws(torch.arange(8)), torch.zeros(8, 33, dtype=dtype)
    eager = getattr(draws, kind)(like, "noise")
    assert eager.dtype == torch.promote_types(dtype, torch.float32)
    compiled = torch.compile(lambda: getattr(draws, kind)(like, "noise"), backend="eager", fullgraph=True)
    assert torch.equal(eager, compiled())
    torch._dynamo.reset()


def test_keys_name_places() -> None:
    key = Key.of_seed(1)
    assert key.at("epoch", 1) != key.at("epoch", 2) != key.at("stage", 2)
    assert key.at("epoch", 1).at("step") == key.at("epoch", 1).at("step")
    assert key.at("mix").generator().random() == key.at("mix").generator().random()
    assert 0 <= key.value < 2**63
