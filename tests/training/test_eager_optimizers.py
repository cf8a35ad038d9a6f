"""The optimisers without PyTorch's compiler do what PyTorch's own do, bit by bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from attn.models import eager_optimizers

KINDS = [
    (eager_optimizers.SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (eager_optimizers.Adam, torch.optim.Adam, {"betas": (0.8, 0.99)}),
    (eager_optimizers.AdamW, torch.optim.AdamW, {"weight_decay": 0.1}),
]


@pytest.mark.parametrize(("ours", "theirs", "options"), KINDS)
def test_steps_and_states_are_those_of_pytorch(
    ours: type[torch.optim.Optimizer], theirs: type[torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    weights, states = zip(*(three_steps(kind, options) for kind in (ours, theirs)), strict=True)
    assert torch.equal(*weights)
    assert [state["param_groups"] for state in states] == [states[1]["param_groups"]] * 2
    moments = [[value for each in state["state"].values() for value in each.values()] for state in states]
    assert all(torch.equal(one, other) for one, other in zip(*moments, strict=True))


def three_steps(kind: Any, options: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
    """Weights and state after three steps, before the last of which another optimiser takes over from the state."""
    generator = torch.Generator().manual_seed(1)
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(2, 3, generator=generator))
        layer.bias.zero_()
    groups = [{"params": [layer.weight], "lr": 0.1}, {"params": [layer.bias], "weight_decay": 0.01}]
    optimizer = kind(groups, lr=0.01, **options)
    for step in range(3):
        if step == 2:
            state = optimizer.state_dict()
            optimizer = kind(layer.parameters(), lr=1.0)
            optimizer.param_groups.clear()
            for group in groups:
                optimizer.add_param_group(group)
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        layer(torch.randn(4, 3, generator=generator)).square().sum().backward()
        optimizer.step()
        assert all(parameter.requires_grad for parameter in layer.parameters())
    return torch.cat([layer.weight.detach().flatten(), layer.bias.detach()]), optimizer.state_dict()
