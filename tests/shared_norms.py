"""What networks with batch norm do in the processes of a test, and in one process alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from longtail.models.heads import Linear
from longtail.models.resnet32 import ResNet32
from longtail.models.sync_batch_norm import synchronised
from longtail.world import ALONE, World
from shared_work import rows_of, seeded

BATCH = 7
NORMS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "of images": (lambda: nn.BatchNorm2d(5), (5, 4, 3)),
    "of rows": (lambda: nn.BatchNorm1d(5), (5,)),
    "of signals": (lambda: nn.BatchNorm1d(5), (5, 9)),
    "of volumes": (lambda: nn.BatchNorm3d(5), (5, 2, 3, 2)),
    "without weights": (lambda: nn.BatchNorm2d(5, affine=False), (5, 4, 3)),
    "without running statistics": (lambda: nn.BatchNorm2d(5, track_running_stats=False), (5, 4, 3)),
    "with means over all batches": (lambda: nn.BatchNorm2d(5, momentum=None), (5, 4, 3)),
    "inside a network": (
        lambda: nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(inplace=True)),
        (3, 5, 4),
    ),
    "with frozen weights": (lambda: nn.BatchNorm2d(5).requires_grad_(False), (5, 4, 3)),
}


def over_all_rows(network: nn.Module, world: World) -> nn.Module:
    """As several processes norm; one process alone has all rows, and torch's own norm to compare with."""
    return network if world == ALONE else synchronised(network, world)


def norms(world: World, dtype: torch.dtype) -> dict[str, Tensor]:
    """Outputs, gradients and statistics of two steps of every norm, then its evaluation; of the own rows, together."""
    found = {}
    for name, (make, shape) in NORMS.items():
        torch.manual_seed(0)
        norm = over_all_rows(make(), world).to(dtype)
        with torch.no_grad():
            for parameter in norm.parameters():
                parameter.uniform_(0.5, 1.5)
        for step in range(2):
            own = rows_of(2 + seeded(step, BATCH, *shape).to(dtype), world, BATCH).requires_grad_()
            outputs = norm(own)
            norm.zero_grad()
            outputs.backward(rows_of(seeded(step + 2, BATCH, *outputs.shape[1:]).to(dtype), world, BATCH))
            world.share_gradients(norm.parameters(), ())
            found[f"{name}: outputs {step}"] = world.together(outputs.detach(), BATCH)
            assert own.grad is not None
            found[f"{name}: gradient {step}"] = world.together(own.grad, BATCH)
        gradients = {which: each.grad for which, each in norm.named_parameters() if each.grad is not None}
        found |= {f"{name}: gradient of {which}": gradient for which, gradient in gradients.items()}
        found |= {f"{name}: {which}": tensor for which, tensor in norm.state_dict().items()}
        found[f"{name}: evaluation"] = norm.eval()(seeded(9, 3, *shape).to(dtype)).detach()
    return found


def far_from_zero(world: World) -> dict[str, Tensor]:
    """Mean and variance of numbers around a thousand, where a mean of squares would lose them."""
    values = seeded(0, BATCH, 5, 30, 30) + torch.tensor([1e3, -1e3, 1e4, 0, 1]).reshape(5, 1, 1)
    norm = over_all_rows(nn.BatchNorm2d(5, momentum=1.0), world)
    norm(values[world.rows(BATCH)])
    return {"values": values, **norm.state_dict()}


def in_bfloat16(world: World) -> dict[str, Tensor]:
    """A convolution and its norm under autocast."""
    torch.manual_seed(0)
    network = over_all_rows(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), world)
    images = seeded(0, BATCH, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images[world.rows(BATCH)])
    outputs.float().square().sum().backward()
    world.share_gradients(network.parameters(), ())
    gradients = {f"gradient of {name}": each.grad for name, each in network.named_parameters() if each.grad is not None}
    return {"outputs": world.together(outputs.detach(), BATCH), **network.state_dict(), **gradients}


def resnet32(world: World, dtype: torch.dtype, same_norm: bool = False) -> dict[str, Tensor]:
    """A step of ResNet-32: features, loss, gradients, weights after it and statistics; then its evaluation.

    One process takes torch's own norm, or the `same_norm` as several.
    """
    torch.manual_seed(0)
    whole = synchronised if same_norm else over_all_rows
    network, head = whole(ResNet32().to(dtype), world), Linear(64, 10).to(dtype)
    learning = [*network.parameters(), *head.parameters()]
    images, targets = seeded(0, BATCH, 3, 8, 8).to(dtype), torch.arange(BATCH)
    features = world.together(network(images[world.rows(BATCH)]), BATCH)
    loss = nn.functional.cross_entropy(head(features), targets)
    loss.backward()
    world.share_gradients(network.parameters(), head.parameters())
    gradients = {f"gradient of {name}": each.grad for name, each in network.named_parameters() if each.grad is not None}
    torch.optim.SGD(learning, lr=0.1).step()
    found = {"features": features.detach(), "loss": loss.detach(), **gradients, **network.state_dict()}
    with torch.no_grad():
        return found | {"evaluation": network.eval()(seeded(1, 3, 3, 8, 8).to(dtype))}
