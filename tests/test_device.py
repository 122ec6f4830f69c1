"""Devices that are here and that are not, and a batch that does not fit into the memory of a device."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from longtail.device import choose_device, copies_behind, in_parts_that_fit
from longtail.errors import LongtailError


class Narrow:
    """A network on a device with memory for so many images."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return images.flatten(1)[:, :2]


@pytest.mark.parametrize("room", [1, 2, 3, 5, 7, 100])
def test_what_does_not_fit_at_once_goes_in_parts(room: int) -> None:
    images, network = torch.randn(7, 3, 4, 4), Narrow(room)
    assert torch.equal(in_parts_that_fit(network, images), images.flatten(1)[:, :2])
    assert sum(size for size in network.sizes if size <= room) == 7


def test_where_one_image_does_not_fit_it_is_said() -> None:
    with pytest.raises(LongtailError, match=r"does not suffice for one image of 5 x 4 pixels; .*--device cpu"):
        in_parts_that_fit(Narrow(0), torch.zeros(3, 3, 4, 5))


def test_other_errors_are_not_about_memory() -> None:
    def network(images: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        in_parts_that_fit(network, torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("name", ["meta", "tpu9", "cuda:63", *([] if torch.backends.mps.is_available() else ["mps"])])
def test_a_device_that_is_not_here_is_one_short_sentence(name: str) -> None:
    with pytest.raises(LongtailError, match=f"Device '{name}' cannot be used here") as caught:
        choose_device(name)
    assert str(caught.value).endswith("; use --device auto or cpu.")
    assert len(str(caught.value)) < 250


def test_only_cuda_copies_while_the_processor_goes_on() -> None:
    assert [copies_behind(torch.device(name)) for name in ("cuda", "cuda:1", "mps", "cpu")] == [
        True,
        True,
        False,
        False,
    ]
