"""PyTorch's optimisers without the hooks for `torch.compile`, which import the compiler when an optimiser is created.

That import takes 2 s of CPU time in every training process, and nothing here is compiled. PyTorch has no setting for
it. The hooks are decorators, which are removed here. If a later PyTorch uses other decorators, the compiler is imported
again and nothing else changes. With several workers it is imported anyway, by `DistributedDataParallel`.
"""

from __future__ import annotations

__all__ = ["SGD", "Adam", "AdamW"]

import inspect

import torch

HOOKED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


class SGD(torch.optim.SGD):
    """As PyTorch's."""


class Adam(torch.optim.Adam):
    """As PyTorch's."""


class AdamW(torch.optim.AdamW):
    """As PyTorch's."""


def _without_hooks(kind: type[torch.optim.Optimizer]) -> None:
    for name in HOOKED:
        setattr(kind, name, inspect.unwrap(getattr(kind, name)))
    kind.step = torch.no_grad()(inspect.unwrap(kind.step))


for _kind in (SGD, Adam, AdamW):
    _without_hooks(_kind)
