"""Names of files in sentences."""

from __future__ import annotations

import os
from collections.abc import Sequence

_NAMED = 20  # names in one line


def shown(name: str) -> str:
    """A file name fit for a line of text: quoted and escaped where it holds control characters."""
    return name if name.isprintable() else repr(name)


def listed(names: Sequence[str]) -> str:
    r"""Names in a line of text; of many, the first.

    >>> listed(["a.png", "b\n.png"])
    "a.png, 'b\\n.png'"
    """
    return ", ".join(map(shown, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")


def printable(name: str) -> str:
    r"""A file name as valid text: bytes that are no UTF-8 become \x escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
