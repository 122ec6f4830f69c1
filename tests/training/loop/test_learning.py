"""All that a stage has learnt, taken out and put back: the next steps are those of the stage that was never stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from longtail import losses
from longtail.draws import Key
from longtail.losses.criterion import Criterion
from longtail.models.classifier import Classifier
from longtail.models.heads import CausalNorm, Head, Linear
from longtail.training.loop.learning import Learning, room
from longtail.training.stage import Stage
from tiny_training import FLOAT32, Counting, state

SGD = partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-2)
ADAMW = partial(torch.optim.AdamW, weight_decay=1e-2)
seesaw = partial(losses.seesaw, [50, 5] * 5)


def classifier(head: Callable[[int, int], Head] = Linear) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Counting(), head(8, 10))


def stage(objective: Criterion | None = None, **changes: object) -> Stage:
    objective = objective or losses.cross_entropy()
    return Stage("test", objective, epochs=1, batch_size=16, lr=0.1, **changes)  # type: ignore[arg-type]


def take(learning: Learning, steps: range, clip: float | None = None) -> None:
    """Steps whose batches depend on their number alone."""
    learning.classifier.train()
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(16, 3, 8, 8, generator=generator).to(memory_format=torch.channels_last)
        targets = torch.randint(10, (16,), generator=generator)
        features = learning.classifier.backbone(images)
        learning.classifier.head.observe(features.detach())
        objective, draws = learning.objective, Key(step).draws(torch.arange(16))
        moment = objective.moment(learning.classifier.head(features), targets, features=features, draws=draws)
        objective.observe(moment)
        objective.total(learning.classifier.head(features), moment).mean().backward()
        learning.step(clip)


def all_of(learning: Learning) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in learning.tensors().items()}


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("average", [None, 0.9], ids=["plain", "average"])
@pytest.mark.parametrize(
    ("loss", "head"), [(losses.cross_entropy, Linear), (seesaw, Linear), (losses.cross_entropy, CausalNorm)]
)
def test_what_is_put_back_goes_on_in_the_same_bits(
    optimizer: Callable[..., torch.optim.Optimizer],
    average: float | None,
    loss: Callable[[], Criterion],
    head: Callable[[int, int], Head],
) -> None:
    def begun() -> Learning:
        return Learning.of(stage(loss(), optimizer=optimizer, average=average), classifier(head), FLOAT32)

    unbroken = begun()
    take(unbroken, range(3))
    kept = all_of(unbroken)
    take(unbroken, range(3, 6))

    again = begun()
    take(again, range(50, 51))  # whatever it has learnt before is gone
    again.load(kept)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in again.tensors().items())
    take(again, range(3, 6))
    assert again.tensors().keys() == unbroken.tensors().keys()
    for name, tensor in unbroken.tensors().items():
        assert torch.equal(again.tensors()[name], tensor), name


def test_everything_that_changes_is_kept() -> None:
    """Weights, statistics of batch norm, momenta, the loss's counts, the average."""
    learning = Learning.of(stage(seesaw(), average=0.9), classifier(CausalNorm), FLOAT32)
    take(learning, range(1))
    before = all_of(learning)
    take(learning, range(1, 2))
    same = {name for name, tensor in learning.tensors().items() if torch.equal(tensor, before[name])}
    assert same == set()
    assert {name.partition(".")[0] for name in before} == {"classifier", "objective", "average", "optimizer"}


def test_momenta_lie_as_the_weights_do() -> None:
    """A file knows no layout; in another one a fused step would take another way."""
    learning = Learning.of(stage(optimizer=ADAMW), classifier(), FLOAT32)
    take(learning, range(2))
    kept = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in learning.tensors().items()}
    again = Learning.of(stage(optimizer=ADAMW), classifier(), FLOAT32)
    again.load(kept)
    weight = again.classifier.get_parameter("backbone.convolution.weight")
    assert not weight.is_contiguous()
    for name in ("exp_avg", "exp_avg_sq"):
        assert again.optimizer.state[weight][name].stride() == weight.stride()


def test_the_gradient_is_brought_down_to_the_norm_asked_for() -> None:
    plain = partial(torch.optim.SGD, momentum=0.0)
    learning = Learning.of(stage(optimizer=plain), classifier(), FLOAT32)
    before = state(learning.classifier)
    take(learning, range(1), clip=1e-3)
    after = learning.classifier.state_dict()
    names = [name for name, _ in learning.classifier.named_parameters()]
    length = torch.cat([(after[name] - before[name]).flatten() for name in names]).norm()
    torch.testing.assert_close(length, torch.tensor(1e-3 * 0.1), rtol=1e-4, atol=0)
    assert all(parameter.grad is None for parameter in learning.classifier.parameters())


def test_every_group_has_its_share_of_the_rate() -> None:
    learning = Learning.of(stage(learns={"backbone": 0.25, "head": 1.0}), classifier(), FLOAT32)
    learning.set_rate(0.5)
    assert [group["lr"] for group in learning.optimizer.param_groups] == [0.125, 0.5]


def test_the_average_is_the_outcome() -> None:
    averaging, plain = (Learning.of(stage(average=decay), classifier(), FLOAT32) for decay in (0.9, None))
    assert averaging.average is not None
    assert averaging.outcome is averaging.average.module
    assert plain.outcome is plain.classifier


def test_rooms_are_told_apart_by_whole_names() -> None:
    tensors = {"head.weight": torch.ones(1), "head.bias": torch.ones(1), "header.weight": torch.zeros(1)}
    assert set(room(tensors, "head")) == {"weight", "bias"}
