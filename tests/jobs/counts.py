"""How often a process does what it should do once: parse a config, build a data set, read a manifest, open a store."""

from __future__ import annotations

__all__ = ["counted"]

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import pytest

from attn.config.document import read_document
from attn.config.resolve import parse_config
from attn.data.source import SourceConfig
from attn.store.create import create, open_store
from attn.store.format.manifest import Manifest

FUNCTIONS: dict[Callable[..., Any], Callable[..., str]] = {
    read_document: lambda text, name: f"read {name}",
    parse_config: lambda kind, document: f"parse {kind.__name__}",
    create: lambda *_: "create",
    open_store: lambda *_: "open",
}


@contextlib.contextmanager
def counted() -> Generator[Counter[str]]:
    """Within, count `read FILE` (of YAML), `parse CLASS`, `build SPLIT`, `manifest VERSION`, `create` and `open`."""
    counts: Counter[str] = Counter()

    def counting(work: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            counts[name(*arguments)] += 1
            return work(*arguments, **options)

        return wrapper

    unpack = vars(Manifest)["unpack"].__func__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SourceConfig, "build", counting(SourceConfig.build, lambda config: f"build {config.split}"))
        unpacked = counting(unpack, lambda _, data, name: f"manifest {int(name.split('/')[-1].split('.')[0])}")
        patch.setattr(Manifest, "unpack", classmethod(unpacked))
        modules = [
            module
            for name, module in list(sys.modules.items())
            if name.split(".")[0] in ("attn", "jobs", "services", "tests")
        ]
        for function, name in FUNCTIONS.items():
            wrapper = counting(function, name)
            for module in modules:
                for attribute in [key for key, value in vars(module).items() if value is function]:
                    patch.setattr(module, attribute, wrapper)
        yield counts
