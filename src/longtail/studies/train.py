"""The whole job: images in, a run folder out. The folder is there before anything heavy is imported."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from longtail.interrupts import listening
from longtail.runs import data_name, free_name, recipe_name
from longtail.unfinished import Request, Unfinished, begin, is_first

if TYPE_CHECKING:
    from longtail.deploy.run import Run
    from longtail.training.planning.wishes import Wishes
    from longtail.watching import Watcher


def train(
    data: str | Path | None = None,
    *,
    recipe: str = "gcl",
    seed: int = 0,
    out: str | Path | None = None,
    watcher: Watcher | None = None,
    **wishes: Unpack[Wishes],
) -> Run:
    """Train one classifier and return its run.

    Args:
        data: a folder of class folders, or one with train/ and test/ beneath; a table of images (.csv, .jsonl,
            .parquet); tar shards; a set of Hugging Face's `datasets`; or the name of a set that `longtail methods`
            lists. None takes scikit-learn's digits.
        recipe: a name that `longtail methods` lists, or `FILE.py:function` for one's own.
        seed: of everything random; the split does not depend on it.
        out: the run folder, which must not exist; by default a free name under runs/.
        watcher: who is told of progress, for instance `longtail.terminal.Terminal()`.
        **wishes: what to choose differently; see `Wishes`.

    Raises:
        LongtailError: something cannot be done as asked; no folder is left behind, unless there are checkpoints in it.
        Interrupted: a signal ended it; `longtail.resume` goes on.
    """
    request = Request.here("train", data=data, recipe=recipe, seed=seed, **wishes)
    path = Path(out) if out else free_name(Path("runs"), f"{data_name(data)}-{recipe_name(recipe)}-seed{seed}")
    with listening(), begin(path, request) if is_first() else nullcontext() as work:
        return train_in(work, watcher, request)


def train_in(work: Unfinished | None, watcher: Watcher | None, request: Request) -> Run:
    """Train what was asked for, from the beginning or from the last checkpoint."""
    from longtail.data.images.reading import UnreadableImages
    from longtail.studies.carrying_out import prepare, train_into, without_bad
    from longtail.studies.sitting import together
    from longtail.watching import Watcher

    wishes: Any = dict(request.arguments)
    data, recipe, seed = (wishes.pop(name) for name in ("data", "recipe", "seed"))
    with together(work, watcher or Watcher(), wishes) as (sitting, wishes):
        images = prepare(data, sitting.watcher, wishes).without(request.left_out)
        while True:
            try:
                trained = train_into(sitting, images, recipe, seed, wishes)
                break
            except UnreadableImages as found:
                if sitting.world.size > 1:  # the others have not met the image, and are in the middle of a step
                    raise
                images = without_bad(images, found, sitting.watcher, wishes)
                sitting.work.leave_out(found.reasons)
        if trained.unreadable:
            without_bad(images, trained.unreadable, sitting.watcher, wishes)
        return trained.run
