"""What there is, and the card of each: the docstring of its function, which holds formula, numbers and citation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, get_type_hints

from longtail.errors import unknown

CITATION = re.compile(r" \([^()]*\b(?:19\d\d|20\d\d|eqs?\.|table)[^()]*\)")
"""A parenthesis with a year, an equation or a table in it."""


@dataclass(frozen=True)
class Kind:
    """A family of methods."""

    singular: str
    heading: str
    where: str
    """How one of them is asked for; the name follows."""


RECIPE = Kind("recipe", "Recipes", "longtail train --recipe ")
LOSS = Kind("loss", "Losses", "longtail.losses.")
SAMPLING = Kind("sampling", "Samplings", "longtail.samplers.")
MIXING = Kind("mixing", "Mixing", "longtail.data.mixing.")
HEAD = Kind("head", "Heads", "longtail.models.heads.")
DATA_SET = Kind("data set", "Data sets", "longtail train ")


@dataclass(frozen=True)
class Card:
    """One method: what it is called, how it is called, and what it is."""

    name: str
    kind: Kind
    call: str
    """How to ask for it, with the numbers it has by default."""
    text: str
    """Summary, formula, numbers and citation."""

    @property
    def summary(self) -> str:
        """The first line, without its citation."""
        return CITATION.sub("", self.text.partition("\n")[0]).rstrip(".:")


def methods(name: str | None = None) -> tuple[Card, ...]:
    """The cards of all methods, kind by kind; with a name, of the methods called so (a recipe and a loss, say).

    Raises:
        LongtailError: there is no method of this name.
    """
    cards = tuple(_cards())
    if name is None:
        return cards
    called = tuple(card for card in cards if card.name.lower() == name.lower())
    if not called:
        raise unknown("method", name, {card.name for card in cards})
    return called


def _cards() -> Iterable[Card]:
    """Built from what the rooms offer, so that a new method needs no entry here."""
    from longtail import losses, samplers
    from longtail.data import mixing
    from longtail.data.sources.forms import NAMED
    from longtail.models import heads
    from longtail.training.recipes import RECIPES

    yield from (Card(name, RECIPE, RECIPE.where + name, _text(recipe)) for name, recipe in RECIPES.items())
    for kind, offered in (
        (LOSS, _functions(losses, returning=losses.Criterion)),
        (SAMPLING, _functions(samplers, returning=samplers.Sampling)),
        (MIXING, _functions(mixing, returning=mixing.Mixing)),
        (HEAD, _final_classes(heads, heads.Head)),
    ):
        for name, method in offered.items():
            yield Card(name, kind, f"{kind.where}{name}{_signature(method)}", _text(method))
    yield from (Card(name, DATA_SET, DATA_SET.where + name, _text(loader)) for name, loader in NAMED.items())


def _functions(module: ModuleType, returning: type) -> Mapping[str, Callable[..., Any]]:
    """The public functions of a module whose result is of this type, by its annotation."""
    return {
        name: function
        for name, function in vars(module).items()
        if inspect.isfunction(function) and not name.startswith("_") and _returns(function, returning)
    }


def _returns(function: Callable[..., Any], wanted: type) -> bool:
    returned = get_type_hints(function).get("return")
    return inspect.isclass(returned) and issubclass(returned, wanted)


def _final_classes(module: ModuleType, parent: type) -> Mapping[str, Callable[..., Any]]:
    """The classes of a module that are a `parent` one can make."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, parent) and not inspect.isabstract(value)
    }


def _text(method: Callable[..., Any]) -> str:
    """The docstring as far as its example, which is for a test rather than for a reader."""
    return (inspect.getdoc(method) or "").partition(">>>")[0].rstrip()


def _signature(method: Callable[..., Any]) -> str:
    """Names and default values, without types."""
    signature = inspect.signature(method)
    parameters = [
        parameter.replace(annotation=parameter.empty, default=_shown(parameter.default))
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


def _shown(default: Any) -> Any:
    """A default value that reads well: a function by its name."""
    return _Word(default.__name__) if inspect.isfunction(default) else default


class _Word(str):
    """A text that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
