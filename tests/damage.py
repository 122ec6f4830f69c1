"""Checkpoints that a disk or somebody has spoilt: what must be noticed of each, whatever was spoilt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from longtail.errors import LongtailError
from longtail.training.loop.checkpoints import Checkpoint, Checkpoints

Files = dict[str, bytes]
KINDS = (
    *("bit of the file",) * 60,
    *("bit of the hash",) * 15,
    *("file cut off",) * 10,
    *("hash cut off",) * 5,
    *("byte more in the file", "byte more in the hash", "empty file", "empty hash", "no file"),
    *("files of two exchanged", "hashes of two exchanged", "file of the older", "hash of the older", "file of zeros"),
)
"""How a checkpoint is spoilt, as often as it stands here."""


def check_damaged(folder: Path, number: int, seed: int) -> Counter[str]:
    """Spoil the newer of the two checkpoints in a folder, so many times; returns how often how.

    Every time the older one has to be the answer, and it has to be said; if both are spoilt there is no answer.
    """
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    newer, older = sorted((name for name in whole if name.endswith(".safetensors")), reverse=True)
    expected = _found(folder, [])
    assert expected is not None
    assert _path(expected) == newer
    _write(folder, {name: content for name, content in whole.items() if name.startswith(older)})
    expected = _found(folder, [])
    assert expected is not None
    tally = Counter[str]()
    for place in range(number):
        draw = np.random.default_rng((seed, place))
        kind = str(draw.choice(KINDS))
        _write(folder, whole | _spoilt(whole, newer, older, kind, draw))
        if kind == "no file":
            (folder / newer).unlink()
        _check(folder, kind, expected, newer, older)
        tally[kind] += 1
    _write(folder, whole)
    return tally


def bits(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """What lies in the memory of each."""
    return {name: tensor.contiguous().numpy().tobytes() for name, tensor in tensors.items()}


def _check(folder: Path, kind: str, expected: Checkpoint, newer: str, older: str) -> None:
    lines: list[str] = []
    if "two exchanged" in kind:
        try:
            _found(folder, lines)
        except LongtailError as error:
            assert str(error).startswith("Every checkpoint in"), kind  # noqa: PT017
            return
        raise AssertionError(f"{kind}: nothing was noticed")
    found = _found(folder, lines)
    assert found is not None, kind
    assert found.position == expected.position, kind
    assert bits(found.tensors) == bits(expected.tensors), kind
    assert lines == [f"Checkpoint {newer} is damaged; going on from the one before, {older}"], kind
    assert {path.name for path in folder.iterdir()} == {older, f"{older}.sha256"}, kind


def _spoilt(whole: Files, newer: str, older: str, kind: str, draw: np.random.Generator) -> Files:
    hash_of = {name: f"{name}.sha256" for name in (newer, older)}
    what = hash_of[newer] if "hash" in kind else newer
    content = whole[what]
    if kind.startswith("bit"):
        place, bit = int(draw.integers(len(content))), int(draw.integers(8))
        return {what: content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]}
    if kind.endswith("cut off"):
        return {what: content[: int(draw.integers(len(content)))]}
    if kind.startswith("byte more"):
        return {what: content + bytes([int(draw.integers(256))])}
    if kind.startswith("empty"):
        return {what: b""}
    if kind == "file of zeros":
        return {what: bytes(len(content))}
    if kind == "no file":
        return {}
    other = hash_of[older] if "hash" in kind else older
    return {what: whole[other]} | ({other: content} if "exchanged" in kind else {})


def _write(folder: Path, files: Files) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _found(folder: Path, lines: list[str]) -> Checkpoint | None:
    return Checkpoints(folder).newest(lines.append)


def _path(checkpoint: Checkpoint) -> str:
    stage, epoch, step = checkpoint.position
    return f"stage{stage:03}-epoch{epoch:06}-step{step:09}.safetensors"
