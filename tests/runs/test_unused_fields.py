"""Fields that have no effect because of another field: which they are, and that the user is told."""

from __future__ import annotations

import math

import pytest

from attn.config.base import Config
from attn.config.unused import unused_notices
from attn.data.sources import ScenesConfig
from attn.maps.dense_crf import CrfConfig
from attn.methods import MethodConfig
from attn.prediction.config import ImagePredictConfig
from attn.runs.config_notices import config_notices
from attn.runs.evaluate import EvaluateModelConfig
from attn.runs.maps import MapsConfig
from attn.runs.recipes import load_any_run
from attn.segmentation.methods import SegmentationMethodConfig

DATA = ScenesConfig()


@pytest.mark.parametrize(
    ("recipe", "overrides", "because"),
    [
        ("scenes_gain", "method.extra_images=50", "method.extra_supervision=none"),
        ("scenes_gain", "method.extra_ids=[a, b]", "method.extra_supervision=none"),
        ("scenes_gain", "method.extra_choice=random", "method.extra_supervision=none"),
        ("scenes_gain", "method.warmup_extra=true", "method.extra_supervision=none"),
        ("scenes_icasc", "method.consistency=0; method.alpha=2", "method.consistency=0"),
        ("scenes_gain", "store.fusion=mean", "store.accumulate=false"),
        ("scenes_gain", "model.fc_dropout=0.2", "model.head=gap"),
        ("scenes_oaa", "model.head_width=64; model.head_convolutions=0", "model.head_convolutions=0"),
        ("scenes_gain", "input.crop_area=[0.5, 1]", "input.resize=squash"),
        ("scenes_gain", "validation.split=null; validation.every_epochs=3", "validation.split=null"),
        ("scenes_gain", "validation.maps.flip=true", "checkpoint.best=null"),
        ("scenes_gain", "cluster.device=gpu; cluster.threads=3", "cluster.device=gpu"),
        ("scenes_gain", "cluster.device=cpu; cluster.gpus_per_worker=0.5", "cluster.device=cpu"),
        ("gain_segment_scenes", "segment.labels.saliency_threshold=0.4", "segment.labels.threshold=fixed"),
        (
            "gain_segment_scenes",
            "segment.labels.saliency=none; segment.labels.rule.background=0.3",
            "segment.labels.saliency=none",
        ),
        ("gain_segment_scenes", "maps.probability=0.3", "maps.classes=labels"),
        (
            "gain_segment_scenes",
            "evaluation.inference.crf=null; evaluation.processes=2",
            "evaluation.inference.crf=null",
        ),
        ("scenes_gain", "tracking.enabled=false; tracking.register_as=toy", "tracking.enabled=false"),
        ("sweep_scenes_gain", "objective.metric=val/mean_ap; objective.split=train", "objective.metric=val/mean_ap"),
    ],
)
def test_a_field_that_another_makes_useless_is_told(recipe: str, overrides: str, because: str) -> None:
    given = overrides.split("; ")
    (notice,) = config_notices(load_any_run(recipe, given))
    cause = because.partition("=")[0]
    (field,) = [name for name, _, _ in (one.partition("=") for one in given) if name != cause]
    assert notice == f"{field} has no effect with {because}: leave it out, or change {cause}"


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("scenes_gain", "method.extra_supervision=masks; method.extra_images=50"),
        ("scenes_gain", "method.extra_images=200"),
        ("scenes_gain_ext", "method.extra_ids=[train-000003]"),  # extra_images is the recipe's
        ("scenes_gain", "validation.maps.flip=true; checkpoint.best=seed_miou"),
        ("scenes_gain", "store.accumulate=true; store.fusion=mean"),
        ("scenes_gain", "input.resize=random_part; input.crop_area=[0.5, 1]"),
    ],
)
def test_a_field_with_an_effect_is_not_told(recipe: str, overrides: str) -> None:
    assert config_notices(load_any_run(recipe, overrides.split("; "))) == []


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (CrfConfig(bilateral_weight=0, bilateral_rgb=5), "bilateral_rgb has no effect with bilateral_weight=0"),
        (MapsConfig(data=DATA, classes="both", probability=0.3), ""),
        (ImagePredictConfig(classes=("cat",), probability=0.3), "probability has no effect with classes=[cat]"),
        (
            EvaluateModelConfig.model_validate(
                {"data": DATA, "evaluation": {"maps": False, "claim": 0.3}, "map_kind": "cam"}
            ),
            "map_kind has no effect with evaluation.maps=false",
        ),
    ],
)
def test_configs_without_training_are_judged_too(config: Config, told: str) -> None:
    notices = unused_notices(config)
    assert any(text.startswith(told) for text in notices) if told else notices == []


def test_fields_that_a_sweep_searches_are_judged_by_all_of_its_values() -> None:
    extra = ["set.method.extra_images=40", "space={method.extra_supervision: [masks, none]}"]
    assert config_notices(load_any_run("sweep_scenes_gain", extra)) == []
    searched = config_notices(load_any_run("sweep_scenes_gain", ["space={method.extra_images: [200, 40]}"]))
    assert any(text.startswith("method.extra_images has no effect") for text in searched)
    maps = ["set.validation.maps.flip=true"]  # the objective is a score of these maps
    assert config_notices(load_any_run("sweep_scenes_gain", maps)) == []


@pytest.mark.parametrize("family", [MethodConfig, SegmentationMethodConfig])
def test_names_are_of_fields(family: type[MethodConfig] | type[SegmentationMethodConfig]) -> None:
    """Every number at 0, if it may be, is where most fields are without effect."""
    for member in family.members.values():
        zeros = {
            name: 0.0
            for name, info in member.model_fields.items()
            if info.annotation is float and any(getattr(one, "ge", math.inf) == 0 for one in info.metadata)
        }
        config = member.model_construct(**zeros)
        for cause, names in config.unused().items():
            assert {cause, *names} <= set(member.model_fields), member
