"""What the terminal shows: progress, tables, the picture of the tail. Everything that imports rich lives here."""

from longtail.terminal.console import error_console, output_console
from longtail.terminal.progress import Terminal

__all__ = ["Terminal", "error_console", "output_console"]
