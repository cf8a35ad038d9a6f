"""Whole trainings of segmentation networks, in this process: every method learns, and a resumed run is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from attn.config.resolve import dump_config
from attn.errors import ConfigError, WeightsError
from attn.models.bundle import load_bundle
from attn.runs.config_reader import read_config
from attn.segmentation.bundle import load_segmenter, save_segmenter
from attn.segmentation.config import SegmentConfig
from attn.segmentation.labels import MaskLabels
from attn.segmentation.methods import SegmentationMethodConfig
from attn.training.checkpoint import Position
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.trainer import Trainer
from tests.training.alone import lone_trainer


def _config(method: str = "cross_entropy", *changes: str) -> SegmentConfig:
    text = f"""
    kind: segment
    data: {{source: scenes, count: 12, size: 32, objects: [1, 1]}}
    validation: {{every_epochs: 100}}
    input: {{size: 32}}
    labels: {{source: masks}}
    model: {{name: tiny, weights: null, stride: 4, widths: [8, 8, 8], head: aspp, dilations: [1, 2], hidden: 8}}
    method: {{name: {method}}}
    optimizer: {{name: adamw, lr: 0.01, multipliers: {{head_weight: 1, head_bias: 1}}}}
    training: {{epochs: 3, batch_size: 4, deterministic: true}}
    tracking: {{enabled: false}}
    """
    config = read_config(text, "config.yaml", list(changes))
    assert isinstance(config, SegmentConfig)
    return config


class Record:
    """Keeps what a run reports, and its checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.losses, self.rates, self.metrics = folder, [], [], {}
        self.places: list[Path] = []

    def step(self, record: StepRecord) -> None:
        self.losses.append(record.losses["loss"])
        self.rates.append(record.lr)

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None:
        self.metrics = record.metrics

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        self.places.append(self.folder / f"{position.epoch}-{position.batch}")
        self.places[-1].mkdir()
        write(self.places[-1])


@pytest.mark.parametrize("method", sorted(SegmentationMethodConfig.members))
def test_every_method_learns(method: str, tmp_path: Path) -> None:
    record = Record(tmp_path)
    metrics = lone_trainer(_config(method, "training.epochs=8")).fit(record)
    assert sum(record.losses[-3:]) < 0.8 * sum(record.losses[:3])
    assert 0 < metrics["val/miou"] < 1
    assert metrics["val/accuracy"] > 0.3


def test_the_rate_reported_is_that_of_the_config_before_multipliers(tmp_path: Path) -> None:
    record, multipliers = Record(tmp_path), "{backbone_weight: 3, backbone_bias: 2, head_weight: 10, head_bias: 20}"
    changes = (f"optimizer={{name: sgd, lr: 0.002, multipliers: {multipliers}}}", "schedule.name=poly")
    lone_trainer(_config("cross_entropy", "training.steps=4", *changes)).fit(record)
    assert record.rates == pytest.approx([0.002 * (1 - step / 4) ** 0.9 for step in range(4)])


def test_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    whole, again = Record(tmp_path), Record(tmp_path / "again")
    (tmp_path / "again").mkdir()
    config = _config("sec", "training.steps=7", "checkpoint.every_steps=2", "model.dropout=0.5")
    lone_trainer(config).fit(whole)
    assert len(whole.losses) == 7
    assert [location.name for location in whole.places] == ["0-2", "1-0", "1-1", "2-0", "3-0"]
    lone_trainer(config).fit(again, start=whole.places[2])
    assert again.losses == whole.losses[4:]
    weights = [torch.load(r.places[-1] / "training.pt", weights_only=True)["model"] for r in (whole, again)]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_bundles_are_told_apart(tmp_path: Path) -> None:
    config = _config()
    torch.manual_seed(0)
    network = config.model.build(3).eval()
    save_segmenter(
        tmp_path / "model",
        network.state_dict(),
        model=config.model,
        classes=("a", "b", "c"),
        input=config.input,
        inference=config.inference,
        config_yaml=dump_config(config),
        info={"run_id": "x"},
    )
    opened = load_segmenter(tmp_path)
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(opened.network(image).logits, network(image).logits)
    assert (opened.classes, opened.inference, opened.info) == (("a", "b", "c"), config.inference, {"run_id": "x"})
    with pytest.raises(
        WeightsError, match="expected a classification model, found a segmentation model; `attn segment predict`"
    ):
        load_bundle(tmp_path)
    taken = config.model.model_copy(update={"weights": str(tmp_path / "model")}).build(3)
    torch.testing.assert_close(taken.eval()(image).logits, network(image).logits)


def test_configs_go_to_yaml_and_back() -> None:
    config = _config("dsrg", "retrain={}", "inference.size=image")
    assert read_config(dump_config(config), "again.yaml") == config
    second = config.second_round(labels=MaskLabels(), weights="/models/first")
    assert second.retrain is None
    assert second.model.weights == "/models/first"
    assert second.method.variant == "cross_entropy"
    assert second.input == config.input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["input.resize=short_side", "training.batch_size=1"], "input.resize=short_side gives outputs of differing"),
        (["cluster.workers=4", "retrain={training: {batch_size: 6}}"], "retrain.training.batch_size=6 must be"),
        (["labels.source=cues"], "labels.maps is missing"),
        (["method.name=sec", "method.overlap=0"], "method.overlap"),
        (["labels={source: cues, maps: {source: model}}"], "labels.maps.model is missing"),
    ],
)
def test_what_does_not_fit_is_refused(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _config("cross_entropy", *changes)


def test_a_kind_that_is_none() -> None:
    message = r"x\.yaml:2: kind = 'nonsense' is not available \(one of train, segment, pipeline, sweep\)"
    with pytest.raises(ConfigError, match=message):
        read_config("seed: 1\nkind: nonsense", "x.yaml")


def test_processes_of_the_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    from attn.segmentation import components

    def count(threads: int, gpu: bool, cores: int, **settings: Any) -> int:
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(components, "spare_cores", lambda: cores)
        config = _config("sec", "cluster.data_workers=2", *(f"method.{k}={v}" for k, v in settings.items()))
        return components.crf_processes(config, world=2)

    assert count(1, False, 8) == 0
    assert count(4, False, 8) == 4
    assert count(1, True, 16) == 5  # half the cores, but for the worker's own and its two loaders'
    assert count(1, True, 2) == 1
    assert count(4, False, 8, processes=3) == 3
    assert components.crf_processes(_config(), world=1) == 0


def test_published_cues_train(shared: Path, tmp_path: Path) -> None:
    config = _config(
        "sec",
        f"data={{source: voc, root: {shared / 'data/voc'}, split: train}}",
        "validation.split=null",
        f"labels={{source: files, path: {shared / 'data/seeds/sec_cues_41x41.npz'}}}",
        "input.size=65",
        "training={steps: 3, batch_size: 2}",
    )
    record = Record(tmp_path)
    metrics = lone_trainer(config).fit(record)
    assert len(record.losses) == 3
    assert all(metrics[f"train/{part}"] > 0 for part in ("seed", "expand", "boundary"))
