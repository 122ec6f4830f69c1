from __future__ import annotations

import torch
from torch import nn

from longtail.models.hashing import weights_hash


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_the_same_weights_have_one_name() -> None:
    one, two = network(), network()
    two.load_state_dict(one.state_dict())
    assert weights_hash(one) == weights_hash(two)
    assert len(weights_hash(one)) == 64
    assert weights_hash(one.to(memory_format=torch.channels_last)) == weights_hash(two)


def test_any_other_bit_name_shape_or_type_has_another() -> None:
    names = {
        weights_hash(network()),
        weights_hash(network().half()),
        weights_hash(nn.Sequential(*network(), nn.ReLU())),
    }
    assert len(names) == 2  # an activation has no weights
    changed = network()
    with torch.no_grad():
        changed[1].running_mean[0] += 1e-7  # type: ignore[index, operator]
    names.add(weights_hash(changed))
    reshaped = network()
    reshaped[0].weight = nn.Parameter(torch.as_tensor(reshaped[0].weight).reshape(4, 27, 1, 1))
    names.add(weights_hash(reshaped))
    renamed = nn.ModuleDict({"a": network()[0], "b": network()[1]})
    names.add(weights_hash(renamed))
    assert len(names) == 5
