"""A loss that is infinite or not a number: what is written down of its step, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from longtail.errors import LongtailError
from longtail.runs import RunFolder
from longtail.training.stage import Stage


def not_finite(
    folder: RunFolder, stage: Stage, number: int, epoch: int, step: int, loss: float, images: Sequence[str]
) -> LongtailError:
    """Write down a training step whose loss is no finite number; returns the error to raise.

    Args:
        folder: of the run.
        stage: whose step it is.
        number: which stage of the run that is, from 1.
        epoch: counted from 0, as in the logs.
        step: of the epoch, counted from 0.
        loss: infinite, or not a number.
        images: identities of the batch, in its order.
    """
    where = {"stage": number, "name": stage.name, "epoch": epoch, "step": step}
    path = folder.write_non_finite({**where, "loss": str(loss), "images": list(images)})  # JSON has no number for it
    return LongtailError(
        f"The loss is {loss} in {stage.name}, epoch {epoch}, step {step}; {path} names the images of that batch. "
        "Give a smaller --lr, or --clip 1."
    )
