"""A method's step held against a reference that was written from the equations."""

from __future__ import annotations

__all__ = ["assert_step_agrees"]

from typing import Any

import torch
from torch import Tensor

from attn.data.sample import Batch
from attn.methods import MethodConfig, Progress
from attn.models import Network


def assert_step_agrees(
    network: Network, batch: Batch, config: dict[str, Any], expected: dict[str, Tensor], progress: Progress
) -> None:
    """The losses, and the gradient of `loss` by every parameter, are those of the reference."""
    expected["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}

    network.zero_grad(set_to_none=True)
    method = MethodConfig.members[config["name"]].model_validate(config).build()
    parts = method.step(network, batch, progress).losses
    parts["loss"].backward()
    assert parts.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(parts[name].detach(), value.detach(), msg=name)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-9, atol=1e-12, msg=name)
