"""Backward passes and updates of the networks that a run trains, without the host waiting for the device."""

from __future__ import annotations

__all__ = ["Updater", "fused"]

import contextlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from attn.methods.base import Auxiliary
from attn.training.optimizer import build_optimizer
from attn.training.run_config import RunConfig
from attn.training.world import World

IMPLEMENTATIONS = ("fused", "foreach", "capturable", "differentiable")


def fused(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same optimiser, of one kernel, which the device can tell to leave weights and state as they are."""
    groups = [
        {name: value for name, value in group.items() if name not in IMPLEMENTATIONS}
        for group in optimizer.param_groups
    ]
    kind: Any = type(optimizer)
    faster: torch.optim.Optimizer = kind(groups, fused=True)
    if isinstance(faster, torch.optim.SGD):
        faster.register_step_pre_hook(_begin_momentum)
    return faster


def _begin_momentum(optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
    """Begin momentum at zero, which makes the first one the gradient, as PyTorch's other kernels do.

    The fused kernel begins in uninitialised memory, and leaves it so if it is told to skip the first step; nor does it
    take parameters with and without momentum in one step.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            state = optimizer.state[parameter] if parameter.grad is not None else None
            if state is not None and state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


class Updater:
    """Updates a network and, if the method has one, a second one.

    From the first loss on that is not finite, weights and optimisers' states stay as they are. On the CPU the update is
    not made. On another device its kernel leaves them as they are, so that the host need not know in time.

    Attributes:
        model: The network, wrapped if several workers train it.
        blocked: bool scalar on the device: whether a loss so far was not finite.
    """

    def __init__(self, network: nn.Module, auxiliary: Auxiliary | None, config: RunConfig, world: World) -> None:
        self.network, self.config, self.world = network, config, world
        self.blocked = torch.zeros((), dtype=torch.bool, device=world.device)
        self.optimizer = self._guarded(build_optimizer(network, config.optimizer))
        self.auxiliary = auxiliary
        if auxiliary is not None:
            auxiliary.module.to(world.device)
            self.auxiliary = replace(auxiliary, optimizer=self._guarded(auxiliary.optimizer))
        self.model: nn.Module = network
        if world.size > 1:
            # Buffers stay each worker's own after the start: a broadcast in the forward would overwrite what the first
            # of two forward passes saved for its backward.
            ids = [world.device.index] if world.device.type == "cuda" else None
            self.model = DistributedDataParallel(
                network, device_ids=ids, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=config.training.precision == "float16")

    def set_rate(self, factor: float) -> None:
        """Set the learning rates to a factor of those that the config gives."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor

    def block(self, bad: Tensor) -> None:
        """Leave out all updates from now on if the bool scalar `bad` is true; it must be equal on all workers."""
        self.blocked = self.blocked | bad

    def micro_batch(self, *, last: bool) -> contextlib.AbstractContextManager[Any]:
        """The context of a micro-batch, for both its forward and its backward pass.

        Args:
            last: The last micro-batch of its step: its backward pass averages the gradients over the workers.
        """
        if last or not isinstance(self.model, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.model.no_sync()

    def backward(self, losses: dict[str, Tensor], group: int) -> None:
        """Add a micro-batch's gradients.

        Args:
            group: Micro-batches of the optimiser step.
        """
        self.scaler.scale(losses["loss"] / group).backward()
        if self.auxiliary is not None:
            self.scaler.scale(losses[self.auxiliary.loss] / group).backward()

    def step(self) -> None:
        """Update the networks by their gradients, and clear these."""
        if self.world.device.type != "cpu" or not bool(self.blocked):
            self._apply()
        if self.auxiliary is not None:
            self.auxiliary.module.zero_grad(set_to_none=True)
        self.network.zero_grad(set_to_none=True)  # those too that the optimiser leaves as they are

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps besides the network."""
        state = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        if self.auxiliary is not None:
            state["auxiliary"] = self.auxiliary.module.state_dict()
            state["auxiliary_optimizer"] = self.auxiliary.optimizer.state_dict()
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state; raises errors of many kinds where it does not fit."""
        _load(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.auxiliary is not None:
            self.auxiliary.module.load_state_dict(state["auxiliary"])
            _load(self.auxiliary.optimizer, state["auxiliary_optimizer"])

    def _apply(self) -> None:
        if self.config.training.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.config.training.clip_norm)
        self.scaler.step(self.optimizer)
        if self.auxiliary is not None:
            self.world.average_gradients(self.auxiliary.module)
            self.scaler.step(self.auxiliary.optimizer)
        self.scaler.update()

    def _guarded(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        if self.world.device.type == "cpu":
            return optimizer
        optimizer = fused(optimizer)
        optimizer.register_step_pre_hook(self._tell_blocked)
        return optimizer

    def _tell_blocked(self, optimizer: Any, arguments: Any, options: Any) -> None:
        """Add `blocked` to what the scaler of gradients reports, which PyTorch's fused kernels read."""
        overflow, blocked = getattr(optimizer, "found_inf", None), self.blocked.float()
        optimizer.found_inf = blocked if overflow is None else torch.maximum(overflow, blocked)


def _load(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimizer's state, but keep the settings of the config, which may have changed since."""
    settings = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    # PyTorch puts the counts of steps where the optimiser's kernel reads them, on the host or on the device.
    kernel = {"fused": optimizer.defaults["fused"]}
    optimizer.load_state_dict(state | {"param_groups": [group | kernel for group in state["param_groups"]]})
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
