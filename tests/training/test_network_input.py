"""A network of timm gets the normalisation and interpolation that its own weights were trained with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg

from attn.data.preprocessing import describe_preprocessing, preprocessing_text
from attn.data.transforms import InputConfig, prepare
from attn.errors import ConfigError
from attn.runs.config_notices import config_notices
from attn.runs.pipeline import load_pipeline
from attn.runs.recipes import load_config
from attn.segmentation.config import SegmentConfig
from attn.training.inputs import check_inputs
from attn.training.network_input import own_input
from attn.training.train_config import TrainConfig
from jobs.runs.open_model import resize_text
from tests.models.thin_timm import THIN

HALF = (0.5, 0.5, 0.5)
VIT = ["model.weights=null", "model.stride=null", "model.name=timm/vit_tiny_patch16_224"]


def _train(*overrides: str) -> TrainConfig:
    return load_config(TrainConfig, "gain", ["validation.split=null", *VIT, "input.size=224", *overrides])


@pytest.mark.parametrize("name", ["vit_base_patch16_224", "resnet50.a1_in1k", "tf_efficientnet_lite0", "test_resnet"])
def test_an_image_becomes_what_timm_makes_of_it(name: str) -> None:
    """Against timm's own transform, whose PIL resizing rounds a little differently."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC)
    cfg = get_pretrained_cfg(name)
    assert cfg is not None
    data = resolve_data_config(pretrained_cfg=cfg.to_dict()) | {"input_size": (3, 96, 96), "crop_mode": "squash"}
    expected = create_transform(**data | {"crop_pct": 1.0})(image)
    own = own_input(InputConfig(size=96), f"timm/{name}")
    got, _ = prepare(own, np.asarray(image))
    one_level = 1 / (255 * min(own.std))
    assert isinstance(expected, torch.Tensor)
    assert float((got - expected).abs().max()) <= 1.5 * one_level
    assert own.interpolation == cfg.interpolation


def test_fields_that_are_given_stay_and_are_mentioned() -> None:
    config = _train()
    assert (config.input.mean, config.input.std, config.input.interpolation) == (HALF, HALF, "bicubic")
    assert config_notices(config) == []
    again = TrainConfig.model_validate_json(config.model_dump_json(), strict=False)
    assert again.input == config.input
    mixed = _train("input.mean=[0.4,0.4,0.4]")
    assert (mixed.input.mean, mixed.input.std) == ((0.4, 0.4, 0.4), HALF)
    (notice,) = config_notices(mixed)
    assert notice.startswith(
        "input.mean=[0.4, 0.4, 0.4]: timm/vit_tiny_patch16_224 was trained with mean [0.5, 0.5, 0.5]"
    )
    plain = load_config(TrainConfig, "gain", ["validation.split=null"])
    assert plain.input == InputConfig(size=225, resize="random_part", crop_area=(0.5, 1.0))


def test_segmentation_and_pipelines_too() -> None:
    lite0 = "timm/tf_efficientnet_lite0"
    segment = load_config(
        SegmentConfig, "segment_scenes", [f"model.name={lite0}", "model.widths=null", "model.stride=8"]
    )
    assert segment.input.mean == HALF
    pipeline = load_pipeline("gain_sec_photographs", [f"train.model.name={lite0}", "train.model.weights=null"])
    assert pipeline.maps is not None
    assert (pipeline.train.input.mean, pipeline.maps.input.mean) == (HALF, HALF)
    assert pipeline.segment.input.mean == InputConfig().mean
    whole = load_pipeline("gain_sec_photographs", [f"{part}.model.name={lite0}" for part in ("train", "segment")])
    assert whole.segment.input.mean == HALF


def test_what_is_no_default_is_described() -> None:
    bicubic = own_input(InputConfig(size=96), "timm/vit_tiny_patch16_224")
    assert describe_preprocessing(bicubic)["resize"]["interpolation"] == "bicubic"
    assert "(bicubic, antialiased" in preprocessing_text(describe_preprocessing(bicubic))
    assert (resize_text(bicubic), resize_text(InputConfig(size=96))) == ("squash 96x96 bicubic", "squash 96x96")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["input.size=225"], r"input.size: 225 cannot be cut into the patches of 16 pixels.*such as 224\)"),
        (["input.size=[224,250]"], r"\[224, 250\] cannot be cut.*such as 224 or 256"),
        (["input.size=8"], "multiples of 16, such as 16"),
        (
            ["input.resize=short_side", "training.accumulate_steps=8"],
            r"input.resize: short_side gives inputs with sides of any length.*input.resize=squash",
        ),
        (["model.name=timm/beit_base_patch16_224", "input.size=320"], "320 is not the only size.*224"),
        (["model.name=timm/swin_tiny_patch4_window7_224", "input.size=225"], "patches of 4 pixels.*such as 224"),
    ],
    ids=str,
)
def test_an_input_that_a_transformer_cannot_take(overrides: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        check_inputs(_train(*overrides))


def test_inputs_that_they_can_take() -> None:
    for settings in (["input.size=[224,256]"], ["input.size=16"]):
        check_inputs(_train(*settings))
    for name in THIN:
        size: Any = 56 if "dinov2" in name else 64
        check_inputs(_train(f"model.name={name}", f"input.size={size}"))
