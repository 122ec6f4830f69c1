"""The one error that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LongtailError(ValueError):
    """A mistake in what was asked for, told in one sentence that names the file, class or value and the way out.

    The command line prints it without a traceback and ends with code 2.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> LongtailError:
    """The error for a name that does not exist, with the nearest names that do.

    >>> print(unknown("recipe", "gcll", ["ce", "gcl"]))
    Unknown recipe 'gcll'; did you mean gcl? Known: ce, gcl.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    return LongtailError(f"Unknown {kind} {name!r}{hint} Known: {', '.join(names)}.")
