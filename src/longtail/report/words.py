"""How numbers and names are written in tables, plots and pages."""

from __future__ import annotations

import math
import unicodedata

from longtail.counts import ShotBorders, ShotGroup
from longtail.metrics import Metric

MISSING = "\N{EN DASH}"  # there was nothing to measure
MINUS = "\N{MINUS SIGN}"
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(name: str, limit: int = 80) -> str:
    r"""A name given by users, safe to show on one line: no hidden letters, at most `limit` of them.

    >>> plain("snow\x1b[2J leopard"), plain("a very long name", limit=8)
    ('snow�[2J leopard', 'a very …')
    """
    shown = "".join("�" if _is_hidden(letter) else letter for letter in name)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


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


def counted(amount: int, noun: str, plural: str | None = None) -> str:
    """An amount with its noun.

    >>> counted(1, "image"), counted(12345, "image"), counted(3, "class", "classes")
    ('1 image', '12,345 images', '3 classes')
    """
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


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


def duration(seconds: float) -> str:
    """A length of time.

    >>> duration(5.2), duration(200), duration(9000)
    ('5 s', '3 min', '2 h 30 min')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


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


def _is_hidden(letter: str) -> bool:
    return letter in _BIDI or unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}


def _scale(metric: Metric) -> float:
    return 100 if metric.unit == "percent" else 1


def _decimals(metric: Metric) -> int:
    return 1 if metric.unit == "percent" else 2
