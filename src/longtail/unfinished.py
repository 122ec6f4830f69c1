"""A run from its beginning to its end: what was asked, a lock, checkpoints, until it is finished.

Nothing heavy is imported here, so that a run has its folder before anything slow begins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple, Self

from longtail.counts import ShotBorders
from longtail.errors import LongtailError
from longtail.files import locked, make_folder, remove, write_whole
from longtail.runs import RunFolder


def is_first() -> bool:
    """Whether this process is the first of those that were launched together, or alone."""
    return os.environ.get("RANK", "0") == "0"


PART = "part"
"""What a run is asked for by that goes on with its comparison alone."""


class Request(NamedTuple):
    """What was asked for, as data: enough to ask for it again."""

    function: str
    """Of `longtail`: train, compare, rebalance, compare_rebalanced; or PART."""
    arguments: Mapping[str, Any]
    folder: str
    """Where it was asked: relative paths start there."""
    left_out: Mapping[str, str] = {}
    """Images that turned out to be unreadable: identity -> reason."""

    @classmethod
    def here(cls, function: str, **arguments: Any) -> Self:
        """A request made now."""
        return cls(function, json.loads(json.dumps(arguments, default=_plain)), str(Path.cwd()))


@dataclass(frozen=True)
class Unfinished:
    """What a run folder, or that of a study, holds until it is finished; paths of this machine may stand here."""

    run: Path

    @property
    def path(self) -> Path:
        """The folder that is gone in the end."""
        return self.run / "unfinished"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def request(self) -> Request:
        """What was asked for."""
        return Request(**json.loads(self._request.read_bytes()))

    @property
    def asked(self) -> bool:
        """Whether there is a request that is not fulfilled yet."""
        return self._request.exists()

    @property
    def _request(self) -> Path:
        return self.path / "request.json"

    def write(self, request: Request) -> None:
        """Keep what was asked for."""
        write_whole(self._request, (json.dumps(request._asdict(), indent=2) + "\n").encode())

    def leave_out(self, unreadable: Mapping[str, str]) -> None:
        """Begin anew without these images; what was learnt from the others stood beside them."""
        rmtree(self.checkpoints, ignore_errors=True)
        request = self.request
        self.write(request._replace(left_out={**request.left_out, **unreadable}))

    @property
    def worth_keeping(self) -> bool:
        """Whether there is anything to go on from, a checkpoint or a finished run of a study, or to look at."""
        kept = ("**/checkpoints/*", "*/model.safetensors", "**/non_finite.json")
        return any(any(self.run.glob(pattern)) for pattern in kept)

    @property
    def how_to_go_on(self) -> str:
        """The words that do it."""
        command = "compare" if self.request.function.startswith("compare") else "train"
        return f"Go on with: longtail {command} --resume {self.run}"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Work on the run, alone; it is finished if that ends without an error.

        Raises:
            LongtailError: another process is at work on it.
        """
        with ExitStack() as lock:
            try:
                lock.enter_context(locked(self.path / "lock", wait=False))
            except BlockingIOError:
                raise LongtailError(f"Another process is at work on {self.run}; let it end, or stop it.") from None
            yield
            remove(self._request)  # what was asked is done
        self.clear()

    def clear(self) -> None:
        """Remove what a finished run has no use for; a kill may have come in between."""
        rmtree(self.path, ignore_errors=True)


@contextmanager
def begin(path: Path, request: Request) -> Iterator[Unfinished]:
    """Work on a run folder that did not exist before.

    If the work fails, the folder stays where there is something to go on from, or where only a signal ended it.

    Raises:
        LongtailError: `path` exists, or cannot be made.
    """
    made = _make(path)
    work = Unfinished(path)
    try:
        make_folder(work.path)
        work.write(request)
        with work.at_work():
            yield work
    except BaseException as error:
        if isinstance(error, Exception) and not work.worth_keeping:
            rmtree(path, ignore_errors=True)
            for folder in made:
                _remove_if_empty(folder)
        elif work.asked:
            error.add_note(work.how_to_go_on)
        raise


@contextmanager
def go_on(path: Path) -> Iterator[Unfinished]:
    """Work on a run folder that was left unfinished.

    Raises:
        LongtailError: there is nothing to go on with, or another process is at work on it.
    """
    work = Unfinished(path)
    if not work.path.is_dir():
        raise LongtailError(f"{path} is not the folder of an unfinished run; longtail train makes one.")
    with work.at_work() if is_first() else nullcontext():
        if not work.asked:
            raise LongtailError(f"{path} was stopped before it had begun; remove it, and ask for it again.")
        try:
            yield work
        except (KeyboardInterrupt, OSError) as stop:
            stop.add_note(work.how_to_go_on)
            raise


@contextmanager
def begin_or_go_on(path: Path, request: Request) -> Iterator[Unfinished | None]:
    """Work on a run folder of one's own study; None if that run is finished."""
    work = Unfinished(path)
    if path.exists() and not (work.asked or RunFolder(path).weights.exists()):
        rmtree(path)  # it was stopped before it had begun
    if not path.exists():
        with begin(path, request):
            yield work
    elif work.asked:
        with go_on(path):
            yield work
    else:
        work.clear()
        yield None


def _make(path: Path) -> list[Path]:
    """Make a folder; returns those above it that had to be made too."""
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        make_folder(path)
    except FileExistsError:
        raise LongtailError(f"{path} exists already; give another --out, or remove it.") from None
    except OSError as error:
        raise LongtailError(f"Cannot make the folder {path}: {error.strerror}; give another --out.") from None
    return missing


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, ShotBorders):
        return [value.many_above, value.few_below]
    raise TypeError(f"{value!r} cannot be kept as data")
