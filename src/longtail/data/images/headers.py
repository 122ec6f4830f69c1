"""Reads the headers of image files: their common size, and which of them are no images at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from longtail.data.images.reading import UnreadableImage, open_image
from longtail.data.images.silence import quiet
from longtail.watching import Watcher

_BLOCK = 128  # files a task: a future each would cost more than the header
_WAITING = 1e-3  # seconds a file: a disk far away; a cached header takes 40 microseconds
_THREADS = 8


@dataclass(frozen=True)
class Headers:
    """What the headers of many files tell."""

    size: tuple[int, int] | None  # (height, width) where all have one
    unreadable: dict[str, str]  # file name -> reason


def read_headers(root: Path, names: Sequence[str], watcher: Watcher) -> Headers:
    """Opens every file `names` under `root` without decoding it."""
    return headers_of(names, lambda index: open_image(root / names[index]), watcher)


def headers_of(names: Sequence[str], open_at: Open, watcher: Watcher) -> Headers:
    """Opens the images called `names`, wherever they lie, without decoding them."""
    sizes: set[tuple[int, int]] = set()
    unreadable: dict[str, str] = {}
    blocks = [range(len(names))[start : start + _BLOCK] for start in range(0, len(names), _BLOCK)]
    with quiet(), watcher.task("Reading headers", len(names), "files") as task:
        for block, headers in zip(blocks, _read_blocks(open_at, blocks), strict=True):
            for index, header in zip(block, headers, strict=True):
                if isinstance(header, UnreadableImage):
                    unreadable[names[index]] = header.reason
                else:
                    sizes.add(header)
            task.advance(len(block))
    return Headers(sizes.pop() if len(sizes) == 1 else None, unreadable)


Header = tuple[int, int] | UnreadableImage
Open = Callable[[int], Image.Image]
"""Opens the image at an index and reads its header only. Raises UnreadableImage."""


def _read_blocks(open_at: Open, blocks: list[range]) -> Iterator[list[Header]]:
    """Threads pay where the disk keeps one waiting; on cached files they take three times as long as none."""
    yield from (_read_block(open_at, block) for block in blocks[:1])  # the first pays for Pillow's own imports
    begin = time.perf_counter()
    yield from (_read_block(open_at, block) for block in blocks[1:2])
    if time.perf_counter() - begin < _WAITING * _BLOCK:
        yield from (_read_block(open_at, block) for block in blocks[2:])
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(lambda block: _read_block(open_at, block), blocks[2:])


def _read_block(open_at: Open, block: range) -> list[Header]:
    return [_read(open_at, index) for index in block]


def _read(open_at: Open, index: int) -> Header:
    try:
        with open_at(index) as image:
            return image.height, image.width
    except UnreadableImage as error:
        return error
