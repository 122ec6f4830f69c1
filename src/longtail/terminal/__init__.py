"""What the terminal shows: progress, tables, the picture of the tail. All that imports rich lives here."""

from longtail.terminal.progress import Terminal as Terminal
