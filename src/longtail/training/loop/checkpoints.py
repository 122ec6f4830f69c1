"""Checkpoints: where a training stands and all it has learnt, on the disk whole and with its hash, or not at all."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from longtail.errors import LongtailError
from longtail.files import make_folder, write_whole

FORMAT = "1"
KEPT = 2
"""How many checkpoints stay: if the newest is damaged, there is the one before."""
EVERY = 60.0
"""Seconds between two, unless asked otherwise."""


class Position(NamedTuple):
    """Where a training stands, between two training steps; of two positions the later is the larger."""

    stage: int
    """Number of the recipe's step, from 1."""
    epoch: int
    step: int
    """How many of the epoch are done; all of them until the epoch is closed."""

    def __str__(self) -> str:
        return f"step {self.stage} of the recipe, epoch {self.epoch}, {self.step} steps into it"


@dataclass(frozen=True)
class Checkpoint:
    """A training at a position: its tensors, and what else is known of it, as JSON."""

    position: Position
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


@dataclass
class Checkpoints:
    """The checkpoints in a folder: tensors in one file, its SHA-256 in another, as `sha256sum --check` reads it.

    The hash is written last, so that a checkpoint counts when all of it is on the disk. None is ever changed.
    """

    folder: Path
    every: float = EVERY
    """Seconds between two; 0 writes one at every step."""
    images: str = ""
    """Fingerprint of what is learnt from, which every checkpoint names."""
    _saved: float = field(default_factory=time.monotonic)
    _begun: float = field(default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        """Whether it is time for another."""
        return time.monotonic() - self._saved >= self.every

    @property
    def seconds(self) -> float:
        """How long the training has taken, what a checkpoint left behind included."""
        return time.monotonic() - self._begun

    def start_clock(self, kept: Checkpoint | None) -> None:
        """A training begins, or goes on from where the clock stood at a checkpoint."""
        self._saved = time.monotonic()
        self._begun = self._saved - (kept.facts["seconds"] if kept else 0)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; returns when it is on the disk, and older ones are gone, as are rests of killed saves."""
        path = self.folder / _name(checkpoint.position)
        if _seal(path).exists():  # the training has not moved since
            return
        if not self.folder.exists():
            make_folder(self.folder)
        about = {"format": FORMAT, "position": checkpoint.position, "images": self.images, "seconds": self.seconds}
        facts = {**about, **checkpoint.facts}
        content = save(_apart(checkpoint.tensors), {"longtail": json.dumps(facts, allow_nan=False)})
        write_whole(path, content)
        write_whole(_seal(path), _sealed(path, content))
        kept = {file for path in self._paths()[:KEPT] for file in (path, _seal(path))}
        for rest in sorted(set(self.folder.iterdir()) - kept, reverse=True):  # a hash before what it is of
            rest.unlink()
        self._saved = time.monotonic()

    def newest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is undamaged; None if none was ever written.

        Raises:
            LongtailError: all that there are are damaged.
        """
        paths = self._paths()
        for number, path in enumerate(paths):
            checkpoint = _read(path)
            if checkpoint is None:
                continue
            for damaged in paths[:number]:
                say(f"Checkpoint {damaged.name} is damaged; going on from the one before, {path.name}")
                _remove(damaged)
            return checkpoint
        if paths:
            raise LongtailError(
                f"Every checkpoint in {self.folder} is damaged; remove that folder to start from the beginning."
            )
        return None

    def _paths(self) -> list[Path]:
        """Checkpoints that were written to their end, the newest first."""
        return sorted((seal.with_suffix("") for seal in self.folder.glob("*.safetensors.sha256")), reverse=True)


def _name(position: Position) -> str:
    return f"stage{position.stage:03}-epoch{position.epoch:06}-step{position.step:09}.safetensors"


def _seal(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sealed(path: Path, content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode()


def _remove(path: Path) -> None:
    """The seal first: what has one is whole."""
    _seal(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _read(path: Path) -> Checkpoint | None:
    """The checkpoint, or None if it is not what was written."""
    try:
        content = path.read_bytes()
        if _seal(path).read_bytes() != _sealed(path, content):
            return None
        tensors = load(content)
    except (FileNotFoundError, SafetensorError):
        return None
    facts = _facts(content)
    if facts.pop("format") != FORMAT:
        raise LongtailError(f"{path} was written by another version of longtail; go on with that one.")
    return Checkpoint(Position(*facts.pop("position")), tensors, facts)


def _facts(content: bytes) -> dict[str, Any]:
    """What the header of a safetensors file says besides the tensors."""
    size = int.from_bytes(content[:8], "little")
    facts: dict[str, Any] = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["longtail"])
    return facts


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that share no memory, as the format wants them."""
    return {
        name: tensor.detach().to("cpu", copy=True).clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
