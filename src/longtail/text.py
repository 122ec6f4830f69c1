"""Text for people: what may safely be shown of others' text, and figures in words."""

from __future__ import annotations

import unicodedata

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, lone surrogate, line and paragraph separator


def printable(text: str) -> str:
    """Text without what could steer a terminal or reorder a line: control characters, bidi marks, lone surrogates.

    File and class names are other people's text; nothing of them is shown or logged before it went through here.

    >>> printable("cat\\x1b[31m.jpg")
    'cat[31m.jpg'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char for char in text if char not in BIDI and unicodedata.category(char) not in UNPRINTABLE
    )


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(5), duration(200), duration(9000)
    ('5 s', '3 min', '2 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "image"), counted(1200, "class"), counted(0, "file")
    ('1 image', '1,200 classes', '0 files')
    """
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural}"
