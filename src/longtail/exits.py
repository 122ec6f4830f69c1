"""How the program ends: a user's mistake is one sentence on standard error and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from longtail.errors import LongtailError
from longtail.interrupts import Interrupted

MISTAKE = 2
STOPPED = 130
"""By Ctrl-C: 128 + SIGINT, as a shell has it. By a cluster's SIGTERM it is 143, by SIGUSR1 138."""
PIPE_CLOSED = 141
"""By the end of `| head`: 128 + SIGPIPE."""

WAYS_OUT = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or give another --out"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "give another --out, or change who may write there"),
    errno.EIO: "the disk or the way to it fails; look after it, or give another --out",
}
"""What a user can do about an error of the system; other errors are ours, and show where they come from."""


def answer(command: click.Command, words: Sequence[str]) -> int:
    """Do what the words say. Returns the exit code."""
    _prepare(sys.stdin, sys.stdout, sys.stderr)
    try:
        code = _run(command, words)
        sys.stdout.flush()  # a closed pipe shows here rather than when Python ends
        return code
    except LongtailError as mistake:
        return _complain(str(mistake), note=_how_to_go_on(mistake))
    except click.UsageError as mistake:
        return _complain(mistake.format_message(), mistake.ctx)
    except KeyboardInterrupt as stop:
        return _stop(stop)
    except BrokenPipeError:
        return _leave_quietly()
    except OSError as trouble:
        if trouble.errno not in WAYS_OUT:
            raise
        where = f" ({trouble.filename})" if trouble.filename else ""
        return _complain(f"{trouble.strerror}{where}; {WAYS_OUT[trouble.errno]}.", note=_how_to_go_on(trouble))


def _run(command: click.Command, words: Sequence[str]) -> int:
    """Click's own `main` would answer a closed pipe and Ctrl-C in its way."""
    try:
        with command.make_context("longtail", list(words)) as ctx:
            command.invoke(ctx)
    except click.exceptions.Exit as end:  # of --help, and of a command that has a code to give
        return end.exit_code
    return 0


def _prepare(*streams: TextIO) -> None:
    """Let names that are no valid text pass: bytes as they are on the way in, escaped on the way out."""
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape" if stream is sys.stdin else "backslashreplace")


def _complain(sentence: str, ctx: click.Context | None = None, note: str | None = None) -> int:
    from longtail.terminal.console import error_console, show_error

    show_error(sentence, error_console())
    if ctx is not None:
        print(f"Try {ctx.command_path} --help", file=sys.stderr)
    if note:
        print(note, file=sys.stderr)
    return MISTAKE


def _stop(stop: KeyboardInterrupt) -> int:
    print("Stopped.", file=sys.stderr)
    if note := _how_to_go_on(stop):
        print(note, file=sys.stderr)
    return stop.exit_code if isinstance(stop, Interrupted) else STOPPED


def _how_to_go_on(error: BaseException) -> str | None:
    """What the outermost piece of work has noted on its way out."""
    notes: list[str] = getattr(error, "__notes__", [])
    return notes[-1] if notes else None


def _leave_quietly() -> int:
    """Python complains at its end if it cannot flush; so what is left goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return PIPE_CLOSED
