"""What must hold of hostile image files, whoever makes them: the tests look at some, a benchmark at many."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import tempfile
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hostile_images import FORMATS, SUFFIX, mutated, seeds
from longtail.data.augmenting.augmentation import RandomResizedCropFlip
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.images.reading import UnreadableImage, UnreadableImages, open_image
from longtail.data.loading.loader import Loader
from longtail.data.parts import Part
from longtail.data.pixels import Files
from longtail.draws import Key

SIZE = Preprocessing((24, 24), crop_fraction=0.875)
WINDOWS = RandomResizedCropFlip()
MIDDLE = [0.5] * RandomResizedCropFlip.numbers
WHOLE = 4  # every fourth file is a whole one, whose colour tells its label


class Refusal(NamedTuple):
    """What became of a bomb."""

    reason: str | None  # None: it was decoded
    seconds: float
    megabytes: float  # above the process's own


def refusal(path: Path) -> Refusal:
    """Decodes a file in a process of its own, for a test and for training."""
    answer, question = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_decode_alone, args=(path, question))
    child.start()
    try:
        if not answer.poll(60):
            raise AssertionError(f"{path.name}: still decoding after a minute")
        found: Refusal = answer.recv()
        return found
    finally:
        child.kill()
        child.join()


def _decode_alone(path: Path, question: Connection) -> None:
    before, begin = _peak(), time.perf_counter()
    reasons = {_verdict(path, windows) for windows in (False, True)}
    assert len(reasons) == 1, f"{path.name}: {reasons}"
    question.send(Refusal(reasons.pop(), (time.perf_counter() - begin) / 2, _peak() - before))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _verdict(path: Path, windows: bool) -> str | None:
    try:
        with open_image(path) as image:
            pixels = WINDOWS(image, MIDDLE, SIZE) if windows else SIZE.pixels(image)
    except UnreadableImage as error:
        return error.reason
    assert pixels.shape == (3, 24, 24)
    return None


def check_mutated(count: int, seed: int) -> Counter[str]:
    """Mutates `count` files of all formats and loads them, with whole ones between, as training does.

    Raises AssertionError where one has another end than an image or a reason, takes a second, ends differently for
    testing and for training, changes the label or the pixels of its neighbours, is written to, or makes a
    decoder write to standard error.
    """
    tally: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as errors:
        part = _part(Path(name), count, seed)
        before = _hashes(part)
        kept = os.dup(2)
        os.dup2(errors.fileno(), 2)
        try:
            reasons = _look_at_each(part)
            _load(part, reasons)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        errors.seek(0)
        assert not (said := errors.read()), said[:500]
        assert _hashes(part) == before
    tally["files"] = len(part)
    tally["refused"] = len(reasons)
    tally.update(f"refused: {_kind(reason)}" for reason in reasons.values())
    return tally


def _part(folder: Path, count: int, seed: int) -> Part:
    generator = np.random.default_rng(seed)
    originals = {form: seeds(form) for form in FORMATS}
    names, labels = [], []
    for number in range(count):
        form = FORMATS[number % len(FORMATS)]
        original = originals[form][generator.integers(len(originals[form]))]
        names.append(f"{number:06}.{SUFFIX[form]}")
        (folder / names[-1]).write_bytes(mutated(original, generator))
        labels.append(number % 7)
        if number % WHOLE == 0:
            names.append(f"{number:06}-whole.png")
            Image.new("RGB", (30, 30), _colour(number)).save(folder / names[-1])
            labels.append(number % 5)
    lengths = np.array([(folder / name).stat().st_size for name in names])
    return Part(np.array(labels), tuple(names), Files(folder, tuple(names), lengths, None))


def _colour(number: int) -> tuple[int, int, int]:
    return number % 251, number // 251 % 251, 77


def _hashes(part: Part) -> list[tuple[bytes, int]]:
    paths = [_path(part, index) for index in range(len(part))]
    return [(hashlib.blake2b(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in paths]


def _path(part: Part, index: int) -> Path:
    assert isinstance(part.pixels, Files)
    return part.pixels.root / part.identities[index]


def _look_at_each(part: Part) -> dict[str, str]:
    reasons = {}
    for index, identity in enumerate(part.identities):
        begin = time.perf_counter()
        reason = _verdict(_path(part, index), windows=False)
        assert reason == _verdict(_path(part, index), windows=True), identity
        assert time.perf_counter() - begin < 1, identity
        if reason is not None:
            assert not identity.endswith("whole.png"), identity
            reasons[identity] = reason
    return reasons


def _load(part: Part, reasons: dict[str, str]) -> None:
    loader = Loader(part, SIZE, None, batch_size=64, loading="decode")
    found: dict[str, str] = {}
    with suppress(UnreadableImages):
        try:
            loader.decode_all()
        except UnreadableImages as error:
            found = error.reasons
            raise
    assert found == reasons
    left, seen = part.without(found), 0
    for batch in Loader(left, SIZE, WINDOWS, batch_size=64).batches(key=Key.of_seed(0)):
        for image, label, index in zip(batch.images, batch.labels.tolist(), batch.indices.tolist(), strict=True):
            number, _, whole = left.identities[index].partition(".")[0].partition("-")
            assert label == int(number) % (5 if whole else 7)
            assert not whole or tuple(image[:, 0, 0].tolist()) == _colour(int(number))
            seen += 1
    assert seen == len(part) - len(reasons)


def _kind(reason: str) -> str:
    return reason.partition(" (")[0]
