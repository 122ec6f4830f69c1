"""Compiling: where it pays, what it says, and that a compiled training is the same training, compiled once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from longtail.data.parts import Part
from longtail.data.pixels import InMemory
from longtail.data.sources.digits import digits
from longtail.draws import Key
from longtail.errors import LongtailError
from longtail.models.backbones import build_backbone
from longtail.models.classifier import Classifier
from longtail.models.heads import Linear
from longtail.models.resnet32 import ResNet32
from longtail.runs import RunFolder
from longtail.training import compiling
from longtail.training.compiling import SHARE_SAVED, Work, compiled, trouble_compiling, with_compiling
from longtail.training.engine import Engine
from longtail.training.loop.log import Turn
from longtail.training.loop.trainer import Trainer
from longtail.training.planning.plan import make_plan
from longtail.training.stage import WHOLE_NETWORK
from longtail.watching import Watcher
from tiny_training import DIGITS, FLOAT32, stage

LONG = Work(layers=31, operations=1e15)
SHORT = Work(layers=31, operations=1e12)
HAS_COMPILER = bool(shutil.which("g++") or shutil.which("clang++"))


class Tiny(nn.Module):
    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = torch.relu(self.norm(self.convolution(images)))
        return maps.mean(dim=(2, 3))


def compiler(trouble: str | None) -> Callable[[torch.device], str | None]:
    return lambda device: trouble


def chosen(wish: Any, work: Work = LONG, device: str = "cpu", backbone: str = "resnet32") -> Engine:
    engine = Engine(torch.device(device), torch.float32, "for a test", threads=1)
    return with_compiling(engine, wish, backbone, lambda: work)


def test_work_is_counted_by_hand() -> None:
    one = Work.of(ResNet32(), (32, 32), images=1)
    wide = {(3, 16): 1, (16, 16): 10, (16, 32): 1, (32, 32): 9, (32, 64): 1, (64, 64): 9}  # channels: convolutions
    places = {16: 32 * 32, 32: 16 * 16, 64: 8 * 8}
    forward = sum(number * 2 * inside * 9 * outside * places[outside] for (inside, outside), number in wide.items())
    assert one == Work(31, 3 * forward)
    assert Work.of(ResNet32(), (32, 32), images=1000).operations == 3000 * forward


def test_counting_leaves_the_network_as_it_was() -> None:
    network = build_backbone("resnet32")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    Work.of(network, (32, 32), images=1)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("wish", "work", "device", "trouble", "outcome", "words"),
    [
        ("auto", LONG, "cpu", None, True, "compiled: that takes about 2 min and saves 8 min"),
        ("auto", SHORT, "cpu", None, False, "not compiled: too short for that to pay"),
        ("auto", LONG, "cpu", "no g++", False, "not compiled: no compiler works here"),
        ("auto", LONG, "cuda", None, False, "not compiled: what that gains on cuda was not measured"),
        ("on", SHORT, "cuda", None, True, "compiled, as asked"),
        ("off", LONG, "cpu", None, False, "not compiled, as asked"),
    ],
)
def test_what_is_chosen_and_why(
    monkeypatch: pytest.MonkeyPatch,
    wish: str,
    work: Work,
    device: str,
    trouble: str | None,
    outcome: bool,
    words: str,
) -> None:
    monkeypatch.setattr(compiling, "trouble_compiling", compiler(trouble))
    engine = chosen(wish, work, device)
    assert engine.compiled is outcome
    assert engine.describe().endswith(f"(for a test; {words})")
    assert engine.description()["compiled"] is outcome


def test_it_must_save_twice_what_it_costs() -> None:
    cost = LONG.cost(cores=1)
    enough = Work(31, 2 * cost / Work(31, 1.0).saved(SHARE_SAVED["resnet32"], cores=1))
    assert not chosen("auto", Work(31, 0.99 * enough.operations)).compiled
    assert LONG.cost(cores=2) == cost / 2
    assert LONG.saved(0.1, cores=2) == LONG.saved(0.1, cores=1) / 2


def test_other_backbones_are_compiled_only_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "trouble_compiling", compiler(None))
    engine = chosen("auto", backbone="resnet50")
    assert not engine.compiled
    assert "not compiled: that is not known to speed up resnet50" in engine.describe()
    assert chosen("on", backbone="resnet50").compiled


def test_asked_for_without_a_compiler_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "trouble_compiling", compiler("no g++"))
    with pytest.raises(LongtailError, match=r"--compile on needs a compiler .* \(no g\+\+\)"):
        chosen("on")


def test_a_plan_says_what_was_chosen() -> None:
    plan = make_plan(digits(), "ce", 0, {"device": "cpu"})
    assert not plan.engine.compiled
    assert "not compiled: too short" in plan.engine.describe()


def test_a_frozen_backbone_is_not_worth_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "trouble_compiling", compiler("no g++"))
    from safetensors.torch import save_file

    save_file(ResNet32().state_dict(), tmp_path / "weights.safetensors")
    weights = str(tmp_path / "weights.safetensors")
    plan = make_plan(digits(), "ce", 0, {"device": "cpu", "freeze": True, "weights": weights, "compile": "on"})
    assert not plan.engine.compiled
    assert "compiled" not in plan.engine.describe()


def test_a_network_that_the_compiler_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = type("Unsupported", (RuntimeError,), {"__module__": "torch._dynamo.exc"})

    def refuse(*arguments: object) -> None:
        raise refusal("a strange operator\nat length")

    monkeypatch.setattr(torch, "compile", lambda *arguments, **options: refuse)
    with pytest.raises(LongtailError, match=r"cannot be compiled \(a strange operator\); give --compile off"):
        compiled(Tiny())(torch.zeros(1, 3, 8, 8))


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="expected input"):
        Tiny()(torch.zeros(1, 1, 8, 8))


def part() -> Part:
    """100 images: of batches of 32, four are left over."""
    generator = np.random.default_rng(0)
    labels = np.arange(100) % 10
    images = generator.integers(0, 256, (100, 3, 8, 8), dtype=np.uint8)
    return Part(labels, tuple(map(str, labels)), InMemory(torch.from_numpy(images)))


def trained(folder: Path, *, compiled: bool) -> dict[str, Tensor]:
    folder.mkdir()
    engine = Engine(FLOAT32.device, FLOAT32.precision, FLOAT32.reason, threads=1, compiled=compiled)
    torch.manual_seed(0)
    classifier = Classifier(Tiny(), Linear(8, 10))
    with engine.running():
        trainer = Trainer(engine, DIGITS, RunFolder(folder), workers=0, watcher=Watcher())
        what = stage(epochs=2, batch_size=32, learns=WHOLE_NETWORK)
        return dict(trainer.fit(classifier, what, part(), Turn(1, 1, 1), Key.of_seed(0)).state_dict())


@pytest.mark.skipif(not HAS_COMPILER, reason="there is no compiler here")
def test_a_compiler_is_found_by_using_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert trouble_compiling(torch.device("cpu")) is None
    assert capfd.readouterr() == ("", "")


def test_a_compiled_training_is_the_same_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.utils import counters

    # The whole way but the C++ compiler, which takes seconds a kernel: benchmarks/same_losses.py goes that too.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch.compiler.reset()
    counters.clear()
    plain = trained(tmp_path / "plain", compiled=False)
    assert counters["stats"]["unique_graphs"] == 0
    first, second = (trained(tmp_path / name, compiled=True) for name in ("first", "second"))
    assert counters["stats"]["unique_graphs"] == 1, "images left over and a second training compile nothing"
    for name, tensor in plain.items():
        torch.testing.assert_close(first[name], tensor, rtol=1e-4, atol=1e-5)
        assert torch.equal(first[name], second[name])
