"""Optimiser and its parameter groups: the papers give head and biases rates of their own."""

from __future__ import annotations

__all__ = ["OptimizerConfig", "build_optimizer"]

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from attn.config.base import Config
from attn.models.eager_optimizers import SGD, Adam, AdamW


class Multipliers(Config):
    """Factors on the learning rate by group.

    Attributes:
        backbone_weight: Factor for weights below the head.
        backbone_bias: Factor for biases and normalisation layers below the head.
        head_weight: Factor for weights of the head.
        head_bias: Factor for biases of the head.
    """

    backbone_weight: float = Field(default=1.0, ge=0)
    backbone_bias: float = Field(default=1.0, ge=0)
    head_weight: float = Field(default=10.0, ge=0)
    head_bias: float = Field(default=10.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("all multipliers are 0, which trains nothing: set one above 0")
        return self


class OptimizerConfig(Config):
    """Configuration of the optimizer.

    Attributes:
        name: Which optimiser.
        lr: Learning rate, before the multipliers and the schedule.
        momentum: Momentum of SGD; the first beta of Adam and AdamW.
        nesterov: Nesterov's momentum, with SGD only.
        weight_decay: Factor of the L2 penalty; of AdamW, decoupled from the gradient.
        decay_biases: Whether biases and normalisation layers decay too.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=5e-4, ge=0)
    decay_biases: bool = False
    multipliers: Multipliers = Multipliers()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs optimizer.name=sgd and optimizer.momentum above 0")
        return self


def build_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """An optimiser over the trainable parameters, in four groups.

    Biases are all parameters of one dimension, normalisation layers' weights among them. Each group remembers its
    undecayed rate as `base_lr`; a group whose multiplier is 0 is left out.

    Args:
        network: Says by `is_head(name)` which parameters belong to its head.
    """
    is_head = getattr(network, "is_head", lambda name: False)
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = f"{'head' if is_head(name) else 'backbone'}_{'bias' if parameter.ndim <= 1 else 'weight'}"
            groups.setdefault(key, []).append(parameter)
    multipliers = config.multipliers.model_dump()
    described = []
    for key, parameters in sorted(groups.items()):
        lr = config.lr * multipliers[key]
        if lr == 0:
            continue
        decay = config.weight_decay if key.endswith("weight") or config.decay_biases else 0.0
        described.append({"params": parameters, "lr": lr, "base_lr": lr, "weight_decay": decay, "name": key})
    if config.name == "sgd":
        return SGD(described, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)
    kind = Adam if config.name == "adam" else AdamW
    return kind(described, lr=config.lr, betas=(config.momentum, 0.999))
