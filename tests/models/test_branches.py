"""Branched networks against loops over their branches, layer by layer."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from longtail.errors import LongtailError
from longtail.models.backbones import build_backbone
from longtail.models.branches import BILATERAL, EXPERTS, Bilateral, Branching, SharedTrunk, branch
from longtail.models.classifier import Architecture
from longtail.models.folding import folded
from longtail.models.heads import Cosine, Experts, Linear
from longtail.models.resnet32 import ResNet32

CUTTABLE = ("resnet32", "test_resnet", "resnet18", "seresnext26d_32x4d", "ecaresnet26t", "resnet10t")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def images(number: int = 6) -> Tensor:
    return torch.randn(number, 3, 32, 32)


def untrained(name: str) -> nn.Module:
    return build_backbone(name)


def trained(name: str) -> nn.Module:
    """A network that is nowhere as it begins: weights, norms and their statistics."""
    network = build_backbone(name)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.rand_like(tensor)).add_(0.01)
    return network


def blocks_of(network: Any) -> tuple[list[nn.Module], nn.Module]:
    """All layers up to the last residual block, and that block."""
    if isinstance(network, ResNet32):
        blocks = [block for group in network.groups for block in group]  # type: ignore[attr-defined]
        return [network.stem, *blocks[:-1]], blocks[-1]
    blocks = [block for layer in (1, 2, 3, 4) for block in getattr(network, f"layer{layer}")]
    return [network.conv1, network.bn1, network.act1, network.maxpool, *blocks[:-1]], blocks[-1]


def through(layers: list[nn.Module], maps: Tensor) -> Tensor:
    for layer in layers:
        maps = layer(maps)
    return maps


@pytest.mark.parametrize("name", CUTTABLE)
def test_a_trained_network_predicts_the_same_in_every_branch(name: str) -> None:
    plain = trained(name).eval()
    batch = images()
    expected = plain(batch)
    bilateral = branch(deepcopy(plain), BILATERAL, trained=True).eval()
    assert bilateral.num_features == 2 * plain.num_features  # type: ignore[operator]
    torch.testing.assert_close(bilateral(batch), torch.cat([expected, expected], dim=1))
    if name != "resnet32":  # whose experts are narrower
        experts = branch(deepcopy(plain), EXPERTS, trained=True).eval()
        assert experts.num_features == plain.num_features
        torch.testing.assert_close(experts(batch), torch.stack([expected] * 3, dim=1))


@pytest.mark.parametrize("name", ["resnet32", "test_resnet"])
def test_each_half_of_a_training_batch_goes_its_way(name: str) -> None:
    network = untrained(name)
    bilateral = branch(network, BILATERAL, trained=False).train()
    assert isinstance(bilateral, Bilateral)
    early, last = blocks_of(deepcopy(network))
    other = deepcopy(bilateral.branches[1][0])  # type: ignore[index]
    batch = images(8)
    features = bilateral(batch)
    maps = through(early, batch)
    by_hand = [last(maps[:4]).mean(dim=(2, 3)), other(maps[4:]).mean(dim=(2, 3))]
    torch.testing.assert_close(features, torch.cat(by_hand, dim=1))


def statistics(*layers: nn.Module) -> list[Tensor]:
    return [tensor for name, tensor in nn.ModuleList(layers).named_buffers() if "running" in name]


@pytest.mark.parametrize("name", ["resnet32", "test_resnet"])
def test_the_trunks_batch_norm_sees_both_halves_as_one_batch(name: str) -> None:
    network = untrained(name)
    whole, halves = (blocks_of(deepcopy(network))[0] for _ in range(2))
    bilateral = branch(network, BILATERAL, trained=False).train()
    assert isinstance(bilateral, Bilateral)
    trunk = bilateral.trunk
    batch = torch.cat([images(4), 3 + 2 * images(4)])
    bilateral(batch)
    through(whole, batch)
    for half in batch.chunk(2):
        through(halves, half)
    found, expected, other = (statistics(*layers) for layers in ([trunk], whole, halves))
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found[0], other[0])


def learning(network: nn.Module) -> set[str]:
    """Parameters with a gradient that is not 0, by the child of the network that holds them."""
    moved = {name for name, tensor in network.named_parameters() if tensor.grad is not None and tensor.grad.any()}
    return {".".join(name.split(".")[: 2 if "trunk" not in name else 1]) for name in moved}


@pytest.mark.parametrize("one", [0, 1])
def test_a_branch_learns_from_its_own_features_alone(one: int) -> None:
    bilateral = branch(untrained("resnet32"), BILATERAL, trained=False).train()
    bilateral(images()).chunk(2, dim=1)[one].square().sum().backward()
    assert learning(bilateral) == {"trunk", f"branches.{one}"}


@pytest.mark.parametrize("name", ["resnet32", "test_resnet"])
def test_an_expert_learns_from_its_own_features_alone(name: str) -> None:
    experts = branch(untrained(name), EXPERTS, trained=False).train()
    experts(images())[:, 1].square().sum().backward()
    assert learning(experts) == {"trunk", "experts.1"}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "features"), [("resnet32", 48), ("resnet18", 512), ("seresnext26d_32x4d", 2048)])
def test_experts_are_loops_over_the_experts(name: str, features: int, training: bool) -> None:
    network = branch(untrained(name), Branching("experts", 4), trained=False).train(training)
    assert isinstance(network, SharedTrunk)
    batch, again = images(), deepcopy(network)
    found = network(batch)
    assert found.shape == (6, 4, features)
    assert network.num_features == features
    maps = again.trunk(batch)
    for one, expert in enumerate(again.experts):
        torch.testing.assert_close(found[:, one], expert(maps))


def test_what_experts_share() -> None:
    (narrow, full) = (branch(untrained(name), EXPERTS, trained=False) for name in ("resnet32", "resnet18"))
    assert sum(isinstance(module, nn.Conv2d) for module in narrow.trunk.modules()) == 11  # type: ignore[union-attr]
    channels = [module.out_channels for module in narrow.modules() if isinstance(module, nn.Conv2d)]
    assert channels == [16] * 11 + ([24] * 10 + [48] * 10) * 3
    own = timm.create_model("resnet18", num_classes=0)
    early = sum(p.numel() for n, p in own.named_parameters() if not n.startswith(("layer3", "layer4")))
    late = sum(p.numel() for n, p in own.named_parameters() if n.startswith(("layer3", "layer4")))
    assert sum(p.numel() for p in full.parameters()) == early + 3 * late


@pytest.mark.parametrize("branching", [BILATERAL, EXPERTS], ids=lambda branching: branching.kind)
@pytest.mark.parametrize("name", CUTTABLE)
def test_untrained_copies_differ_and_begin_as_the_network_does(name: str, branching: Branching) -> None:
    network: Any = branch(untrained(name), branching, trained=False)
    first, second = list(network.branches if branching == BILATERAL else network.experts)[:2]
    for (label, one), other in zip(first.named_parameters(), second.parameters(), strict=True):
        if one.dim() == 4:
            assert not torch.equal(one, other), label
            assert one.std().item() == pytest.approx(other.std().item(), rel=0.2), label
        elif "norm" in label or "bn" in label:
            assert torch.equal(one, other), label


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_other_networks_are_shared_by_all_experts_and_never_bilateral(name: str) -> None:
    network = untrained(name)
    assert branch(network, EXPERTS, trained=False) is network
    with pytest.raises(LongtailError, match=rf"{type(network).__name__} has none .* use resnet32, or .* resnet50"):
        branch(network, BILATERAL, trained=False)


def test_an_odd_training_batch_has_no_halves() -> None:
    bilateral = branch(untrained("resnet32"), BILATERAL, trained=False)
    with pytest.raises(LongtailError, match="two halves of a batch, one a branch; 5 images have none"):
        bilateral.train()(images(5))
    assert bilateral.eval()(images(5)).shape == (5, 128)


@pytest.mark.parametrize("branching", [BILATERAL, EXPERTS], ids=lambda branching: branching.kind)
@pytest.mark.parametrize("name", ["resnet32", "test_resnet"])
def test_batch_norm_folds_into_every_branch(name: str, branching: Branching) -> None:
    network = branch(trained(name), branching, trained=False).eval()
    quick = folded(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    batch = images()
    torch.testing.assert_close(quick(batch), network(batch), rtol=1e-3, atol=1e-4)


BUILT = [(name, branching) for name in ("resnet32", "test_resnet") for branching in (None, BILATERAL, EXPERTS)]


@pytest.mark.parametrize(("name", "branching"), [*BUILT, ("test_vit", EXPERTS)], ids=str)
def test_an_architecture_is_built_again_from_its_description(name: str, branching: Branching | None) -> None:
    backbone = untrained(name)
    if branching is not None:
        backbone = branch(backbone, branching, trained=True)
    features: Any = backbone.num_features
    head = Experts([Cosine(features, 3) for _ in range(3)]) if branching == EXPERTS else Linear(features, 3)
    architecture = Architecture(name, None, head.description(), ("a", "b", "c"), branching)
    again = Architecture.of(json.loads(json.dumps(architecture.description())))
    assert again == architecture
    classifier = again.build().eval()
    classifier.backbone.load_state_dict(backbone.state_dict())
    classifier.head.load_state_dict(head.state_dict())
    batch = torch.randn(2, 3, *((160, 160) if name == "test_vit" else (32, 32)))
    torch.testing.assert_close(classifier(batch), head.logits(backbone.eval()(batch)))


def test_descriptions_of_before_say_nothing_of_branches() -> None:
    old = {"backbone": "resnet32", "image_size": None, "head": {"kind": "linear"}, "classes": ["a", "b"]}
    assert Architecture.of(old).branching is None


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ({"kind": "bilaterl", "branches": 2}, "Unknown kind of branches 'bilaterl'; did you mean bilateral"),
        ({"kind": "bilateral", "branches": 3}, "A network of kind bilateral has two branches, not 3"),
        ({"kind": "experts", "branches": 1}, "at least two, not 1"),
    ],
)
def test_branches_that_cannot_be_are_said_so(description: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LongtailError, match=sentence):
        Branching.of(description)
