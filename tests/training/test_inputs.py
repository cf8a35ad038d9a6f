"""Inputs and batches that no network can be trained on: found from the config alone, with the least that would do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from attn.data.transforms import InputConfig, scaled_size
from attn.errors import ConfigError
from attn.maps.settings import MapSettings
from attn.models import ModelConfig, Network, architecture, architectures
from attn.models.discriminator import Discriminator
from attn.models.least_input import POSITIONS, fits
from attn.runs.pipeline import PipelineConfig, load_pipeline
from attn.runs.recipes import list_recipes, load_any_config, load_config
from attn.runs.sweep.load import load_sweep
from attn.segmentation.config import SegmentConfig
from attn.segmentation.networks import SegmentationModelConfig, SegmentationNetwork
from attn.segmentation.predict import SegmentInferenceConfig, probabilities
from attn.training.inputs import check_input, check_inputs, map_scale_faults
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from tests.services.cli.conftest import attn as attn  # the command line as a function

SMALL_HEADS: dict[str, Any] = {"weights": None, "fc_width": 1, "head_width": 1}
ONE = ["training.batch_size=1", "cluster.workers=1", "data.count=4", "data.size=32", "validation.split=null"]


def _train(*overrides: str, recipe: str = "scenes_grad_cam") -> TrainConfig:
    return load_config(TrainConfig, recipe, [*ONE, *overrides])


def _hint(config: RunConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        check_inputs(config)
    (fault,) = caught.value.faults
    return f"{fault.where}: {fault.message} ({fault.hint})"


def _works(network: nn.Module, side: int, *, training: bool) -> bool:
    """By this network itself."""
    network.train(training)
    try:
        with torch.no_grad():
            network(torch.randn(1, 3, side, side))
    except (RuntimeError, ValueError):
        return False
    return True


NETWORKS = [
    ("tiny", "gap", 16),
    ("resnet18", "gap", 32),
    ("mobilenet_v2", "conv", 8),
    ("squeezenet1_1", "gap", 16),
    ("vgg16", "fc", 16),
    ("vgg16_bn", "gap", 8),
]


DEEPER = {"resnet34", "resnet101", "vgg19"}
"""Than others of their families, of the same strides."""


@pytest.mark.parametrize("name", sorted(set(architectures()) - DEEPER))
def test_an_input_of_many_strides_is_never_looked_at_and_never_too_small(name: str) -> None:
    stride = max(architecture(name).strides)
    network = Network(ModelConfig.model_validate(SMALL_HEADS | {"name": name, "stride": stride}), 2)
    assert fits(network, (POSITIONS * stride, POSITIONS * stride), training=True)


@pytest.mark.parametrize(("name", "head", "stride"), NETWORKS)
def test_the_least_side_is_the_least(name: str, head: str, stride: int) -> None:
    """What is asked for works, and one pixel less does not."""
    model = ModelConfig.model_validate(SMALL_HEADS | {"name": name, "head": head, "stride": stride})
    network = Network(model, 2)
    fields = ["model.weights=null", f"model.name={name}", f"model.head={head}", f"model.stride={stride}"]
    wide = [*fields, "model.widths=null", "model.fc_width=1", "method.name=grad_cam", "method.map_kind=grad_cam"]
    hint = _hint(_train(*wide, "input.size=1"))
    evaluated = 1
    if match := re.match(r"input.size: 1 is too small for .* \((\d+) or more a side\)", hint):
        evaluated = int(match[1])
        assert not _works(network, evaluated - 1, training=False)
        with pytest.raises(ConfigError, match=rf"too small.*{evaluated} or more a side"):
            check_input(network, InputConfig(size=evaluated - 1))
    assert _works(network, evaluated, training=False)
    check_input(network, InputConfig(size=evaluated, resize="short_side"))
    if _works(network, evaluated, training=True):
        check_inputs(_train(*wide, f"input.size={evaluated}"))
        return
    hint = _hint(_train(*wide, f"input.size={evaluated}"))
    match = re.search(r"training.batch_size=2 or more, or input.size=(\d+) or more, or model.batch_norm=frozen", hint)
    assert match, hint
    least = int(match[1])
    assert _works(network, least, training=True)
    assert not _works(network, least - 1, training=True)
    for way in (f"input.size={least}", "training.batch_size=2", "model.batch_norm=frozen"):
        check_inputs(_train(*wide, f"input.size={evaluated}", way))


@pytest.mark.parametrize(
    ("name", "stride", "size"), [("tiny", 8, 48), ("squeezenet1_1", 16, 129), ("resnet18", 32, 65)]
)
def test_the_least_scale_of_maps_is_the_least(name: str, stride: int, size: int) -> None:
    """What is asked for leaves the network an input that it takes, and of a whole stride; a hundredth less does not."""
    network = Network(ModelConfig.model_validate({"name": name, "weights": None, "stride": stride}), 2)
    input = InputConfig(size=size)
    with pytest.raises(ConfigError) as caught:
        check_input(network, input, MapSettings(scales=(0.01, 1)))
    (fault,) = caught.value.faults
    assert fault.where == "maps.scales"
    assert f"from input.size={size}, which are too small for {name}" in fault.message
    match = re.fullmatch(r"(\d[\d.]*) or more, or a larger input.size", fault.hint)
    assert match, fault.hint
    least = float(match[1])
    check_input(network, input, MapSettings(scales=(least,)))
    assert _works(network, min(scaled_size((size, size), least, stride)), training=False)
    with pytest.raises(ConfigError, match="too small"):
        check_input(network, input, MapSettings(scales=(least - 0.01,)))


def test_scales_fit_what_a_transformer_takes() -> None:
    vit = ModelConfig(name="timm/vit_tiny_patch16_224", weights=None)
    assert scaled_size((336, 336), 0.6, vit.output_stride) == (208, 208), "whole patches"
    fixed, maps = ModelConfig(name="timm/beit_base_patch16_224", weights=None), MapSettings(scales=(0.5, 1), flip=True)
    (fault,) = map_scale_faults(fixed, nn.Identity, InputConfig(size=224), maps, "maps.")
    assert (fault.where, fault.message) == (
        "maps.scales",
        "0.5 makes inputs of another size than the only one that timm/beit_base_patch16_224 takes",
    )
    assert not map_scale_faults(fixed, nn.Identity, InputConfig(size=224), MapSettings(flip=True), "maps.")


def test_scales_of_maps_are_checked_before_anything_is_trained() -> None:
    small = ["validation.maps.scales=[0.05,1]"]
    hint = _hint(_train("model.name=tiny", "input.size=48", *small))
    assert hint.startswith("validation.maps.scales: 0.05 makes inputs of 4 from input.size=48, which are too small")
    large = ["validation.maps.scales=[8]"]
    assert "which are too large (1.82 or less)" in _hint(_train("model.name=tiny", "input.size=4500", *large))
    check_inputs(_train("model.name=tiny", "input.size=48", "validation.maps.scales=[0.5,2]"))
    pipeline = load_any_config("gain_segment_scenes", ["maps.scales=[0.01,1]"])
    assert isinstance(pipeline, PipelineConfig)
    with pytest.raises(ConfigError, match=r"maps\.scales: 0\.01 makes inputs"):
        check_inputs(pipeline)
    with pytest.raises(ConfigError, match=r"validation\.maps\.flip is of classifiers' maps"):
        load_any_config("segment_scenes", ["validation.maps.flip=true"])


def test_the_smallest_share_of_a_batch_counts() -> None:
    one = ["model.name=tiny", "model.stride=16", "input.size=16"]
    for changes, least in (
        (["training.batch_size=4", "cluster.workers=2", "training.accumulate_steps=2"], 8),
        (["training.batch_size=2", "cluster.workers=2"], 4),
    ):
        assert f"training.batch_size={least} or more" in _hint(_train(*one, *changes))
    check_inputs(_train(*one, "training.batch_size=4", "cluster.workers=2"))
    check_inputs(_train(*one, "input.size=[16,17]"))
    # The second pass of attention mining holds one image a label, however large the batch.
    for size in (1, 8):
        hint = _hint(_train(*one, f"training.batch_size={size}", recipe="scenes_gain"))
        assert "a pass of the method with one image" in hint
        assert hint.endswith("(input.size=17 or more, or model.batch_norm=frozen)")
    check_inputs(_train(*one, "training.batch_size=8", "method.alpha=0", recipe="scenes_gain"))
    both = [*one, "model.batch_norm=train"]
    check_inputs(_train(*both, recipe="scenes_attnbn"))
    assert "batch_size=2" in _hint(_train(*both, "method.losses=[target]", recipe="scenes_attnbn"))


def test_segmentation_and_its_second_round() -> None:
    def config(*overrides: str) -> SegmentConfig:
        small = ["model.name=tiny", "model.stride=16", "model.head=aspp", "model.weights=null", "input.size=16"]
        return load_config(SegmentConfig, "segment_scenes", [*ONE, "labels={source: masks}", *small, *overrides])

    assert "training.batch_size=2 or more, or input.size=17 or more" in _hint(config("input.resize=scaled_crop"))
    check_inputs(config("training.batch_size=2"))
    hint = _hint(config("training.batch_size=2", "retrain={training: {batch_size: 1}}"))
    assert hint.startswith("retrain.training.batch_size: 1 leaves a worker's step with one image")
    squeezed = config("model={name: squeezenet1_1, stride: 8, weights: null, hidden: 4}", "input.size=4")
    assert "input.size: 4 is too small for squeezenet1_1 (stride 8, head largefov)" in _hint(squeezed)


def test_small_images_grow_to_what_a_segmentation_network_takes() -> None:
    torch.manual_seed(0)
    network = SegmentationModelConfig(name="squeezenet1_1", weights=None, stride=8, hidden=4).build(2).eval()
    assert _works(network, network.least_side, training=False)
    assert not _works(network, network.least_side - 1, training=False)
    image = torch.randint(0, 256, (5, 9, 3), dtype=torch.uint8).numpy()
    for inference in (SegmentInferenceConfig(size="image"), SegmentInferenceConfig(size="input", scales=(0.01, 1.0))):
        result = probabilities(network, image, InputConfig(size=65), inference)
        assert result.shape == (3, 5, 9)
        torch.testing.assert_close(result.sum(0), torch.ones(5, 9))


def test_pipelines_and_sweeps_are_looked_through(tmp_path: Path) -> None:
    small = ["train.model={name: tiny, weights: null, stride: 16}", "train.input.size=16"]
    pipeline = load_pipeline("gain_segment_scenes", [*small, "train.training.batch_size=2", "train.cluster.workers=2"])
    with pytest.raises(ConfigError, match=r"train.training.batch_size: 2 leaves"):
        check_inputs(pipeline)
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "kind: sweep\nrecipe: scenes_grad_cam\nsearch: {name: grid}\nobjective: {metric: val/mean_ap}\n"
        "set: {model.stride: 16, model.widths: null, cluster.workers: 1, training.batch_size: 1}\n"
        "space: {input.size: [64, 16]}\n"
    )
    with pytest.raises(ConfigError, match=r"sweep.yaml:6.*input.size=16.*one value per channel"):
        load_sweep(str(file), [])


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 1), (7, 5)])
def test_the_discriminator_takes_any_features(size: tuple[int, int]) -> None:
    assert Discriminator(3)(torch.randn(1, 3, *size)).numel() >= 1


def test_usual_sizes_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recipe has so small an input that a network must be built for it, but those of CIFAR-100's size may."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(Network, "__init__", refuse)
    monkeypatch.setattr(SegmentationNetwork, "__init__", refuse)
    for recipe in list_recipes():
        config = load_any_config(recipe.name, [])
        if isinstance(config, RunConfig):
            check_inputs(config)


def test_validate_and_train_say_it_first(attn: Any, tmp_path: Path) -> None:
    small = [
        *ONE,
        "model.stride=16",
        "model.widths=null",
        "input.size=16",
        f"root={tmp_path}",
        "tracking.enabled=false",
    ]
    for command in ("validate", "train"):
        done = attn(command, "scenes_grad_cam", *small)
        assert (done.status, done.err.count("error: ")) == (2, 1)
        assert "input.size=17 or more" in done.err
        assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []
