"""Trading the strides of late stages for dilated convolutions: the same weights on a finer grid."""

from __future__ import annotations

__all__ = ["remove_strides"]

from collections.abc import Iterable

from torch import nn


def remove_strides(stage: Iterable[nn.Module], rate: int) -> int:
    """Make a stage keep its input's resolution, in place.

    The strided convolution keeps the dilation of what comes before it, and what follows samples twice as far apart: the
    output, taken at every second position, is that of the strided stage. Pooling with stride 2 becomes 3×3 pooling with
    stride 1, centred (DeepLab, OAA), which is not the same but keeps the grid aligned.

    Args:
        stage: The stage's modules, in the order of computation.
        rate: Dilation of the stages before this one.

    Returns:
        The dilation of the stages that follow.
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
