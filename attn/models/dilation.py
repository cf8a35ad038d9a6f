"""Replaces strides of late stages by dilated convolutions: the same weights on a finer grid."""

from __future__ import annotations

__all__ = ["remove_strides"]

from collections.abc import Iterable

from torch import nn


def remove_strides(stage: Iterable[nn.Module], rate: int) -> int:
    """Remove the strides of a stage, in place, so that it keeps its input's resolution.

    The strided convolution gets the dilation of the preceding stages; later convolutions get twice that. Every second
    position of the output then equals the output of the strided stage. Pooling with stride 2 becomes centred 3×3
    pooling with stride 1 (DeepLab, OAA), which is not equivalent but keeps the grid aligned.

    Args:
        stage: The stage's modules, in the order of computation.
        rate: Dilation of the preceding stages.

    Returns:
        Dilation of the following stages.
    """
    after = rate
    modules = [module for part in stage for module in part.modules()]
    if any(_stride(module) == 2 for module in modules):
        after = rate * 2
    for module in modules:
        if isinstance(module, nn.MaxPool2d) and _stride(module) == 2:
            module.kernel_size, module.stride, module.padding, module.ceil_mode = 3, 1, 1, False
        elif isinstance(module, nn.Conv2d):
            strided = _stride(module) == 2
            if module.kernel_size[0] > 1:
                dilation = rate if strided else after
                module.dilation = (dilation, dilation)
                module.padding = tuple(dilation * (size // 2) for size in module.kernel_size)
            module.stride = (1, 1)
    return after


def _stride(module: nn.Module) -> int:
    if isinstance(module, nn.Conv2d):
        return module.stride[0]
    if isinstance(module, nn.MaxPool2d):
        return module.stride if isinstance(module.stride, int) else module.stride[0]
    return 1
