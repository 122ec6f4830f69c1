"""Cards come from the rooms themselves: nothing that one can call is missing, nothing has an empty card."""

from __future__ import annotations

import inspect
import re

import pytest

import longtail
from longtail.cards import DATA_SET, LOSS, RECIPE, Card
from longtail.data.sources.forms import NAMED
from longtail.errors import LongtailError
from longtail.models import heads
from longtail.training.recipes import RECIPES

CARDS = longtail.methods()


def names(kind: str) -> set[str]:
    return {card.name for card in CARDS if card.kind.singular == kind}


def test_nothing_is_missing() -> None:
    assert names("recipe") == set(RECIPES) >= {"ce", "gcl"}
    assert names("loss") >= {"gcl", "gcl_angular", "kps", "fbl", "ala", "ldam", "balanced_softmax", "cross_entropy"}
    assert names("sampling") >= {"instance", "class_balanced", "square_root", "cben", "progressive"}
    assert names("mixing") >= {"mixup", "cutmix"}
    assert names("head") >= {"Linear", "Cosine"}
    assert names("data set") == set(NAMED) >= {"digits", "cifar100", "places-lt"}
    assert "Head" not in names("head")  # a parent is no head that one can have


def test_what_is_called_is_there() -> None:
    for card in CARDS:
        if card.kind not in {RECIPE, DATA_SET}:
            place, _, rest = card.call.partition("(")
            assert rest.endswith(")")
            found: object = longtail
            for part in place.split(".")[1:]:
                found = getattr(found, part)
            assert callable(found)
            assert " at 0x" not in card.call


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{card.kind.singular} {card.name}")
def test_a_card_says_something(card: Card) -> None:
    assert card.text.startswith(card.summary[:10])
    assert 10 < len(card.summary) < 120
    assert not re.search(r"\b(19|20)\d\d\b", card.summary)
    assert ">>>" not in card.text


def test_a_paper_is_cited() -> None:
    uncited = {
        card.name for card in CARDS if card.kind is LOSS and not re.search(r"\b(19|20)\d\d\b|thesis|GCL eq", card.text)
    }
    assert not uncited


def test_a_name_may_mean_several_things() -> None:
    assert [card.kind.singular for card in longtail.methods("gcl")] == ["recipe", "loss"]
    assert [card.name for card in longtail.methods("cosine")] == ["Cosine"]


def test_an_unknown_name_is_told_with_its_neighbours() -> None:
    with pytest.raises(LongtailError, match="did you mean ldam"):
        longtail.methods("ldam_dwr")


def test_a_card_is_the_docstring() -> None:
    (card,) = longtail.methods("Cosine")
    assert card.text == (inspect.getdoc(heads.Cosine) or "").partition(">>>")[0].rstrip()
