"""Recipes of published settings hold what the papers say: steps, batches, crops, rates, multipliers, CRFs."""

from __future__ import annotations

import pytest

from attn.maps.dense_crf import CrfConfig
from attn.runs.recipes import load_config
from attn.segmentation.config import SegmentConfig
from attn.training.config import TrainingConfig
from attn.training.optimizer import OptimizerConfig, build_optimizer
from attn.training.schedule import ScheduleConfig

SEC = CrfConfig(bilateral_weight=10, bilateral_xy=80, bilateral_rgb=13, gaussian_weight=3, gaussian_xy=3)
OAA = {"bilateral_weight": 3, "bilateral_xy": 67, "bilateral_rgb": 4, "gaussian_weight": 1, "gaussian_xy": 3}


def _rates(
    optimizer: OptimizerConfig, schedule: ScheduleConfig, training: TrainingConfig, steps: tuple[int, ...]
) -> list[float]:
    assert training.steps is not None
    return [optimizer.lr * schedule.factor(step / training.steps) for step in steps]


@pytest.mark.parametrize(
    ("recipe", "steps", "batch", "network", "head"),
    [
        ("sec_voc_paper", 8000, 15, "vgg16", "largefov"),
        ("dsrg_voc_paper", 8000, 20, "vgg16", "aspp"),
        ("largefov_voc_paper", 15000, 10, "vgg16", "largefov"),
        ("deeplab_resnet101_voc_paper", 15000, 10, "resnet101", "aspp"),
    ],
)
def test_sizes(recipe: str, steps: int, batch: int, network: str, head: str) -> None:
    config = load_config(SegmentConfig, recipe, [])
    assert (config.training.steps, config.training.batch_size, config.input.size) == (steps, batch, 321)
    assert (config.model.name, config.model.head, config.model.stride) == (network, head, 8)
    assert (config.optimizer.momentum, config.optimizer.weight_decay) == (0.9, 5e-4)


def test_the_last_layer_learns_faster() -> None:
    config = load_config(SegmentConfig, "sec_voc_paper", ["model.weights=null", "model.hidden=8"])
    network = config.model.build(20)
    optimizer = build_optimizer(network, config.optimizer)
    rates = {
        name: group["lr"] / config.optimizer.lr
        for group in optimizer.param_groups
        for name, value in network.named_parameters()
        if any(value is one for one in group["params"])
    }
    scores = [name for name, value in network.named_parameters() if value.shape[0] == 21]
    assert {round(rates[name]) for name in scores} == {10, 20}
    assert {round(rate) for name, rate in rates.items() if name not in scores} == {1, 2}


def test_rates_of_sec() -> None:
    config = load_config(SegmentConfig, "sec_voc_paper", [])
    result = _rates(config.optimizer, config.schedule, config.training, (0, 1999, 2000, 4000, 6000, 7999))
    assert result == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-6, 1e-6])
    assert config.inference.crf == SEC
    assert config.method.model_dump()["decay_present"] == 0.996
    assert config.method.model_dump()["decay_background"] == 0.999


def test_dsrgs_two_rounds() -> None:
    config = load_config(SegmentConfig, "dsrg_voc_paper", [])
    assert config.method.model_dump()["foreground"] == 0.85
    assert config.method.model_dump()["background"] == 0.99
    assert config.inference.crf == SEC
    assert config.retrain is not None
    assert (config.retrain.training.steps, config.retrain.training.batch_size) == (20000, 10)
    again = _rates(config.retrain.optimizer, config.retrain.schedule, config.retrain.training, (0, 10000))
    assert again == pytest.approx([1e-3, 1e-3 * 0.5**0.9])


@pytest.mark.parametrize("recipe", ["largefov_voc_paper", "deeplab_resnet101_voc_paper"])
def test_deeplab_on_proxy_labels(recipe: str) -> None:
    config = load_config(SegmentConfig, recipe, [])
    rates = _rates(config.optimizer, config.schedule, config.training, (0, 7500, 14999))
    assert rates == pytest.approx([1e-3, 1e-3 * 0.5**0.9, 1e-3 * (1 / 15000) ** 0.9])
    assert config.input.resize == "scaled_crop"
    assert config.input.crop_scale == (0.7, 1.3)
    assert config.input.flip == 0.5
    assert config.inference.crf is not None
    assert OAA.items() <= config.inference.crf.model_dump().items()
    assert config.optimizer.multipliers.head_weight == 10
    assert config.optimizer.multipliers.head_bias == 20
