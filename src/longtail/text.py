"""Text for people: what may safely be shown of others' text, and figures in words."""

from __future__ import annotations

import unicodedata

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, lone surrogate, line and paragraph separator


def plain(text: str, limit: int | None = None) -> str:
    r"""Text on one line that cannot steer a terminal: control characters, bidi marks and lone surrogates become �.

    File and class names are other people's text; none of them is shown or logged before it went through here.

    >>> plain("cat\x1b[31m.jpg")
    'cat�[31m.jpg'
    >>> plain("a very long name", limit=8)
    'a very …'
    """
    shown = text if text.isprintable() else "".join("�" if is_hidden(letter) else letter for letter in text)
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def is_hidden(letter: str) -> bool:
    """Whether a character is not seen, but does something to what is seen."""
    return letter in BIDI or unicodedata.category(letter) in HIDDEN


def counted(amount: int, noun: str) -> str:
    """An amount with its noun.

    >>> counted(1, "image"), counted(12345, "image"), counted(3, "class")
    ('1 image', '12,345 images', '3 classes')
    """
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{amount:,} {noun if amount == 1 else plural}"


def duration(seconds: float) -> str:
    """A length of time.

    >>> duration(5), duration(200), duration(9000)
    ('5 s', '3 min', '2 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
