"""Checkpoints made elsewhere: the same logits, the classes said by somebody, and nothing of theirs run."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from longtail.data.images.preprocessing import Preprocessing
from longtail.deploy.foreign import load_foreign, read_preprocessing
from longtail.errors import LongtailError
from longtail.models.backbones import build_backbone, data_config, feature_size

CLASSES = ("ant", "bee", "crab", "dove", "eel")
TIMM, TORCHVISION = "resnet18", "torchvision/resnet18"


def network(backbone: str) -> nn.Module:
    """As anybody would make it, without longtail."""
    torch.manual_seed(0)
    if backbone.startswith("torchvision/"):
        made: nn.Module = torchvision.models.get_model(backbone.partition("/")[2], weights=None, num_classes=5)
    else:
        import timm

        made = timm.create_model(backbone, num_classes=5)
    for buffer in made.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2)
    return made.eval()


@pytest.fixture(scope="module", params=[TIMM, TORCHVISION])
def original(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    return request.param, network(request.param)


def same_logits(path: Path, backbone: str, original: nn.Module, **known: Any) -> None:
    images = torch.randn(2, 3, 64, 64)
    before = path.read_bytes()
    classifier, architecture, preprocessing = load_foreign(path, backbone=backbone, **known)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images), original(images))
    assert path.read_bytes() == before
    assert classifier.classes == architecture.classes == CLASSES
    assert not classifier.training
    assert preprocessing == Preprocessing.of_timm(data_config(classifier.backbone))
    built = architecture.build()
    built.load_state_dict(classifier.state_dict())


def test_safetensors_that_name_their_classes(original: tuple[str, nn.Module], tmp_path: Path) -> None:
    backbone, whole = original
    path = tmp_path / "whole.safetensors"
    save_file(whole.state_dict(), path, metadata={"classes": json.dumps(CLASSES)})
    same_logits(path, backbone, whole)
    same_logits(path, backbone, whole, classes=CLASSES)


WRAPPED: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "bare": lambda tensors: tensors,
    "a list": lambda tensors: {"state_dict": tensors, "classes": list(CLASSES), "epoch": 3, "lr": 0.1},
    "numbers": lambda tensors: {"model": tensors, "class_to_idx": {name: i for i, name in enumerate(CLASSES)}},
    "names": lambda tensors: {"model_state_dict": tensors, "id2label": {str(i): c for i, c in enumerate(CLASSES)}},
    "both": lambda tensors: {
        "model": {"state_dict": tensors},
        "class_names": CLASSES,
        "idx_to_class": dict(enumerate(CLASSES)),
    },
    "compiled in parallel": lambda tensors: {
        "state_dict_ema": {f"module._orig_mod.{name}": tensor for name, tensor in tensors.items()}
    },
    "lightning": lambda tensors: {"state_dict": {f"model.{name}": tensor.double() for name, tensor in tensors.items()}},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_pytorchs_own_format(name: str, original: tuple[str, nn.Module], tmp_path: Path) -> None:
    backbone, whole = original
    path = tmp_path / "whole.pth"
    content = WRAPPED[name](dict(whole.state_dict()))
    torch.save(content, path)
    says_classes = bool(content.keys() & {"classes", "class_to_idx", "id2label", "class_names"})
    same_logits(path, backbone, whole, **({} if says_classes else {"classes": CLASSES}))


def test_a_classifier_without_bias_has_none(tmp_path: Path) -> None:
    whole = network(TORCHVISION)
    whole.fc = nn.Linear(512, 5, bias=False)
    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    same_logits(tmp_path / "whole.pt", TORCHVISION, whole, classes=CLASSES)


def test_a_layer_between_maps_and_features(tmp_path: Path) -> None:
    whole = network("mobilenetv3_small_100")
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    same_logits(tmp_path / "whole.safetensors", "mobilenetv3_small_100", whole, classes=CLASSES)


def test_our_resnet32_needs_its_preprocessing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body, linear = build_backbone("resnet32"), nn.Linear(64, 5)
    tensors = {**body.state_dict(), **{f"linear.{name}": tensor for name, tensor in linear.state_dict().items()}}
    path = tmp_path / "cifar.safetensors"
    save_file(tensors, path)
    with pytest.raises(LongtailError, match="without preprocessing; say what"):
        load_foreign(path, backbone="resnet32", classes=CLASSES)
    given = Preprocessing((32, 32), (0.4, 0.5, 0.6), (0.2, 0.2, 0.2), "bilinear")
    classifier, _, told = load_foreign(path, backbone="resnet32", classes=CLASSES, preprocessing=given.description())
    assert told == given
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images), linear(body.eval()(images)))
    with pytest.raises(LongtailError, match="--preprocessing needs size, mean"):
        load_foreign(path, backbone="resnet32", classes=CLASSES, preprocessing={"size": [32, 32]})


def test_a_preprocessing_in_a_file(tmp_path: Path) -> None:
    described = Preprocessing((32, 32), crop_fraction=0.9).description()
    path = tmp_path / "model.json"
    for content in (described, {"backbone": "resnet32", "preprocessing": described}):
        path.write_text(json.dumps(content))
        assert Preprocessing.of(read_preprocessing(path)) == Preprocessing((32, 32), crop_fraction=0.9)
    for wrong, sentence in ((b"{", "is not JSON"), (b"[1]", "holds no JSON object"), (b"\xff", "is not JSON")):
        path.write_bytes(wrong)
        with pytest.raises(LongtailError, match=sentence):
            read_preprocessing(path)
    with pytest.raises(LongtailError, match="No such file"):
        read_preprocessing(tmp_path / "gone.json")


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "swin_t", "efficientnet_b1"])
@pytest.mark.parametrize("size", [(300, 410), (224, 224), (97, 250)])
def test_torchvisions_preprocessing_is_torchvisions(name: str, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((size[1], size[0]))
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    ours = Preprocessing.of_timm(data_config(build_backbone(f"torchvision/{name}")))
    torch.testing.assert_close(ours(image), preset(image), atol=1e-5, rtol=0)


def test_a_network_for_one_size_is_built_for_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.get_model("vit_b_32", weights=None, image_size=64, num_classes=5).eval()
    save_file(whole.state_dict(), tmp_path / "vit.safetensors")
    classifier, _, preprocessing = load_foreign(
        tmp_path / "vit.safetensors", backbone="torchvision/vit_b_32", classes=CLASSES, image_size=64
    )
    assert preprocessing.size == (64, 64)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images), whole(images))


@pytest.mark.parametrize(("name", "size"), [("vgg11_bn", 4096), ("mobilenet_v3_small", 1024), ("densenet121", 1024)])
def test_torchvisions_backbones_give_features(name: str, size: int) -> None:
    backbone = build_backbone(f"torchvision/{name}").eval()
    with torch.no_grad():
        assert backbone(torch.randn(2, 3, 64, 64)).shape == (2, size)
    assert feature_size(backbone) == size


@pytest.mark.parametrize(
    "name", ["torchvision/resnet19", "torchvision/squeezenet1_0", "torchvision/fasterrcnn_resnet50_fpn"]
)
def test_other_networks_of_torchvision_are_unknown(name: str) -> None:
    with pytest.raises(LongtailError, match=f"Unknown backbone '{name}'"):
        build_backbone(name)


# What is refused. Each sentence names the file, and says what to do.


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.canary,))


def hostile_files(folder: Path, canary: Path) -> list[Path]:
    """Code in the formats that PyTorch has written, beside and inside of proper tensors."""
    tensors = {"fc.weight": torch.zeros(5, 512)}
    traps: dict[str, Any] = {"alone": Trap(canary), "inside": {"state_dict": tensors, "classes": Trap(canary)}}
    paths = []
    for name, content in traps.items():
        for modern in (True, False):
            path = folder / f"{name}-{modern}.pt"
            torch.save(content, path, _use_new_zipfile_serialization=modern)
            paths.append(path)
        plain = folder / f"{name}-pickle.bin"
        plain.write_bytes(pickle.dumps(content))
        paths.append(plain)
    built = folder / "built.pth"
    with zipfile.ZipFile(built, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch " + bytes(canary) + b"'\ntR.")
        archive.writestr("archive/version", b"3\n")
    return [*paths, built]


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for path in hostile_files(tmp_path, canary):
        with pytest.raises(LongtailError, match="holds more than tensors and plain values, or is damaged"):
            load_foreign(path, backbone=TORCHVISION, classes=CLASSES)
        assert not canary.exists(), path
    pickle.loads((tmp_path / "alone-pickle.bin").read_bytes())  # the trap is one
    assert canary.exists()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pt", b""),
        ("text.pth", b"weights"),
        ("text.safetensors", b"weights of a network"),
        ("huge.safetensors", b"\xff" * 8 + b"{}"),
    ],
)
def test_what_is_no_checkpoint_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LongtailError, match=name):
        load_foreign(tmp_path / name, backbone=TORCHVISION, classes=CLASSES)


def test_half_a_checkpoint_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    torch.save(network(TORCHVISION).state_dict(), whole)
    (tmp_path / "half.pt").write_bytes(cut(whole.getvalue()))
    with pytest.raises(LongtailError, match=r"half\.pt"):
        load_foreign(tmp_path / "half.pt", backbone=TORCHVISION, classes=CLASSES)


def test_an_older_pytorch_reads_no_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(network(TORCHVISION).state_dict(), tmp_path / "whole.pt")
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.1"))
    with pytest.raises(LongtailError, match=r"PyTorch 2.9.1 does not read whole.pt safely; install 2.10"):
        load_foreign(tmp_path / "whole.pt", backbone=TORCHVISION, classes=CLASSES)


def state(**changes: Any) -> dict[str, Any]:
    """A checkpoint that would do, with some tensors replaced and those that are None left out."""
    tensors = {**network(TORCHVISION).state_dict(), **changes}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


WRONG: dict[str, tuple[Any, str]] = {
    "a list": ([torch.zeros(1)], "holds a list, not tensors by name"),
    "nothing": ({"epoch": 1}, "holds no tensors by name"),
    "a parser's result": ({"state_dict": {}, "args": Namespace(lr=1)}, "holds more than tensors"),
    "no classifier": (
        state(**{"fc.weight": None}),
        r"no classifier fc.weight; .* is torchvision/resnet18 its backbone",
    ),
    "a narrower one": (
        state(**{"fc.weight": torch.zeros(5, 64)}),
        "takes 64 features, but torchvision/resnet18 gives 512",
    ),
    "a longer bias": (state(**{"fc.bias": torch.zeros(6)}), "weights for 5 outputs, but a bias for 6"),
    "a tensor less": (state(**{"layer1.0.conv1.weight": None}), "lacks 'layer1.0.conv1.weight'"),
    "a tensor more": (state(extra=torch.zeros(1)), "holds an unknown 'extra'"),
    "another shape": (state(**{"conv1.weight": torch.zeros(64, 3, 3, 3)}), "another shape of 'conv1.weight'"),
    "too few classes": ({"model": state(), "classes": list(CLASSES[:4])}, "5 outputs, but there are 4 classes"),
    "a class twice": ({"model": state(), "classes": [*CLASSES[:4], "ant"]}, "'ant' more than once"),
    "no order": ({"model": state(), "class_to_idx": {"ant": 0, "bee": 2}}, "'class_to_idx' is no order"),
    "two orders": (
        {"model": state(), "classes": list(CLASSES), "class_names": list(CLASSES[::-1])},
        r"orders of classes that differ \(classes, class_names\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_sentence(name: str, tmp_path: Path) -> None:
    content, sentence = WRONG[name]
    torch.save(content, tmp_path / "wrong.pt")
    with pytest.raises(LongtailError, match=sentence) as caught:
        load_foreign(tmp_path / "wrong.pt", backbone=TORCHVISION, classes=None if "class" in name else CLASSES)
    assert "wrong.pt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_must_be_said_and_agree(tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    save_file(state(), path)
    with pytest.raises(LongtailError, match="which class each of its 5 outputs stands for; give --classes FILE"):
        load_foreign(path, backbone=TORCHVISION)
    save_file(state(), path, metadata={"classes": json.dumps(CLASSES)})
    swapped = ("bee", "ant", *CLASSES[2:])
    with pytest.raises(LongtailError, match="'bee' stands where the file has 'ant'"):
        load_foreign(path, backbone=TORCHVISION, classes=swapped)
    with pytest.raises(LongtailError, match="one is longer"):
        load_foreign(path, backbone=TORCHVISION, classes=CLASSES[:4])


def test_missing_files_and_other_kinds_are_named(tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"There is no file .*gone\.pt"):
        load_foreign(tmp_path / "gone.pt", backbone=TORCHVISION, classes=CLASSES)
    with pytest.raises(LongtailError, match=r"Unknown kind of checkpoint '\.ckpt2'"):
        load_foreign(tmp_path / "gone.ckpt2", backbone=TORCHVISION, classes=CLASSES)


def test_a_model_of_longtail_is_not_foreign(tmp_path: Path) -> None:
    save_file({"backbone.conv1.weight": torch.zeros(1), "head.weight": torch.zeros(5, 64)}, tmp_path / "m.safetensors")
    with pytest.raises(LongtailError, match="give its run folder"):
        load_foreign(tmp_path / "m.safetensors", backbone=TORCHVISION, classes=CLASSES)
