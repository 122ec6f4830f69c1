"""Whether the features of a frozen backbone are kept, where, and what that leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from longtail.runs import RunFolder
from longtail.training.loop.extraction import Cache
from longtail.training.planning.wishes import Wishes
from longtail.training.stage import Stage


@dataclass(frozen=True)
class Keeping:
    """Whether the features of a frozen backbone are kept, where, and in how many views."""

    kept: bool
    views: int | None
    folder: Path | None

    @classmethod
    def wished(cls, wishes: Wishes) -> Keeping:
        """Kept where the backbone never learns, or where one asks for it by `views` or `features`."""
        views, folder = wishes.get("views"), wishes.get("features")
        asked = wishes.get("freeze", False) or views is not None or folder is not None
        return cls(asked and views != 0, views, Path(folder) if folder else None)

    def cache(self, run: RunFolder) -> Cache | None:
        """Where a run keeps them; None computes them anew every epoch."""
        return Cache(self.folder or run.features, self.views) if self.kept else None

    def describe(self, stage: Stage) -> str:
        """What is computed, in words, and what that leaves out."""
        if not self.kept:
            return "runs every epoch"
        views = Cache(Path(), self.views).views_of(stage.augmentation)
        if stage.augmentation is None:
            return "features computed once, which is exact without augmentation"
        if views == 1:
            return "features of each image computed once, not augmented (an approximation of a stage that augments)"
        return (
            f"features of {views} augmented views of each image computed once "
            "(an approximation, as is mixing features in the place of images)"
        )
