"""A batch that does not fit into memory: the error names one that does, found by trying."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from longtail.device import is_out_of_memory
from longtail.errors import LongtailError
from longtail.training.engine import Engine
from longtail.training.stage import Stage

Attempt = Callable[[int], object]
"""Takes a step on so many images at once, or fails for want of memory."""

FEWEST = 2
"""Images that are tried at the least: of one alone, batch norm has no variance."""


@contextmanager
def fits_memory(stage: Stage, images: int, attempt: Attempt | None = None) -> Iterator[None]:
    """The context of a stage's steps: where the memory does not suffice for one, the error says what to ask for.

    Args:
        stage: whose steps they are.
        images: how many this process takes through the network at once.
        attempt: tries fewer. What it changes does not matter, since the training is over. None tries nothing; then
            half as many are named.

    Raises:
        LongtailError: the memory does not suffice.
    """
    try:
        yield
        return
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # which hold what the step had computed
    raise LongtailError(_sentence(stage, images, attempt)) from None


def images_that_fit(attempt: Attempt, images: int) -> int:
    """The most images, of three quarters, a half, three eighths and so on, with which the attempt succeeds; or 0."""
    while images > FEWEST:
        for fewer in (images * 3 // 4, images // 2):
            if fewer >= FEWEST and _succeeds(attempt, fewer):
                return fewer
        images //= 2
    return 0


def blank_steps(network: nn.Module, optimizer: torch.optim.Optimizer, engine: Engine, size: tuple[int, int]) -> Attempt:
    """Steps of a network that learns, on blank images of H x W pixels: they need what real ones need.

    All but the head and the loss, that is, whose share is small. Each process can try on its own.
    """

    def attempt(images: int) -> None:
        blank = engine.images(torch.zeros(images, 3, *size))
        with engine.autocast():
            outputs = network(blank)
        outputs.float().sum().backward()
        optimizer.step()

    return attempt


def _succeeds(attempt: Attempt, images: int) -> bool:
    try:
        attempt(images)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        return False
    return True


def _sentence(stage: Stage, images: int, attempt: Attempt | None) -> str:
    problem = f"The memory does not suffice for {images} images at once"
    fit = images // 2 if attempt is None else images_that_fit(attempt, images)
    if fit == 0:
        return f"{problem}, nor for fewer; give a smaller --image-size or --backbone, or end what else uses it."
    batch_size = stage.batch_size * fit // images
    if attempt is None:
        return f"{problem}; half as many may fit: give --batch-size {batch_size}."
    pieces = -(-stage.accumulate * images // fit)
    in_pieces = f", or --accumulate {pieces}, which keeps the batch" if stage.divisible else ""
    return f"{problem}; {fit} fit: give --batch-size {batch_size}{in_pieces}."
