"""What the processes of a test do together, and what one process does alone: the same functions, of another world."""

from __future__ import annotations

import os
import signal

import torch
from torch import Tensor, nn

from longtail import losses
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.losses import Criterion
from longtail.models.heads import Cosine, Experts, Head, Linear
from longtail.world import World

COUNTS = (30, 500, 7, 120, 120, 2)
BATCH = 11  # which neither two nor three processes share evenly


def rows_of(numbers: Tensor, world: World, batch: int) -> Tensor:
    """A process's rows of a batch, of each sampling."""
    return numbers.reshape(-1, batch, *numbers.shape[1:])[:, world.rows(batch)].flatten(0, 1)


def gathering(world: World) -> dict[str, Tensor]:
    """`together` of several shapes and types, and what its backward leaves of a gradient."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for samplings in (1, 2):
            for shape in ((), (4,), (3, 4)):
                whole, upstream = (seeded(seed, samplings * BATCH, *shape).to(dtype) for seed in (0, 1))
                whole[0] = float("inf")
                own = rows_of(whole, world, BATCH).requires_grad_()
                everyone = world.together(own, BATCH)
                (everyone * upstream).sum().backward()
                assert own.grad is not None
                name = f"{dtype}, {samplings} samplings of {shape}"
                found[name] = torch.stack([everyone.detach(), whole])
                found[f"{name}: gradient"] = torch.stack([own.grad, rows_of(upstream, world, BATCH)])
    if world.rank == 0:  # the others do nothing: a backward that asked for them would wait
        own = torch.ones(world.rows(BATCH).stop, requires_grad=True)
    else:
        own = torch.ones(len(range(BATCH)[world.rows(BATCH)]))
    everyone = world.together(own, BATCH)
    if world.rank == 0:
        everyone.sum().backward()
    world.barrier()
    return found


def sums(world: World) -> dict[str, Tensor]:
    """The differentiable sum of x (rank + 1), and the gradient of rank + 1 times the square of it."""
    own = (seeded(0, 5) * (world.rank + 1)).requires_grad_()
    everyone = world.summed(own)
    ((world.rank + 1) * everyone.square().sum()).backward()
    assert own.grad is not None
    return {"sum": everyone.detach(), "gradient": own.grad}


def agreeing(world: World) -> dict[str, Tensor]:
    """Whatever the processes agree on, each in its own words."""
    last = world.rank == world.size - 1
    words = "Größe ✓" if world.rank == 0 else f"not heard {world.rank}"
    weights = [seeded(world.rank, 3), torch.tensor(world.rank), seeded(world.rank, 2, 2).bfloat16()]
    weights.append(torch.full((2, 4, 3, 3), world.rank).float().to(memory_format=torch.channels_last))
    world.follow_first(weights)
    return {
        "any": torch.tensor([world.any(False), world.any(last), world.any(True)]),
        "heard": torch.tensor(list(world.say(words).encode())),
        "silence": torch.tensor(len(world.say("" if world.rank == 0 else "noise"))),
        **{f"weight {number}": weight for number, weight in enumerate(weights)},
    }


def dealing(world: World, number: int, batch: int) -> dict[str, Tensor]:
    """Images dealt out and the outputs collected, of two shapes."""
    images = seeded(0, number, 3)
    own = torch.from_numpy(world.dealt(number, batch))
    outputs = [images[some] for some in own.split(batch)] if len(own) else []
    wide = [images[some, :, None].expand(-1, -1, 2) for some in own.split(batch)] if len(own) else []
    return {
        "own": own,
        "images": images,
        "together": world.collected(iter(outputs), number, batch),
        "wide": world.collected(wide, number, batch),
    }


def sharing(world: World) -> dict[str, Tensor]:
    """Gradients of parameters of every kind, after they were shared; -1 stands for none."""

    def parameter(gradient: Tensor | None, dtype: torch.dtype = torch.float32, learns: bool = True) -> nn.Parameter:
        made = nn.Parameter(torch.zeros(2, 3, dtype=dtype), requires_grad=learns)
        made.grad = None if gradient is None else gradient.expand(2, 3).to(dtype).clone()
        return made

    mine, first, last = torch.tensor(world.rank + 1.0), world.rank == 0, world.rank == world.size - 1
    summed = {
        "of all": parameter(mine),
        "in half precision": parameter(mine, torch.bfloat16),
        "of the last alone": parameter(mine if last else None),
        "of nobody": parameter(None),
        "frozen": parameter(None, learns=False),
    }
    equal = {
        "equal": parameter(mine / 3),
        "equal, of the first alone": parameter(mine if first else None),
        "equal, of nobody": parameter(None),
    }
    world.share_gradients(summed.values(), equal.values())
    return {
        name: torch.tensor(-1.0) if each.grad is None else each.grad[1, 2].float()
        for name, each in (summed | equal).items()
    }


def left_behind(world: World, how: str) -> dict[str, Tensor]:
    """The last process ends in the middle; the others say what became of it."""
    world.barrier()
    if world.rank == world.size - 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    tensor = torch.ones(3)
    try:
        for _ in range(3):  # one more may have left before it ended
            world.summed(tensor)
    except LongtailError as error:
        return {"heard": torch.tensor(list(str(error).encode()))}
    return {}


def training(world: World, kinds: list[str], dtype: torch.dtype, steps: int) -> dict[str, Tensor]:
    """Loss and gradients of some steps of a small network with each loss."""
    found = {}
    for kind in kinds:
        torch.manual_seed(0)
        criterion: Criterion = getattr(losses, kind)(COUNTS)
        experts = 3 if criterion.score_dims == 3 else 1
        network = nn.Sequential(nn.Flatten(), nn.Linear(48, 8 * experts), nn.Tanh(), nn.Unflatten(1, (experts, 8)))
        head: Head = Experts([head_for(criterion) for _ in range(3)]) if experts > 1 else head_for(criterion)
        network, head = network.to(dtype), head.to(dtype)
        optimizer = torch.optim.SGD([*network.parameters(), *head.parameters()], lr=0.01, momentum=0.9)
        for step in range(steps):
            images, targets = seeded(step, BATCH, 3, 4, 4).to(dtype), torch.arange(BATCH).mul(step + 1) % len(COUNTS)
            features = world.together(network(images[world.rows(BATCH)]), BATCH)
            features = features if experts > 1 else features.squeeze(1)
            draws = Key.of_seed(0).at("step", step).draws(torch.arange(BATCH))
            loss = criterion(head(features), targets, features=features, epoch=step, draws=draws)
            optimizer.zero_grad()
            loss.backward()
            world.share_gradients(network.parameters(), head.parameters())
            found[f"{kind}, step {step}: loss"] = loss.detach()
            for name, parameter in [*network.named_parameters(), *head.named_parameters()]:
                assert parameter.grad is not None
                found[f"{kind}, step {step}: {name} of shape {tuple(parameter.shape)}"] = parameter.grad.clone()
            optimizer.step()
    return found


def head_for(criterion: Criterion) -> Head:
    """A head of the scores that the loss takes."""
    return Cosine(8, len(COUNTS)) if criterion.takes_cosines else Linear(8, len(COUNTS))


def seeded(seed: int, *shape: int) -> Tensor:
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
