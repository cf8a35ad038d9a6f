"""A classifier that learns nothing is told of, once, with the fields to lower."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attn.runs.recipes import load_any_config
from attn.training.chance import chance_notice
from attn.training.reporter import EpochRecord
from jobs.runs.run_folder import RunFolder
from jobs.training.epoch_lines import write_epochs
from jobs.training.worker import RayReporter


@pytest.mark.parametrize(
    ("losses", "classes", "told_after"),
    [
        ([4.46, 1.39, 1.39], 4, 1),
        ([1.824, 1.38, 1.39], 4, 2),
        ([1.2, 1.39, 1.40], 4, 2),
        ([1.824, 1.281, 0.613], 4, None),
        ([1.386, 1.1], 4, None),
        ([0.69, 0.6931], 2, 2),
        ([4.7, 4.4], 101, None),
        ([0.0, 0.0], 1, None),
    ],
)
def test_once_after_the_first_epoch_that_is_no_better_than_guessing(
    losses: list[float], classes: int, told_after: int | None
) -> None:
    told = [chance_notice(losses[:count], classes, (1e-3, 100)) is not None for count in range(len(losses) + 1)]
    assert told == [count == told_after for count in range(len(losses) + 1)]


def test_a_run_says_it_in_its_output(tmp_path: Path) -> None:
    overrides = ["data.source=folder", "data.root=photos", "optimizer.multipliers.head_weight=100"]
    sent, folder = list[dict[str, Any]](), RunFolder(str(tmp_path), "one")
    source = SimpleNamespace(classes=("bird", "cat", "dog", "fish"), exclusive=True)
    trainer = SimpleNamespace(components=SimpleNamespace(source=source))
    config = load_any_config("gain", overrides)
    reporter: Any = SimpleNamespace(
        folder=folder, channel=SimpleNamespace(put=sent.append), trainer=trainer, config=config
    )
    write_epochs(folder, [{"epoch": 1, "train/classification": 1.5}])
    RayReporter._note_chance(reporter, EpochRecord(1, 6, {"train/classification": 1.39}))  # pyright: ignore[reportPrivateUsage]
    (record,) = sent
    for words in ("epoch 2", "1.39", "ln 4", "optimizer.multipliers.head_weight=100", "optimizer.lr=0.001"):
        assert words in record["text"]
