"""How numbers and names are written in tables, plots and pages."""

from __future__ import annotations

import math

from longtail.counts import ShotBorders, ShotGroup
from longtail.metrics import Metric
from longtail.text import counted, plain

MISSING = "\N{EN DASH}"  # there was nothing to measure
MINUS = "\N{MINUS SIGN}"


def named(name: str, limit: int = 80) -> str:
    """A name given by users, safe to show and at most `limit` letters long."""
    return plain(name, limit)


def number(value: float | None, metric: Metric) -> str:
    """The value of a metric in its unit: percent with one decimal, nats with two.

    >>> from longtail.metrics import METRICS
    >>> number(0.8764, METRICS["accuracy"]), number(0.8764, METRICS["log_loss"])
    ('87.6', '0.88')
    >>> number(None, METRICS["few"]) == MISSING
    True
    """
    return MISSING if value is None else f"{value * _scale(metric):.{_decimals(metric)}f}"


def difference(value: float, metric: Metric) -> str:
    """A difference of two values of a metric, in points where the metric is in percent, always with its sign.

    >>> from longtail.metrics import METRICS
    >>> difference(0.0123, METRICS["few"]), difference(-0.0001, METRICS["few"])
    ('+1.2', '±0.0')
    """
    decimals = _decimals(metric)
    rounded = round(value * _scale(metric), decimals)
    sign = "+" if rounded > 0 else MINUS if rounded < 0 else "±"
    return f"{sign}{abs(rounded):.{decimals}f}"


def percent(value: float | None) -> str:
    r"""A fraction for a sentence, on one line with its sign.

    >>> percent(0.5)
    '50.0\xa0%'
    """
    return MISSING if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def listed(words: list[str]) -> str:
    """Words as people list them.

    >>> listed(["ce"]), listed(["ce", "ldam", "gcl"])
    ('ce', 'ce, ldam and gcl')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def parameters(amount: int) -> str:
    """A number of parameters.

    >>> parameters(464154), parameters(650)
    ('0.46 M parameters', '650 parameters')
    """
    return f"{amount / 1e6:.2f} M parameters" if amount >= 10_000 else counted(amount, "parameter")


def group_range(group: ShotGroup, borders: ShotBorders) -> str:
    """Which numbers of training images make a shot group.

    >>> [group_range(group, ShotBorders(100, 20)) for group in ("many", "medium", "few")]
    ['101 or more', '20 to 100', '19 or fewer']
    >>> group_range("medium", ShotBorders(27.8, 5.56))
    '6 to 27'
    """
    largest_medium, smallest_medium = math.floor(borders.many_above), math.ceil(borders.few_below)
    if group == "many":
        return f"{largest_medium + 1} or more"
    return f"{smallest_medium} to {largest_medium}" if group == "medium" else f"{smallest_medium - 1} or fewer"


def _scale(metric: Metric) -> float:
    return 100 if metric.unit == "percent" else 1


def _decimals(metric: Metric) -> int:
    return 1 if metric.unit == "percent" else 2
