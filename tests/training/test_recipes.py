from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from longtail.counts import ClassCounts
from longtail.errors import LongtailError
from longtail.training.recipes import RECIPES, find_recipe
from longtail.training.settings import CIFAR, DIGITS, PHOTOGRAPHS

COUNTS = ClassCounts((50, 5))


@pytest.mark.parametrize(("epochs", "second"), [(200, 30), (30, 4), (1, 1)])
def test_later_stages_scale_with_the_first(epochs: int, second: int) -> None:
    stages = RECIPES["gcl"](COUNTS, replace(CIFAR, epochs=epochs)).stages
    assert [stage.epochs for stage in stages] == [epochs, second]


def test_gcl_on_cifar_has_the_numbers_of_the_paper() -> None:
    """Thesis Table 5.1: batch 128, learning rate 0.1, decayed by 0.01 at epochs 160 and 180 of 200."""
    first, second = RECIPES["gcl"](COUNTS, CIFAR).stages
    rates = [first.lr * first.lr_schedule.at(epoch) for epoch in (0, 4, 159, 160, 179, 180, 199)]
    assert rates == pytest.approx([0.02, 0.1, 0.1, 0.001, 0.001, 0.00001, 0.00001])
    assert (first.batch_size, dict(second.learns)) == (128, {"head": 1.0})
    assert second.lr * second.lr_schedule.at(0) == pytest.approx(0.002)


def test_few_images_get_a_smaller_batch_and_rate_in_proportion() -> None:
    setting = DIGITS.for_images(384)
    assert setting.batch_size == 32
    assert setting.lr == pytest.approx(0.025)
    assert CIFAR.for_images(12_406) == CIFAR
    assert PHOTOGRAPHS.for_images(900).batch_size == 45


def test_one_may_call_ones_file_as_one_likes(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("from longtail.training.recipes import ce as mine\n")
    before = sys.modules["random"]
    assert find_recipe(f"{tmp_path}/random.py:mine") is RECIPES["ce"]
    assert sys.modules["random"] is before


@pytest.mark.parametrize(
    ("text", "asked", "sentence"),
    [
        ("x = 1\n", "mine.py:absent", "has no function 'absent'"),
        ("x = 1\n", "mine.py:x", "has no function 'x'"),
        ("import no_such_module\n", "mine.py:f", "cannot be run as a recipe: ModuleNotFoundError"),
        ("def f(:\n", "mine.py:f", "cannot be run as a recipe: SyntaxError"),
        ("", "other.py:f", "There is no file"),
        ("", "mine.txt:f", "There is no file"),
    ],
)
def test_a_recipe_of_ones_own_that_cannot_be_had(text: str, asked: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(LongtailError, match=sentence):
        find_recipe(f"{tmp_path}/{asked}")
