"""Overrides of a sweep that are fields of its trials: said with the way to give them."""

from __future__ import annotations

import pytest

from attn.errors import ConfigError
from attn.runs.sweep.load import load_sweep


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("method.alhpa=3", "did you mean set.method.alpha?"),
        ("trainning.epochs=3", ""),
        ("training.epoch=3", "did you mean set.training.epochs?"),
        ("method.zzz=3", "set.method.NAME=VALUE"),
    ],
)
def test_a_misspelt_field_of_the_trials_is_named_as_it_is(field: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_sweep("sweep_scenes_gain", [field])
    assert hint in str(caught.value)
    assert f"set.{field.partition('=')[0]}?" not in str(caught.value)
