"""Training methods. Every module of this folder is imported here, which registers it in `MethodConfig.members`."""

from importlib import import_module
from pkgutil import iter_modules

from attn.methods.base import (
    Auxiliary,
    HasAuxiliary,
    Method,
    MethodConfig,
    Progress,
    SourceStream,
    StepMaps,
    StepOutput,
    Supervision,
)

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Auxiliary",
    "SourceStream",
    "HasAuxiliary",
    "Method",
    "MethodConfig",
    "Progress",
    "StepMaps",
    "StepOutput",
    "Supervision",
]
