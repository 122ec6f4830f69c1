"""Wishes take the place of choices: in the setting, in every stage, and in the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtail.counts import ClassCounts, ShotBorders
from longtail.data.sources.digits import digits
from longtail.errors import LongtailError
from longtail.training.planning.as_wished import setting_as_wished, stage_as_wished
from longtail.training.planning.decays import HalfCosine, StepsAt
from longtail.training.planning.plan import Plan, make_plan
from longtail.training.planning.settings import CIFAR, PHOTOGRAPHS, Setting
from longtail.training.planning.wishes import Wishes
from longtail.training.recipes import RECIPES
from tiny_training import stage

COUNTS = ClassCounts((50, 5))


def rates(setting: Setting) -> list[float]:
    return [setting.lr * setting.decay(setting.epochs).at(epoch) for epoch in range(setting.epochs)]


def planned(recipe: str, wishes: Wishes) -> Plan:
    return make_plan(digits(), recipe, 0, {"device": "cpu", **wishes})


def test_without_wishes_nothing_changes() -> None:
    assert setting_as_wished(CIFAR, {}) is CIFAR
    assert setting_as_wished(CIFAR, {"lr": None, "schedule": None, "clip": 1.0, "device": "cpu"}) is CIFAR
    unchanged = stage(clip=2.0)
    assert stage_as_wished(unchanged, {"lr": 3.0, "clip": None}) == unchanged


def test_numbers_take_the_place_of_the_settings_and_it_says_so() -> None:
    wished = setting_as_wished(CIFAR, {"epochs": 10, "batch_size": 16, "lr": 0.3, "weight_decay": 0.0})
    assert (wished.epochs, wished.batch_size, wished.lr, wished.weight_decay) == (10, 16, 0.3, 0.0)
    assert wished.source == f"{CIFAR.source}; as asked: epochs, batch_size, lr, weight_decay"


@pytest.mark.parametrize(("fine_tuning", "rate"), [(False, 1e-3), (True, 1e-4)])
def test_adamw_has_numbers_of_its_own_unless_these_are_asked_for_too(fine_tuning: bool, rate: float) -> None:
    few = CIFAR.for_images(100)
    assert few.lr < CIFAR.lr
    wished = setting_as_wished(few, {"optimizer": "adamw"}, fine_tuning=fine_tuning)
    assert (wished.lr, wished.weight_decay, wished.batch_size) == (rate, 0.05, few.batch_size)
    both = setting_as_wished(few, {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0.1}, fine_tuning=fine_tuning)
    assert (both.lr, both.weight_decay) == (0.02, 0.1)


def test_adamw_takes_the_first_step_of_its_paper() -> None:
    """Loshchilov and Hutter, algorithm 2: after one step the moments are g and g squared, whatever the betas."""
    setting = setting_as_wished(CIFAR, {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.5})
    weights, gradient = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.3, -4.0, 0.02])
    parameter = torch.nn.Parameter(weights.clone())
    optimizer = setting.optimizer([{"params": [parameter]}], lr=setting.lr)
    parameter.grad = gradient
    optimizer.step()
    expected = weights - 0.01 * 0.5 * weights - 0.01 * gradient.sign()
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=0)


def test_sgd_has_momentum() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = replace(CIFAR, weight_decay=0.0).optimizer([{"params": [parameter]}], lr=1.0)
    for _ in range(2):
        parameter.grad = torch.ones(1)
        optimizer.step()
    assert parameter.item() == pytest.approx(1 - 1 - 1.9)


@pytest.mark.parametrize(
    ("setting", "wishes", "expected"),
    [  # epoch -> rate; CIFAR has 0.1, and steps at 0.8 and 0.9 of the epochs
        (CIFAR, {"schedule": "constant", "epochs": 80}, {0: 0.05, 1: 0.1, 79: 0.1}),
        (CIFAR, {"schedule": "cosine", "epochs": 80, "warm_up": 0}, {0: 0.1, 40: 0.05}),
        (CIFAR, {"warm_up": 4, "epochs": 20}, {0: 0.025, 3: 0.1, 15: 0.1, 16: 0.001, 18: 1e-5}),
        (PHOTOGRAPHS, {"schedule": "steps", "epochs": 20}, {0: 0.01, 15: 0.01, 16: 1e-4, 18: 1e-6}),
    ],
)
def test_schedules(setting: Setting, wishes: Wishes, expected: dict[int, float]) -> None:
    found = rates(setting_as_wished(setting, wishes))
    assert {epoch: found[epoch] for epoch in expected} == pytest.approx(expected)


def test_steps_stay_those_of_the_paper() -> None:
    published = replace(CIFAR, decay=StepsAt((0.6, 0.8), 0.1, warm_up=0.05))
    assert setting_as_wished(published, {"schedule": "steps"}).decay == published.decay
    assert setting_as_wished(published, {"schedule": "cosine"}).decay == HalfCosine(warm_up=0.05)


def test_a_warm_up_ends_before_the_training() -> None:
    assert rates(setting_as_wished(CIFAR, {"epochs": 5, "warm_up": 5, "schedule": "constant"}))[-1] == pytest.approx(
        0.1
    )
    with pytest.raises(LongtailError, match=r"warm-up of 6 epochs is longer than a training of 5.*--warm-up"):
        setting_as_wished(CIFAR, {"epochs": 5, "warm_up": 6})


def test_every_stage_is_clipped_divided_and_averaged() -> None:
    plan = planned("gcl", {"clip": 2.0, "accumulate": 4, "ema": 0.99})
    assert [(stage.clip, stage.accumulate, stage.average) for stage in plan.recipe.stages] == [(2.0, 4, 0.99)] * 2
    plain = planned("gcl", {})
    assert [(stage.clip, stage.accumulate, stage.average) for stage in plain.recipe.stages] == [(None, 1, None)] * 2


def test_a_backbone_learns_at_its_share_of_the_rate() -> None:
    first, second = planned("gcl", {"backbone_lr": 0.1}).recipe.stages
    assert (dict(first.learns), dict(second.learns)) == ({"backbone": 0.1, "head": 1.0}, {"head": 1.0})
    deep = stage_as_wished(stage(learns={"backbone.layer4": 0.5, "head": 1.0}), {"backbone_lr": 0.1})
    assert dict(deep.learns) == pytest.approx({"backbone.layer4": 0.05, "head": 1.0})


def test_adamw_is_the_optimiser_of_every_stage_and_a_head_that_goes_on_does_so_slowly() -> None:
    first, second = planned("gcl", {"optimizer": "adamw"}).recipe.stages
    for each in (first, second):
        assert isinstance(each.optimizer([torch.nn.Parameter(torch.ones(1))], lr=each.lr), torch.optim.AdamW)
    assert (first.lr, second.lr) == (1e-3, 1e-3)
    slow = planned("gcl", {"optimizer": "adamw", "lr": 1e-5}).recipe.stages[1]
    assert slow.lr == 1e-5
    assert planned("gcl", {}).recipe.stages[1].lr == 0.002


@pytest.mark.parametrize(
    ("wishes", "rate"),
    [
        ({"weights": "none"}, 1e-3),
        ({"weights": "pretrained"}, 1e-4),
        ({"weights": "pretrained", "freeze": True}, 1e-3),
    ],
)
def test_adamw_is_slower_on_trained_weights(wishes: Wishes, rate: float) -> None:
    asked: Wishes = {**wishes, "optimizer": "adamw", "backbone": "test_resnet", "image_size": 32}
    assert planned("ce", asked).recipe.stages[0].lr == rate


def test_a_recipe_keeps_an_optimiser_and_a_clip_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from longtail import losses\n"
        "from longtail.training.recipes.parts import first_stage, linear\n"
        "from dataclasses import replace\n"
        "def mine(counts, setting):\n"
        "    stage = first_stage(setting, losses.cross_entropy(), clip=0.5)\n"
        "    return linear(replace(stage, optimizer=torch.optim.RMSprop))\n"
    )
    (own,) = planned(f"{tmp_path}/mine.py:mine", {"optimizer": "adamw", "ema": 0.9}).recipe.stages
    assert (own.optimizer, own.clip, own.average) == (torch.optim.RMSprop, 0.5, 0.9)
    (wished,) = planned(f"{tmp_path}/mine.py:mine", {"clip": 3.0}).recipe.stages
    assert wished.clip == 3.0


@pytest.mark.parametrize("name", ["lade", "bbn"])
def test_a_loss_of_whole_batches_is_refused_before_anything_is_read(name: str) -> None:
    with pytest.raises(LongtailError, match="--accumulate"):
        planned(name, {"accumulate": 2})


def test_a_plan_says_what_the_wishes_say_of_files_and_machine() -> None:
    plan = planned("ce", {"workers": 3, "loading": "decode", "cache": "kept", "shot_borders": (30, 5), "val": 0.1})
    assert (plan.workers, plan.loading, plan.decoded) == (3, "decode", Path("kept"))
    assert plan.borders == ShotBorders(30, 5)
    assert plan.asked == {"data": "digits", "reading": {"val": 0.1}}
    plain = planned("ce", {})
    assert (plain.workers, plain.loading, plain.decoded) == (0, "auto", None)
    assert plain.borders == plain.images.counts.shot_borders()


def test_recipes_of_the_papers_are_what_they_were() -> None:
    """No wish, no change: a stage with all its numbers, from the recipe itself."""
    recipe = RECIPES["gcl"](COUNTS, CIFAR)
    same = recipe.with_stages(lambda stage: stage_as_wished(stage, {}))
    assert [stage.description() for stage in same.stages] == [stage.description() for stage in recipe.stages]
