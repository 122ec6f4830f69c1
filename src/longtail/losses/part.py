"""What a loss is made of: modules that say in one line how they were made."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn

from longtail.schedules import Schedule


class Part(nn.Module):
    """A module whose `repr` is the call that makes it, on one line.

    An argument is found under the attribute of its name. Other parts and the first argument speak for themselves, the
    rest is named, and left out where it has its default.

    >>> from longtail import losses
    >>> losses.gcl([50, 7, 7, 5, 5], target_margin=0.1, focus=losses.Focus(1, detached=True))
    Objective(Subtract(Everywhere(5 classes, 0 to 1, Noise(0.3333)), OnTarget(0.1)), Scale(30), Softmax(), \
Focus(1, detached), mean=batch)
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(_arguments(self))})"


def _arguments(part: Part) -> Iterator[str]:
    """What was given to the constructor, as far as the part keeps it."""
    for place, parameter in enumerate(inspect.signature(type(part)).parameters.values()):
        value = getattr(part, parameter.name, None)
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield from map(_shown, value or ())
        elif isinstance(value, nn.Module | Schedule) or (place == 0 and value is not None):
            yield _shown(value)
        elif value is True and parameter.default is False:
            yield parameter.name
        elif value is not None and value != parameter.default:
            yield f"{parameter.name}={_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return getattr(value, "__name__", None) or str(value)
