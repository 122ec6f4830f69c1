"""One sitting at a run: its folder, its checkpoints, who looks on, and the processes that work on it together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from longtail.device import choose_device
from longtail.launch import joined, own_device
from longtail.models.classifier import Classifier
from longtail.runs import ReadOnlyRunFolder, RunFolder
from longtail.training.loop.checkpoints import EVERY, Checkpoint, Checkpoints, Position
from longtail.training.planning.wishes import Wishes
from longtail.unfinished import Unfinished
from longtail.watching import Watcher
from longtail.world import ALONE, World


@dataclass(frozen=True)
class Sitting:
    """What a training needs besides its plan, from where it begins or goes on to where it ends."""

    work: Unfinished
    watcher: Watcher
    checkpoints: Checkpoints
    world: World = ALONE

    @classmethod
    def at(cls, work: Unfinished, watcher: Watcher, wishes: Wishes, world: World = ALONE) -> Sitting:
        """A sitting that keeps a checkpoint as often as is wished."""
        every = wishes.get("checkpoint_every")
        return cls(work, watcher, Checkpoints(work.checkpoints, EVERY if every is None else every), world)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.world.rank == 0

    @property
    def folder(self) -> RunFolder:
        """The run folder, which only the first process writes to."""
        return RunFolder(self.work.run) if self.first else ReadOnlyRunFolder(self.work.run)

    def newest(self) -> Checkpoint | None:
        """The checkpoint to go on from; None at the beginning."""
        return self.checkpoints.newest(self.watcher.say)

    def keep(self, classifier: Classifier, next_step: int) -> None:
        """Keep a classifier between two steps of a recipe."""
        if self.first:
            tensors = {f"classifier.{name}": tensor for name, tensor in classifier.state_dict().items()}
            facts = {"head": classifier.head.description(), "logs": self.folder.log_lengths}
            self.checkpoints.save(Checkpoint(Position(next_step, epoch=0, step=0), tensors, facts))


@contextmanager
def together(work: Unfinished | None, watcher: Watcher, wishes: Wishes) -> Iterator[tuple[Sitting, Wishes]]:
    """The sitting of every process that was launched for a run, and the wishes with a device of its own.

    Args:
        work: of the first process; None of the others.
        watcher: who is told; the others work silently.
        wishes: what was asked for.
    """
    device = own_device(choose_device(wishes.get("device", "auto")))
    with joined(device) as world:
        run = Path(world.say(str(work.run) if work else ""))
        mine: Wishes = {**wishes, "device": str(device)} if world.size > 1 else wishes
        yield Sitting.at(work or Unfinished(run), watcher if world.rank == 0 else Watcher(), mine, world), mine
