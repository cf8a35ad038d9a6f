"""Runs' files that tests write into their folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.errors import ConfigError
from attn.runs.recipes import load_any_config
from attn.training.train_config import TrainConfig

PHOTOS = "source: folder\nroot: /photos\nclasses: [cat, dog]\n"


def told(*arguments: str, text: str = "", files: dict[str, str] | None = None) -> list[str]:
    """The faults of a file, or of one in other folders."""
    for name, content in {**({"my.yaml": text} if text else {}), **(files or {})}.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_any_config(arguments[0] if arguments else "my.yaml", list(arguments[1:]))
    return [str(fault) for fault in caught.value.faults]


def train(text: str, *overrides: str) -> TrainConfig:
    Path("my.yaml").write_text(text)
    config = load_any_config("my.yaml", list(overrides))
    assert isinstance(config, TrainConfig)
    return config
