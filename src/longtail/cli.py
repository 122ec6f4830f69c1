"""The words on the command line. Each command is one call of the function of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from longtail import options as say
from longtail.mistakes import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
