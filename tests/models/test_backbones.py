from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from longtail.errors import LongtailError
from longtail.models.backbones import (
    build_backbone,
    check_backbone,
    data_config,
    feature_size,
    load_file,
    load_pretrained,
)
from longtail.models.classifier import Architecture


def test_an_unknown_backbone_names_the_nearest() -> None:
    with pytest.raises(LongtailError, match=r"Unknown backbone 'resnet32x'; did you mean .*resnet32"):
        build_backbone("resnet32x")


def test_weights_of_a_whole_network_fit_its_backbone(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(1)
    whole: Any = timm.create_model("test_resnet", num_classes=7)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    backbone = build_backbone("test_resnet")
    load_file(backbone, tmp_path / "whole.safetensors")
    images = torch.randn(2, 3, 64, 64)
    whole.eval(), backbone.eval()
    torch.testing.assert_close(backbone(images), whole.forward_head(whole.forward_features(images), pre_logits=True))


def test_weights_of_a_run_fit_its_backbone(tmp_path: Path) -> None:
    description = {"kind": "linear"}
    run = Architecture("resnet32", None, description, ("a", "b", "c")).build()
    save_file(run.state_dict(), tmp_path / "model.safetensors")
    backbone = build_backbone("resnet32")
    load_file(backbone, tmp_path / "model.safetensors")
    assert all(torch.equal(tensor, backbone.state_dict()[n]) for n, tensor in run.backbone.state_dict().items())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(build_backbone("test_vit").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(LongtailError, match=r"other.safetensors does not fit this backbone"):
        load_file(build_backbone("resnet32"), tmp_path / "other.safetensors")


def test_a_file_that_is_not_safetensors_is_named(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_text("not weights")
    with pytest.raises(LongtailError, match=r"weights.safetensors as safetensors .* --weights none"):
        load_file(build_backbone("resnet32"), tmp_path / "weights.safetensors")


def test_a_network_without_published_weights_says_so() -> None:
    with pytest.raises(LongtailError, match=r"no weights published as safetensors; use --weights none"):
        load_pretrained("resnet32", build_backbone("resnet32"))


def test_torchvisions_networks_are_backbones_too(tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(1)
    whole: Any = torchvision.models.resnet18(num_classes=7)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    check_backbone("torchvision/resnet18")
    backbone = build_backbone("torchvision/resnet18")
    load_file(backbone, tmp_path / "whole.safetensors")
    whole.fc = torch.nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(backbone.eval()(images), whole.eval()(images))
    config = data_config(backbone)
    assert (config["input_size"], config["crop_pct"], config["interpolation"]) == ((3, 224, 224), 0.875, "bilinear")
    assert config["mean"] == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "test_vit", "test_resnet", "torchvision/vgg11"])
def test_the_feature_size_is_that_of_the_features(name: str) -> None:
    backbone = build_backbone(name).eval()
    side = data_config(backbone)["input_size"][-1]
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, side, side)).shape == (1, feature_size(backbone))
