"""A pipeline's config: recipes within recipes, what stands for all stages, and every fault at once."""

from __future__ import annotations

import pytest

from attn.config.resolve import dump_config
from attn.data.sampler import BatchSampler
from attn.errors import ConfigError
from attn.runs.pipeline import PipelineConfig, read_pipeline
from attn.runs.recipes import list_recipes, load_any_config
from attn.training.train_config import TrainConfig

TEXT = """
kind: pipeline
train: {recipe: scenes_gain}
segment: {recipe: segment_scenes}
"""


def faults(*overrides: str, text: str = TEXT) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_pipeline(text, "p.yaml", list(overrides))
    return [str(fault) for fault in caught.value.faults]


def test_masks_are_not_scored_on_training_images_unasked() -> None:
    (fault,) = faults("segment.validation.split=null")
    assert "nothing says which images the masks are scored on" in fault
    assert "evaluation.data.split" in fault
    said = ["segment.validation.split=null", "evaluation.data.split=test"]
    assert read_pipeline(TEXT, "p.yaml", said).evaluation.data.split == "test"


def test_every_recipe_is_valid_and_repeatable() -> None:
    result = 0
    for recipe in list_recipes():
        config = load_any_config(recipe.name, [])
        if isinstance(config, PipelineConfig):
            result += 1
            assert f"attn pipeline {recipe.name}" in recipe.header
            assert read_pipeline(dump_config(config), "again.yaml") == config
    assert result >= 10


def test_every_recipe_can_fill_its_batches() -> None:
    """A run with extra supervision in a few images stops before its first step where a batch cannot hold both kinds."""
    supervised = set()
    for recipe in list_recipes():
        config = load_any_config(recipe.name, [])
        for train in (config.train, config.integral) if isinstance(config, PipelineConfig) else (config,):
            supervision = train.method.build().supervision if isinstance(train, TrainConfig) else None
            if isinstance(train, TrainConfig) and supervision is not None:
                rows = train.training.batch_size // (train.cluster.most_workers * train.training.accumulate_steps)
                share = supervision.batch_fraction
                assert len(BatchSampler(1000, rows, supervised=range(100), batch_fraction=share))
                supervised.add(recipe.name)
    assert supervised >= {"gain_ext", "gain_ext_sec_voc"}


def test_stages_take_what_stands_above_them_and_from_one_another() -> None:
    config = read_pipeline(TEXT, "p.yaml", ["data.count=30", "seed=4", "train.data.count=12", "root=/r"])
    assert config.maps is not None
    assert [config.train.data.count, config.segment.data.count, config.maps.data.count] == [12, 30, 30]
    assert (config.evaluation.data.split, config.evaluation.data.count) == ("val", 30)
    assert (config.train.seed, config.segment.seed) == (4, 4)
    assert config.evaluation.root == config.train.root == "/r"
    assert config.evaluation.tracking.enabled
    assert config.maps.input == config.train.input
    dumped = read_pipeline(dump_config(config), "again.yaml", ["data.count=7"])
    assert (dumped.train.data.count, dumped.evaluation.data.count, dumped.evaluation.data.split) == (7, 7, "val")


def test_accumulated_maps_need_no_maps_stage() -> None:
    assert read_pipeline(TEXT, "p.yaml", ["train.recipe=scenes_oaa"]).maps is None
    config = read_pipeline(TEXT, "p.yaml", ["train.recipe=scenes_oaa", "integral.recipe=scenes_oaa_plus"])
    assert config.maps is not None
    assert config.classifier is config.integral


def test_all_faults_are_told_at_once_and_each_once() -> None:
    result = faults("data.cont=3", "segment.labels.rule.foregrond=0.4", "train.trainin.epochs=3", "mapz=1")
    assert len(result) == 4
    assert any("did you mean segment.labels.rule.foreground?" in fault for fault in result)
    assert any("train.recipe = nope: is neither a recipe nor a file" in fault for fault in faults("train.recipe=nope"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["segment.labels.source=masks"], "does not learn from the stages before"),
        (["segment.labels.maps.source=store", "segment.labels.maps.uri=x"], "of its own maps"),
        (["train.root=elsewhere"], "set root instead"),
        (["train.tracking.experiment=other"], "recorded in one place"),
        (["maps=null"], "it keeps none"),
        (["integral.recipe=scenes_oaa_plus"], "train.store.accumulate=true"),
        (["train.recipe=scenes_oaa_plus"], "make it integral"),
        (["train.recipe=segment_scenes"], "is of kind segment, not train"),
        (["segment.recipe=gain_sec_voc"], "is of kind pipeline, not segment"),
        (["train=3"], "gives one value to a section"),
    ],
)
def test_stages_that_do_not_fit_are_refused(overrides: list[str], message: str) -> None:
    assert message in "\n".join(faults(*overrides))
