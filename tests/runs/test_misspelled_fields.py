"""A misspelled field of any kind of file gets a hint that names the field which is meant, however deep it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.errors import ConfigError
from attn.runs.recipes import load_any_run

SWEEP = """\
kind: sweep
recipe: scenes_gain
space: {method.alpha: [0.1, 0.5]}
search: {name: grid}
"""
PIPELINE = "kind: pipeline\ntrain: {recipe: scenes_gain}\nsegment: {recipe: segment_scenes}\n"


def faults(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_any_run(str(file), list(overrides))
    return [str(fault).replace(f"{file}:", "line ") for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("search.trails=4", "did you mean search.trials? It is a field of search.name=random or tpe, and search.name "
         "is grid"),
        ("search.trials=4", "search.trials is a field of search.name=random or tpe, and search.name is grid"),
        ("scheduler.grace_epoch=4", "one of fifo, asha, pbt; did you mean scheduler.grace_epochs? It is a field of "
         "scheduler.name=asha"),
        ("objective.metrc=miou", "did you mean objective.metric?"),
        ("set.training.epoch=2", "did you mean training.epochs?"),
    ],
)  # fmt: skip
def test_of_a_sweep(override: str, hint: str, tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, SWEEP, override)
    assert fault.startswith(f"override '{override}': ")
    assert fault.endswith(f"({hint})")


def test_of_a_family_without_its_name(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, SWEEP.replace("name: grid", "trails: 4"))
    assert fault == (
        "line 4: search.name is missing (one of grid, random, tpe; did you mean search.trials? It is a field of "
        "search.name=random or tpe)"
    )


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("train.training.epohs=2", "did you mean train.training.epochs?"),
        ("segment.labels.maps.modl=x", "did you mean segment.labels.maps.model? It is a field of "
         "segment.labels.maps.source=model, and segment.labels.maps.source is pipeline"),
        ("segment.weight_decay=1", "did you mean segment.optimizer.weight_decay?"),
        ("train.weight_decay=1", "did you mean train.optimizer.weight_decay?"),
        ("evaluation.alpah=1", "did you mean train.method.alpha?"),
    ],
)  # fmt: skip
def test_of_a_pipeline(override: str, hint: str, tmp_path: Path) -> None:
    """The nearest section goes before others that have such a field too."""
    (fault,) = faults(tmp_path, PIPELINE, override)
    assert fault.endswith(f"is not a known field ({hint})")


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("method.warmup_epoch=2", "did you mean method.warmup_epochs? It is a field of method.name=gain or icasc, and "
         "method.name is grad_cam"),
        ("method.mapkind=cam", "did you mean method.map_kind?"),
    ],
)  # fmt: skip
def test_of_a_training(override: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_any_run("scenes_grad_cam", [override])
    (fault,) = map(str, caught.value.faults)
    assert fault.endswith(f"is not a known field ({hint})")
