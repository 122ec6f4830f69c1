"""The loop against a loop written by hand, and what it promises about seeds and frozen parts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from longtail import losses
from longtail.data.images.preprocessing import Preprocessing
from longtail.data.parts import Part
from longtail.data.sources.digits import digits
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.losses.criterion import Criterion
from longtail.models.classifier import Classifier
from longtail.models.heads import Cosine, Linear
from longtail.runs import RunFolder
from longtail.samplers import LabelIndex, class_balanced, instance
from longtail.schedules import MultiStep
from longtail.training.engine import Engine
from longtail.training.loop.log import Turn
from longtail.training.loop.trainer import Trainer
from longtail.training.stage import HEAD_ALONE, Stage
from longtail.watching import Watcher

FLOAT32 = Engine(torch.device("cpu"), torch.float32, "for exact comparison")


class TinyBackbone(nn.Module):
    """Something with batch norm and dropout, so that modes and seeds matter."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.2)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = torch.relu(self.norm(self.convolution(images)))
        features: Tensor = self.dropout(maps.mean(dim=(2, 3)))
        return features


@pytest.fixture
def part() -> Part:
    return digits().train


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(FLOAT32, Preprocessing((8, 8)), RunFolder(tmp_path), workers=0, watcher=Watcher())


def classifier(head: type[Linear] | type[Cosine] = Linear) -> Classifier:
    torch.manual_seed(0)
    return Classifier(TinyBackbone(), head(8, 10))


def stage(objective: Criterion | None = None, **changes: object) -> Stage:
    settings = {"name": "test", "epochs": 2, "batch_size": 64, "lr": 0.1, **changes}
    return Stage(objective=objective or losses.cross_entropy([1] * 10), **settings)  # type: ignore[arg-type]


def fit(trainer: Trainer, model: Classifier, what: Stage, part: Part, seed: int = 0) -> Classifier:
    return trainer.fit(model, what, part, Turn(1, 1, 1), Key.of_seed(seed))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_equals_a_loop_written_by_hand(trainer: Trainer, part: Part) -> None:
    trained = fit(trainer, classifier(), stage(lr_schedule=MultiStep((1,), 0.1)), part)

    by_hand = classifier().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
    images = torch.stack([trainer.preprocessing(part.pixels.open(index)) for index in range(len(part))])
    images = images.to(memory_format=torch.channels_last)
    labels = torch.from_numpy(part.labels)
    by_hand.train()
    losses_by_hand = []
    for epoch in range(2):
        here = Key.of_seed(0).at("epoch", epoch)
        positions = np.arange(len(part) // 64 * 64)
        order = instance().indices(LabelIndex.of(part.labels, 10), here.at("order"), epoch, 2, positions)
        optimizer.param_groups[0]["lr"] = 0.1 if epoch == 0 else 0.01
        for step in range(len(part) // 64):
            batch = order[step * 64 : step * 64 + 64]
            torch.manual_seed(here.at("step", step).value)
            loss = functional.cross_entropy(by_hand(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses_by_hand.append(loss.item())

    assert [record["loss"] for record in trainer.folder.steps] == pytest.approx(losses_by_hand, rel=1e-5)
    for name, tensor in by_hand.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_adamw_clipping_and_an_average_are_those_of_torch(trainer: Trainer, part: Part) -> None:
    what = stage(optimizer=partial(torch.optim.AdamW, weight_decay=0.1), lr=0.01, clip=0.05, average=0.9)
    outcome = fit(trainer, classifier(), what, part)

    by_hand = classifier().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.01, weight_decay=0.1)
    average: dict[str, Tensor] = {}
    images = torch.stack([trainer.preprocessing(part.pixels.open(index)) for index in range(len(part))])
    images = images.to(memory_format=torch.channels_last)
    for epoch in range(2):
        here = Key.of_seed(0).at("epoch", epoch)
        order = instance().indices(LabelIndex.of(part.labels, 10), here.at("order"), epoch, 2, np.arange(384))
        for step, batch in enumerate(order.reshape(-1, 64)):
            torch.manual_seed(here.at("step", step).value)
            functional.cross_entropy(by_hand(images[batch]), torch.from_numpy(part.labels[batch])).backward()
            norm = torch.stack([p.grad.norm() for p in by_hand.parameters() if p.grad is not None]).norm()
            for parameter in by_hand.parameters():
                assert parameter.grad is not None
                parameter.grad *= min(1.0, 0.05 / float(norm))
            optimizer.step()
            optimizer.zero_grad()
            number = epoch * 6 + step + 1
            kept = min(0.9, number / (9 + number))
            for name, now in state(by_hand).items():
                average[name] = (
                    now if number == 1 or not now.is_floating_point() else kept * average[name] + (1 - kept) * now
                )

    # The gradient of a bias before batch norm is rounding alone, and the mean of its images follows it.
    for name in average.keys() - {"backbone.convolution.bias", "backbone.norm.running_mean"}:
        torch.testing.assert_close(outcome.state_dict()[name], average[name], rtol=1e-4, atol=1e-5, msg=name)
    assert not torch.equal(outcome.head.state_dict()["weight"], by_hand.head.state_dict()["weight"])


def test_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path: Path, part: Part) -> None:
    def weights(seed: int, name: str) -> dict[str, Tensor]:
        (tmp_path / name).mkdir()
        trainer = Trainer(FLOAT32, Preprocessing((8, 8)), RunFolder(tmp_path / name), 0, Watcher())
        torch.rand(seed + 3)  # the global generator stands elsewhere each time
        return state(fit(trainer, classifier(Cosine), stage(losses.gcl([50, 5] * 5)), part, seed))

    first, again, other = weights(0, "a"), weights(0, "b"), weights(1, "c")
    assert same(first, again)
    assert not same(first, other)


def test_a_frozen_backbone_keeps_every_bit(trainer: Trainer, part: Part) -> None:
    model = classifier()
    before = state(model)
    fit(trainer, model, stage(learns=HEAD_ALONE, samplings=(class_balanced(),)), part)
    assert same({n: t for n, t in before.items() if n.startswith("backbone.")}, state(model))
    assert not torch.equal(before["head.weight"], model.state_dict()["head.weight"])


@pytest.mark.parametrize("moves", [False, True])
def test_statistics_may_move_though_all_weights_stay(moves: bool, trainer: Trainer, part: Part) -> None:
    model = classifier()
    before = state(model)
    fit(trainer, model, stage(learns=HEAD_ALONE, moves_batch_norm=moves, samplings=(class_balanced(),)), part)
    changed = {name for name, tensor in state(model).items() if not torch.equal(tensor, before[name])}
    statistics = {f"backbone.norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed == {"head.weight", "head.bias"} | (statistics if moves else set())


def test_parts_learn_at_their_own_rates(trainer: Trainer, part: Part) -> None:
    plain = partial(torch.optim.SGD, momentum=0.0)
    one_step: dict[str, Any] = {"epochs": 1, "batch_size": len(part), "optimizer": plain}
    whole, slow = classifier(), classifier()
    before = state(whole)
    fit(trainer, whole, stage(**one_step), part)
    fit(trainer, slow, stage(**one_step, learns={"backbone": 0.25, "head": 1.0}), part)
    for name in ("backbone.convolution.weight", "head.weight"):
        factor = 0.25 if name.startswith("backbone") else 1.0
        change, slower = (model.state_dict()[name] - before[name] for model in (whole, slow))
        torch.testing.assert_close(slower, factor * change, rtol=1e-4, atol=1e-7)


def test_a_single_parameter_can_learn_alone(trainer: Trainer, part: Part) -> None:
    model = classifier()
    before = state(model)
    fit(trainer, model, stage(learns={"head.bias": 1.0}), part)
    changed = {name for name, tensor in state(model).items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.bias"}


def test_a_loss_that_is_no_number_ends_the_stage(trainer: Trainer, part: Part) -> None:
    with pytest.raises(LongtailError, match=r"loss is (nan|inf).*non_finite.json names the images.*smaller --lr"):
        fit(trainer, classifier(), stage(lr=1e30, epochs=10), part)
    found = trainer.folder.non_finite
    assert found is not None
    assert found["step"] == len(trainer.folder.steps)  # it was seen at once: all that went before is in the log
    here = Key.of_seed(0).at("epoch", found["epoch"])
    order = instance().indices(LabelIndex.of(part.labels, 10), here.at("order"), found["epoch"], 10, np.arange(384))
    batch = order[found["step"] * 64 : found["step"] * 64 + 64]
    assert found["images"] == [part.identities[index] for index in batch]


def test_predictions_do_not_depend_on_the_mode_before(trainer: Trainer, part: Part) -> None:
    model = classifier()
    model.train()
    first = trainer.inference.predict(model, part, "testing")
    again = trainer.inference.predict(model, part, "testing")
    np.testing.assert_array_equal(first.logits, again.logits)
    np.testing.assert_array_equal(first.labels, part.labels)
    assert first.identities == part.identities


def test_validation_is_watched_and_changes_nothing(trainer: Trainer, part: Part, tmp_path: Path) -> None:
    alone = state(fit(trainer, classifier(), stage(), part))
    (tmp_path / "watched").mkdir()
    watching = Trainer(FLOAT32, trainer.preprocessing, RunFolder(tmp_path / "watched"), 0, Watcher())
    watched = watching.fit(classifier(), stage(), part, Turn(1, 1, 1), Key.of_seed(0), validation=digits().test)
    assert same(alone, state(watched))
    assert [0 <= record["validation_accuracy"] <= 1 for record in watching.folder.epochs] == [True, True]
