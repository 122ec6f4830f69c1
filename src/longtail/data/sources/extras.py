"""Libraries that only some data need, asked for when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from longtail.errors import LongtailError


def library(module: str, extra: str, what: str) -> Any:
    """The module. Raises LongtailError, with the way to install it, where it cannot be imported."""
    try:
        return import_module(module)
    except (ImportError, RuntimeError, OSError) as error:  # a broken installation is as good as none
        reason = str(error).partition("\n")[0]
        raise LongtailError(f"{what} needs {module}: pip install 'longtail[{extra}]' ({reason}).") from error
