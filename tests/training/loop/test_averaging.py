"""The moving average against its formula, written out by hand."""

from __future__ import annotations

import pytest
import torch

from longtail.training.loop.averaging import moving_average
from tiny_training import Counting


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_weights_and_statistics_follow_the_formula(decay: float) -> None:
    model = Counting()
    average = moving_average(model, decay)
    expected: dict[str, torch.Tensor] = {}
    for step in range(1, 21):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model.train()(torch.rand(4, 3, 8, 8))  # moves the running statistics
        average.update_parameters(model)
        for name, now in model.state_dict().items():
            kept = 0.0 if step == 1 else min(decay, step / (9 + step))
            before = expected.get(name, now).double()
            expected[name] = kept * before + (1 - kept) * now if now.is_floating_point() else now.clone()
    for name, tensor in average.module.state_dict().items():
        torch.testing.assert_close(tensor.double(), expected[name].double(), rtol=1e-5, atol=1e-6, msg=name)


def test_a_short_training_does_not_end_where_it_began() -> None:
    """With 0.999 from the first step on, 95 of 100 parts of a training of 50 steps would be its beginning."""
    model = torch.nn.Linear(1, 1)
    average = moving_average(model, 0.999)
    for step in range(51):
        torch.nn.init.constant_(model.weight, float(step))
        average.update_parameters(model)
    (weight,) = (tensor.item() for name, tensor in average.module.named_parameters() if name == "weight")
    assert 40 < weight < 50


def test_what_does_not_move_keeps_every_bit() -> None:
    model = Counting()
    average = moving_average(model, 0.9)
    for _ in range(3):
        average.update_parameters(model)
    for name, tensor in average.module.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
