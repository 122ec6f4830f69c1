"""Children that may die, forked from a server that has loaded what takes long and has run no operator of torch."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch

from processes import PRELOADED


class Ended(NamedTuple):
    """How a child ended."""

    code: int
    """Its exit code; below 0, the signal that killed it."""
    answer: Any
    """What its work returned; None from one that was killed."""


def in_a_child(work: Callable[..., Any], *arguments: Any, within: float = 120.0) -> Ended:
    """What becomes of a function of a module that a child can import by its name; the answer has to be small.

    Raises TimeoutError for a child that takes longer than so many seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *PRELOADED])
    answer, question = context.Pipe(duplex=False)
    with answer, question:
        child = context.Process(target=_one, args=(multiprocessing.get_start_method(), question, work, arguments))
        child.start()
        child.join(within)
        if child.exitcode is None:
            child.kill()
            raise TimeoutError(f"{work.__name__} takes longer than {within:g} s")
        return Ended(child.exitcode, answer.recv() if answer.poll() else None)


def _one(start: str, question: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    multiprocessing.set_start_method(start, force=True)  # of its own children, as usual on this system
    torch.set_num_threads(1)
    question.send(work(*arguments))
