"""The processes that train together, on one machine or several: what they share, and how they agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from longtail.errors import LongtailError

ENDED = (
    "Another process of this training has ended, or has not answered for half an hour; see what it said. "
    "Go on with longtail train --resume RUN."
)


@dataclass(frozen=True)
class World:
    """This process among all that train together: they share the rows of every batch, and nothing else.

    Each takes its rows of the global batch through the backbone. Then `together` gives everyone the features of all
    rows, and head, loss and statistics see the global batch on every process alike: they need not know that there are
    others. All processes call the same methods in the same order; alone, none of them communicates. Every method that
    communicates raises LongtailError where another process has ended. How a process joins: `longtail.launch`.

    Args:
        rank: which process this is, counted from 0.
        size: how many there are, W.
    """

    rank: int = 0
    size: int = 1

    def rows(self, batch: int) -> slice:
        """The rows of a batch of B that are this process's: contiguous, and as many as of others or one less.

        Raises:
            LongtailError: there are fewer rows than processes.

        >>> [World(rank, 3).rows(8) for rank in range(3)]
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        if batch < self.size:
            raise LongtailError(
                f"{self.size} processes cannot share {batch} images; give a larger --batch-size, or start fewer."
            )
        return slice(self.rank * batch // self.size, (self.rank + 1) * batch // self.size)

    def together(self, own: Tensor, batch: int) -> Tensor:
        """The rows of all processes; backward keeps the gradient of one's own rows, and communicates nothing.

        What follows must be the same on every process: then the gradient is whole there.

        Args:
            own: this process's `rows(batch)`, (b, ...); of S samplings one after the other, (S b, ...).
            batch: B, the rows of all processes.

        Returns:
            (B, ...) or (S B, ...), in the order of the batch.
        """
        if self.size == 1:
            return own
        rows = self.rows(batch)
        mine = own.unflatten(0, (-1, rows.stop - rows.start))
        everyone = mine.new_zeros(len(mine), batch, *own.shape[1:])
        everyone[:, rows] = mine.detach()
        self._add(everyone)  # of every row all but one are zeros, so that the sum is exact
        everyone[:, rows] = mine  # the same numbers once more, for autograd
        result: Tensor = everyone.flatten(0, 1)
        return result

    def summed(self, own: Tensor) -> Tensor:
        """The sum over the processes; backward sums their gradients in turn."""
        result: Tensor = own if self.size == 1 else _Summed.apply(own, self)
        return result

    def share_gradients(self, summed: Iterable[nn.Parameter], equal: Iterable[nn.Parameter]) -> None:
        """Give every process the gradients of the global batch, in place.

        A parameter that has a gradient on no process keeps none.

        Args:
            summed: of what sees the own rows alone; the gradients of all processes add up.
            equal: of what sees the global batch; the first process's are everyone's, so that nobody drifts away.
        """
        if self.size == 1:
            return
        by_dtype: dict[torch.dtype, list[tuple[nn.Parameter, bool]]] = defaultdict(list)
        for parameters, counts in ((summed, True), (equal, self.rank == 0)):
            for parameter in parameters:
                if parameter.requires_grad:
                    by_dtype[parameter.dtype].append((parameter, counts))
        for counted in by_dtype.values():
            self._share([parameter for parameter, _ in counted], [counts for _, counts in counted])

    def follow_first(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values, in place: of weights, or of batch norm's running statistics."""
        if self.size == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            by_dtype[tensor.dtype].append(tensor.detach())
        for alike in by_dtype.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in alike])
            self._from_first(flat)
            for tensor, values in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
                tensor.copy_(values.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether it is so on any process."""
        return bool(self._add(torch.tensor([int(flag)])).item())

    def barrier(self) -> None:
        """Wait until every process has come this far."""
        self.any(False)

    def say(self, words: str) -> str:
        """The words of the first process, on every process."""
        if self.size == 1:
            return words
        spoken = torch.tensor(list(words.encode()), dtype=torch.uint8)
        length = torch.tensor([len(spoken)])
        self._from_first(length)
        heard = spoken if self.rank == 0 else torch.empty(int(length), dtype=torch.uint8)
        self._from_first(heard)
        return bytes(heard.tolist()).decode()

    def dealt(self, number: int, batch: int) -> NDArray[np.int64]:
        """Which of so many images this process takes, when whole batches are dealt out one by one.

        >>> [World(rank, 2).dealt(7, 2).tolist() for rank in range(2)]
        [[0, 1, 4, 5], [2, 3, 6]]
        """
        return np.flatnonzero(np.arange(number) // batch % self.size == self.rank)

    def collected(self, outputs: Iterable[Tensor], number: int, batch: int) -> Tensor:
        """What the processes made of the images `dealt` to them, in order.

        Args:
            outputs: of this process's images, batch by batch; it may have none.
            number: N, of all images.
            batch: how they were dealt.

        Returns:
            (N, ...), as it is from one process; from several in float32, on the processor.
        """
        if self.size == 1:
            return torch.cat(list(outputs))
        own = [output.detach().float().cpu() for output in outputs]
        shape = self.say(" ".join(str(length) for output in own[:1] for length in output.shape[1:]))
        everyone = torch.zeros(number, *map(int, shape.split()))
        if own:
            everyone[torch.from_numpy(self.dealt(number, batch))] = torch.cat(own)
        return self._add(everyone)

    def _share(self, parameters: Sequence[nn.Parameter], counts: Sequence[bool]) -> None:
        """`share_gradients` of parameters of one dtype; `counts` tells whose gradients enter the sum from here."""
        present = [parameter.grad is not None for parameter in parameters]
        flat = parameters[0].new_zeros(len(parameters) + sum(parameter.numel() for parameter in parameters))
        flags, rest = flat[: len(parameters)], flat[len(parameters) :]
        flags.copy_(torch.tensor(present))
        sums = [
            values.view_as(parameter)
            for parameter, values in zip(parameters, rest.split([each.numel() for each in parameters]), strict=True)
        ]
        for parameter, counted, values in zip(parameters, counts, sums, strict=True):
            if counted and parameter.grad is not None:
                values.copy_(parameter.grad)
        self._add(flat)
        anywhere = present if all(present) else [flag > 0 for flag in flags.tolist()]
        for parameter, exists, values in zip(parameters, anywhere, sums, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(values)
            elif exists:
                parameter.grad = torch.empty_like(parameter).copy_(values)

    def _add(self, tensor: Tensor) -> Tensor:
        """Add the others' numbers to a contiguous tensor."""
        if self.size > 1:
            with _answered():
                dist.all_reduce(tensor)
        return tensor

    def _from_first(self, tensor: Tensor) -> None:
        with _answered():
            dist.broadcast(tensor, 0)


ALONE = World()


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, world: World) -> Tensor:
        ctx.world = world
        return world._add(own.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return ctx.world.summed(upstream), None


@contextmanager
def _answered() -> Iterator[None]:
    """What a group says of a process that is gone, in a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise LongtailError(ENDED) from error
