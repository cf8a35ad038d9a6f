"""Training methods. Every module of this folder is imported, so that each method is in `MethodConfig.members`."""

from importlib import import_module
from pkgutil import iter_modules

from attn.methods.base import Auxiliary, Companion, HasAuxiliary, Method, MethodConfig, Parts, Progress, Supervision

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Auxiliary",
    "Companion",
    "HasAuxiliary",
    "Method",
    "MethodConfig",
    "Parts",
    "Progress",
    "Supervision",
]
