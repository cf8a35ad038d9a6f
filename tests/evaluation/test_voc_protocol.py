"""VOC's rules of average precision where scores are made: in an evaluation with their protocol, and in validation."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attn.data.geometry import Geometry
from attn.data.sample import Batch, Record
from attn.errors import AttnError, ConfigError
from attn.evaluation import Score, ScoringConfig, compare
from attn.evaluation.evaluate import evaluate
from attn.evaluation.result import DataDescription, Evaluation
from attn.models.output import Output
from attn.runs.recipes import load_config
from attn.segmentation.config import SegmentConfig
from attn.training import validation
from attn.training.train_config import TrainConfig
from attn.training.world import World
from jobs.runs.run_folder import RunFolder
from jobs.training.classifier import validate
from jobs.training.hooks import TrainingRun
from tests.evaluation.plain import devkit_ap, devkit_ap_2007, devkit_curve, plain_ap

RNG = np.random.default_rng(5)
LOGITS = np.round(RNG.normal(size=(40, 3)), 1)  # with ties
TRUTH = RNG.choice([-1, 0, 1], size=(40, 3), p=[0.6, 0.1, 0.3])
CPU = torch.device("cpu")
CLASSES = ("a", "b", "c")


class Told(nn.Module):
    """Its logits are the images' first pixels."""

    num_classes = 3

    def forward(self, images: Tensor, **_: Any) -> Output:
        return Output(images[:, :, 0, 0].double(), {"last": images})


def batches(*, known: bool = True, counted: bool = True, size: int = 7) -> list[Batch]:
    """The images in order; `counted`: difficult objects are among the labels."""
    records = [
        Record(
            f"image-{row:02}",
            tuple(np.flatnonzero((truth > 0) | ((truth == 0) & counted)).tolist()),
            difficult=tuple(np.flatnonzero(truth == 0).tolist()) if known else None,
        )
        for row, truth in enumerate(TRUTH)
    ]
    return [batch_of(records, range(start, min(start + size, 40))) for start in range(0, 40, size)]


def batch_of(records: Sequence[Record], rows: range) -> Batch:
    labels = torch.zeros(len(rows), 3)
    for position, row in enumerate(rows):
        labels[position, list(records[row].labels)] = 1
    return Batch(
        indices=tuple(rows),
        records=tuple(records[row] for row in rows),
        images=torch.from_numpy(LOGITS[rows]).float()[:, :, None, None].expand(-1, -1, 4, 4),
        labels=labels,
        geometry=tuple(Geometry.whole((4, 4)) for _ in rows),
        region_pairs=torch.zeros((0, 2), dtype=torch.int64),
        regions=torch.zeros((0, 4, 4)),
    )


def expected(rule: str, *, ignored: bool = True) -> float:
    truth = TRUTH if ignored else np.where(TRUTH == 0, 1, TRUTH)
    curves = [devkit_curve(LOGITS[:, index], truth[:, index]) for index in range(3)]
    return float(np.mean([(devkit_ap if rule == "voc2010" else devkit_ap_2007)(*curve) for curve in curves]))


def scored(rule: str, given: Sequence[Batch]) -> Evaluation:
    config = ScoringConfig.model_validate({"average_precision": rule, "maps": False})
    data = DataDescription(source="voc VOC2012", split="val", resize="squash 4x4")
    return evaluate(Told(), given, CLASSES, config, "grad_cam", CPU, data=data)


@pytest.mark.parametrize("rule", ["voc2010", "voc2007"])
def test_an_evaluation_ignores_difficult_objects_and_says_so(rule: str) -> None:
    result = scored(rule, batches())
    score = result.scores["mean_ap"]
    assert score.value == pytest.approx(expected(rule))
    assert (score.protocol.average_precision, score.protocol.difficult) == (rule, "ignored")
    assert f"mean_ap ({rule}): {np.sum(TRUTH == 0)} (image, class) pairs with only difficult objects" in result.notes[0]
    assert scored(rule, batches(counted=False)).scores["mean_ap"].value == score.value
    assert Score.from_json(score.to_json()) == score


@pytest.mark.parametrize("rule", ["voc2010", "voc2007"])
def test_where_nothing_tells_what_is_difficult_the_protocol_says_so(rule: str) -> None:
    result = scored(rule, batches(known=False))
    score = result.scores["mean_ap"]
    assert score.value == pytest.approx(expected(rule, ignored=False))
    assert (score.protocol.average_precision, score.protocol.difficult) == (rule, "unknown")
    assert "difficult objects are not marked" in result.notes[0]
    first, *others = batches()
    one = replace(first, records=(replace(first.records[0], difficult=None), *first.records[1:]))
    assert scored(rule, [one, *others]).scores["mean_ap"].protocol.difficult == "unknown", "one unknown image suffices"


def test_every_rule_has_a_hash_of_its_own() -> None:
    results = {
        (rule, known): scored(rule, batches(known=known)).scores["mean_ap"]
        for rule in ("sklearn", "voc2010", "voc2007")
        for known in (True, False)
    }
    assert len({score.hash for score in results.values()}) == 5, "scikit-learn's rule asks for no difficult objects"
    labels = [np.where(TRUTH[:, index] < 0, 0, 1) for index in range(3)]
    plain = np.mean([plain_ap(LOGITS[:, index], labels[index]) for index in range(3)])
    assert results["sklearn", True].value == pytest.approx(plain)
    with pytest.raises(AttnError, match=r"average_precision: null against .voc2010."):
        compare(results["sklearn", True], results["voc2010", True])
    swapped = batches()
    moved = replace(swapped[0].records[0], difficult=(1,) if swapped[0].records[0].difficult != (1,) else (2,))
    swapped[0] = replace(swapped[0], records=(moved, *swapped[0].records[1:]))
    assert scored("voc2010", swapped).scores["mean_ap"].hash != results["voc2010", True].hash, "others are ignored"


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("rule", ["sklearn", "voc2010", "voc2007"])
def test_validation_gives_the_same_by_any_number_of_workers(rule: Any, known: bool) -> None:
    network: Any = Told()
    whole: Any = batches(known=known)
    alone = validation.validate(network, whole, World(0, 1, CPU), contextlib.nullcontext(), rule=rule)
    shares = [
        validation._share(network, whole[rank::3], World(rank, 3, CPU), contextlib.nullcontext()) for rank in range(3)
    ]
    assert validation._scores(shares, rule) == alone
    value = scored(rule, whole).scores["mean_ap"].value
    assert alone["val/mean_ap"] == pytest.approx(value)
    assert math.isfinite(alone["val/mean_auc"])


def test_a_segmentation_run_has_no_average_precision() -> None:
    with pytest.raises(ConfigError, match=r"validation\.average_precision=voc2010 is of classifiers"):
        load_config(SegmentConfig, "segment_scenes", ["validation.average_precision=voc2010"])


def test_the_protocol_is_told_before_training(tmp_path: Path) -> None:
    settings = ["data.count=4", "data.size=32", "input.size=32", "validation.average_precision=voc2010"]
    config = load_config(TrainConfig, "scenes_gain", settings)
    result = validate(TrainingRun(config, RunFolder(str(tmp_path), "run")))
    assert result["val_average_precision"] == {"rule": "voc2010", "difficult": "unknown"}
