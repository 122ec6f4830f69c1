"""CIFAR by name: the official files where there are any, and a sentence where there are none."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision

from longtail.data.open import open_images
from longtail.data.pixels import InMemory
from longtail.errors import LongtailError


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def tiny_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files in CIFAR-10's format with 40 training and 20 test images, which torchvision is told to be the official."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.default_rng(0)

    def write(name: str, content: dict[str, Any]) -> str:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()  # noqa: S324  (torchvision's choice)

    def batch(count: int) -> dict[str, Any]:
        data = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        return {"data": data, "labels": (np.arange(count) % 10).tolist()}

    source = torchvision.datasets.CIFAR10
    names = [f"class{index}" for index in range(10)]
    monkeypatch.setattr(source, "train_list", [[n, write(n, batch(20))] for n in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(source, "test_list", [["test_batch", write("test_batch", batch(20))]])
    md5 = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(source, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5})
    return tmp_path


def test_files_become_parts_with_official_indices(tiny_cifar10: Path) -> None:
    images = open_images("cifar10", {"data_root": tiny_cifar10})
    assert images.counts.per_class == (4,) * 10
    assert images.train.identities[:2] == ("train/0", "train/1")
    assert images.test is not None
    assert images.test.identities[-1] == "test/19"
    assert images.train.labels.tolist() == [index % 10 for index in range(20)] * 2
    raw = pickle.loads((tiny_cifar10 / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    assert isinstance(images.train.pixels, InMemory)
    np.testing.assert_array_equal(images.train.pixels.images[25].numpy(), raw["data"][5].reshape(3, 32, 32))
    assert (images.kind, images.size, images.validation) == ("cifar", (32, 32), None)


def test_imbalance_and_validation(tiny_cifar10: Path) -> None:
    images = open_images("cifar10", {"data_root": tiny_cifar10, "imbalance": 4, "val": 0.25})
    assert images.validation is not None
    assert len(images.train) + len(images.validation) == sum(int(4 / 4 ** (index / 9)) for index in range(10))
    for part in images.parts.values():
        for identity, label in zip(part.identities, part.labels, strict=True):
            assert int(identity.split("/")[1]) % 10 == label


def test_files_with_another_md5_are_never_unpickled(tiny_cifar10: Path) -> None:
    mark, hostile = tiny_cifar10 / "mark", pickle.dumps(Payload(tiny_cifar10 / "mark"))
    pickle.loads(hostile)
    assert mark.exists()
    mark.unlink()
    (tiny_cifar10 / "cifar-10-batches-py" / "data_batch_2").write_bytes(hostile)
    with pytest.raises(LongtailError, match="does not hold the official files of cifar10"):
        open_images("cifar10", {"data_root": tiny_cifar10})
    assert not mark.exists()


def test_absent_files_without_network_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    for root in (tmp_path / "new" / "data", tmp_path):
        with pytest.raises(LongtailError, match="name the folder that has them with --data-root") as caught:
            open_images("cifar100", {"data_root": root})
        assert "no network here" in str(caught.value)
        assert "cifar-100-python" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_arrives_whole(tiny_cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, root: str, **kwargs: object) -> None:
        (tiny_cifar10 / "cifar-10-batches-py").rename(Path(root) / "cifar-10-batches-py")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fetch)
    root = tmp_path / "data"
    assert len(open_images("cifar10", {"data_root": root}).train) == 40
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]


REAL = os.environ.get("LONGTAIL_DATA")


@pytest.mark.skipif(REAL is None, reason="LONGTAIL_DATA names no folder with the official CIFAR files")
@pytest.mark.parametrize("form", ["cifar10", "folders"])
def test_the_real_set_at_ratio_100(form: str) -> None:
    root = Path(REAL or "")
    images = open_images("cifar10" if form == "cifar10" else root / "cifar10", {"data_root": root, "imbalance": 100})
    assert images.counts.per_class == (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
    assert images.test is not None
    assert len(images.test) == 10_000
    assert images.classes[:2] == ("airplane", "automobile")
