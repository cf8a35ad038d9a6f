"""Another source of data than the recipe's: nothing of the recipe's data is left, whatever kind of job it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attn.config.document import dump_values
from attn.config.resolve import resolve
from attn.data.source import SourceConfig
from attn.data.sources import FolderConfig, ManifestConfig, ScenesConfig, VocConfig
from attn.notices import print_once
from attn.runs.config_reader import read_config
from attn.runs.evaluate import EvaluateModelConfig
from attn.runs.pipeline import PipelineConfig, read_pipeline
from attn.runs.recipes import list_recipes, load_any_config
from attn.runs.sweep.config import SweepConfig
from attn.runs.sweep.load import read_sweep, trial_config
from attn.segmentation.config import SegmentPredictConfig
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from jobs.runs.open_model import scored_data, scored_split

TABLE = ["data.source=manifest", "data.manifest=my/t.csv"]
OTHERS: dict[str, SourceConfig] = {
    "data.source=manifest data.manifest=/t.csv": ManifestConfig(manifest="/t.csv"),
    "data.root=/x data.source=folder": FolderConfig(root="/x"),
    "data.source=scenes data.count=7": ScenesConfig(count=7),
}


def _same(actual: SourceConfig, expected: SourceConfig) -> bool:
    """`single_label` and `on_error` say how data is read, and stay."""
    return actual == expected.model_copy(update={"single_label": actual.single_label, "on_error": actual.on_error})


@pytest.mark.parametrize("recipe", [one.name for one in list_recipes() if "\nkind: sweep\n" not in one.text])
def test_of_a_recipe_s_data_nothing_is_left(recipe: str) -> None:
    own = load_any_config(recipe, [])
    assert not isinstance(own, SweepConfig)
    for overrides, expected in OTHERS.items():
        if expected.variant == own.data.variant:
            continue
        config = load_any_config(recipe, overrides.split())
        sections = [config] if isinstance(config, RunConfig) else []
        if isinstance(config, PipelineConfig):
            sections = [section for section in (config.train, config.integral, config.segment) if section]
            assert _same(config.evaluation.data, expected.model_copy(update={"split": "val"}))
            assert config.maps is None or _same(config.maps.data, expected)
        for section in sections:
            assert _same(section.data, expected), section
            assert section.validation.split == "val"


@pytest.mark.parametrize("recipe", ["gain", "grad_cam", "icasc", "gain_ext"])
@pytest.mark.parametrize("source", ["source=folder data.root=/x", "source=cifar10 data.root=/x", "source=look_alikes"])
def test_cross_entropy_is_not_trained_at_the_soft_margin_s_rates(
    recipe: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def head(*overrides: str) -> tuple[float, float]:
        config = load_any_config(recipe, list(overrides))
        assert isinstance(config, TrainConfig)
        return config.optimizer.multipliers.head_weight, config.optimizer.multipliers.head_bias

    exclusive = f"data.{source}".split()
    assert head() == head("data.source=coco", "data.root=/x") == (100, 100)
    assert "note:" not in capsys.readouterr().err
    print_once.cache_clear()
    assert head(*exclusive) == (10, 10)
    named = "optimizer.multipliers.head_weight=100 and optimizer.multipliers.head_bias=100, which are for several, are"
    assert f"{named} left out: 10 holds" in capsys.readouterr().err
    print_once.cache_clear()
    assert head(*exclusive, "optimizer.multipliers={head_weight: 50, head_bias: 40}") == (50, 40)
    assert "note:" not in capsys.readouterr().err


def test_rates_of_the_head_that_stay_whatever_the_source() -> None:
    folder = ["data.source=folder", "data.root=/x"]
    soft_margin = dict.fromkeys(("oaa", "attnbn", "oaa_plus"), (100, 100))
    for recipe, rates in {"scenes_gain": (1, 1), "oaa_voc_paper": (10, 20), **soft_margin}.items():
        config = load_any_config(recipe, folder)
        assert isinstance(config, TrainConfig)
        assert (config.optimizer.multipliers.head_weight, config.optimizer.multipliers.head_bias) == rates


FOLDER = "data.source=folder data.root=/x"
OF_TABLE = "data.source=manifest data.manifest=/t.csv"
IN_FILE = "data: {source: folder, root: /x}\n"
OWN = "optimizer: {multipliers: {head_weight: 50}}\n"


@pytest.mark.parametrize(
    ("text", "overrides", "rates", "dropped"),
    [
        ("recipe: gain\n" + IN_FILE, "", (10, 10), ["head_weight", "head_bias"]),
        ("recipe: gain\n" + IN_FILE + OWN, "", (50, 10), ["head_bias"]),
        ("recipe: gain\n" + IN_FILE, "optimizer.multipliers.head_weight=20", (20, 10), ["head_bias"]),
        ("recipe: gain\n", FOLDER + " optimizer.multipliers.head_weight=20", (20, 10), ["head_bias"]),
        ("recipe: gain\n", FOLDER + " optimizer.multipliers.head_bias=20", (10, 20), ["head_weight"]),
        ("recipe: gain\n" + OWN, FOLDER, (50, 10), ["head_bias"]),
        ("recipe: oaa\n", FOLDER + " method.name=grad_cam", (10, 10), ["head_weight", "head_bias"]),
        ("recipe: oaa\n" + IN_FILE, "method.name=grad_cam", (10, 10), ["head_weight", "head_bias"]),
        ("recipe: gain\n" + IN_FILE, "method.name=oaa model.head=conv", (100, 100), []),
        ("recipe: gain\n" + IN_FILE, "data.source=coco data.root=/x", (100, 100), []),
        ("recipe: gain\n", "data.exclusive=true", (10, 10), ["head_weight", "head_bias"]),
        ("recipe: gain\n", OF_TABLE + " data.exclusive=true", (10, 10), ["head_weight", "head_bias"]),
        ("recipe: gain\ndata: {source: coco, root: /x, exclusive: true}\n", "", (10, 10), ["head_weight", "head_bias"]),
        ("recipe: gain\ndata: {source: coco, root: /x, exclusive: true}\n", "data.exclusive=false", (100, 100), []),
        ("recipe: gain\ndata: {source: coco, root: /x, exclusive: true}\n", "data.exclusive=null", (100, 100), []),
        ("recipe: gain\n", FOLDER + " data.exclusive=null", (10, 10), ["head_weight", "head_bias"]),
        ("recipe: gain\ndata: {exclusive: true}\n", OF_TABLE, (10, 10), ["head_weight", "head_bias"]),
        ("recipe: gain\ndata: {exclusive: true}\n" + OWN, "", (50, 10), ["head_bias"]),
        ("recipe: gain\n" + IN_FILE, "data.exclusive=false", (100, 100), []),
        ("recipe: gain\n", FOLDER + " data.exclusive=false", (100, 100), []),
        ("recipe: oaa\n", "data.exclusive=true", (100, 100), []),
    ],
)
def test_a_rate_of_the_recipe_s_that_does_not_hold_is_named_and_one_s_own_stays(
    text: str, overrides: str, rates: tuple[float, float], dropped: list[str],
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    print_once.cache_clear()
    file = tmp_path / "my.yaml"
    file.write_text(text)
    config = load_any_config(str(file), overrides.split())
    assert isinstance(config, TrainConfig)
    assert (config.optimizer.multipliers.head_weight, config.optimizer.multipliers.head_bias) == rates
    notes = [line for line in capsys.readouterr().err.splitlines() if "for several" in line]
    assert len(notes) == bool(dropped)
    assert [name for name in ("head_weight", "head_bias") if f"{name}=100" in "".join(notes)] == dropped


def test_a_change_between_sources_of_one_label_drops_no_rate() -> None:
    of_cifar = "data: {source: cifar10, root: /x}\nmethod: {name: gain}\nmodel: {name: resnet50}\n" + OWN
    for source, rate in (("folder", 50), ("coco", 50)):
        config = read_config(of_cifar, "recipe of_one_label", [f"data.source={source}", "data.root=/x"])
        assert isinstance(config, TrainConfig)
        assert config.optimizer.multipliers.head_weight == rate


def test_a_pipeline_s_rates_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    print_once.cache_clear()
    pipeline = load_any_config("gain_sec_photographs", ["data.source=folder", "data.root=/x"])
    assert isinstance(pipeline, PipelineConfig)
    assert pipeline.train.optimizer.multipliers.head_weight == 10
    assert "note: train.data.source=folder has one label an image, so train.optimizer." in capsys.readouterr().err


def test_the_same_source_again_keeps_the_rest() -> None:
    config = load_any_config("icasc_voc_paper", ["data.source=voc", "data.root=/x"])
    assert isinstance(config, TrainConfig)
    assert isinstance(config.data, VocConfig)
    assert (config.data.root, config.data.masks) == ("/x", None)
    assert config.validation.split == "ImageSets/Main/val.txt"
    back = load_any_config("icasc_voc_paper", ["data.source=scenes", "data.source=voc"])
    assert isinstance(back, TrainConfig)
    assert back.data == config.data.model_copy(update={"root": str(Path("VOCdevkit/VOC2012").absolute())})


def test_what_is_said_beside_the_new_source_stays_whatever_the_order() -> None:
    orders: list[list[str]] = [
        ["validation.split=dev", *TABLE],
        [*TABLE, "validation.split=dev"],
        [*TABLE[::-1], "validation.split=dev"],
        ["data={source: manifest, manifest: my/t.csv}", "validation.split=dev"],
    ]
    results = [load_any_config("icasc_voc_paper", order) for order in orders]
    assert all(one == results[0] for one in results)
    assert isinstance(results[0], TrainConfig)
    assert results[0].validation.split == "dev"
    plain = load_any_config("icasc_voc_paper", ["data={source: manifest, manifest: my/t.csv}"])
    assert isinstance(plain, TrainConfig)
    assert plain.validation.split == "val"
    assert results[0].data == ManifestConfig(manifest=str(Path("my/t.csv").absolute()))


@pytest.mark.parametrize(
    ("overrides", "train", "segment", "evaluation"),
    [
        (["train.data.source=scenes"], "scenes train", "voc train_aug", "voc val"),
        (["evaluation.data.source=scenes"], "voc train_aug", "voc train_aug", "scenes val"),
        (
            ["segment.data.source=scenes", "segment.validation.split=test"],
            "voc train_aug",
            "scenes train",
            "scenes test",
        ),
    ],
)
def test_sections_of_a_pipeline(overrides: list[str], train: str, segment: str, evaluation: str) -> None:
    text = "kind: pipeline\ntrain: {recipe: gain_voc_paper}\nsegment: {recipe: dsrg_voc_paper}\n"
    config = read_pipeline(text, "p.yaml", overrides)
    datas = (config.train.data, config.segment.data, config.evaluation.data)
    assert [f"{data.variant} {data.split}" for data in datas] == [train, segment, evaluation]


def test_a_file_over_a_recipe() -> None:
    text = (
        "kind: pipeline\ndata: {root: /x, source: folder}\ntrain: {recipe: gain_voc_paper}\nsegment: {recipe: dsrg}\n"
    )
    config = read_pipeline(text, "p.yaml", [])
    assert config.train.data == config.segment.data == FolderConfig(root="/x")


@pytest.mark.parametrize("kind", [EvaluateModelConfig, SegmentPredictConfig])
def test_what_is_scored_is_a_validation_split(kind: type[EvaluateModelConfig | SegmentPredictConfig]) -> None:
    text = dump_values(
        {"data": scored_data({"data": {"source": "scenes", "count": 3}, "validation": {"split": "test"}})}
    )

    def data(*overrides: str) -> SourceConfig:
        return resolve(kind, text, "config.yaml", list(overrides), defaults=scored_split).data

    assert data() == ScenesConfig(count=3, split="test")
    assert data("data.source=folder", "data.root=/x") == FolderConfig(root="/x", split="val")
    assert data("data.source=folder", "data.root=/x", "data.split=dev") == FolderConfig(root="/x", split="dev")


def test_a_sweep_s_base() -> None:
    name = next(one for one in list_recipes() if one.name == "sweep_scenes_gain")  # it sets data.count
    sweep, base = read_sweep(name.text, "s.yaml", [f"set.{text}" for text in TABLE])
    trial: Any = trial_config(base, {})
    assert _same(trial.data, ManifestConfig(manifest=str(Path("my/t.csv").absolute())))
    assert "data.count" not in base
    _, same = read_sweep(name.text, "s.yaml", ["set.data.source=scenes"])
    assert trial_config(same, {}).data.count == sweep.set["data.count"] == 400  # pyright: ignore[reportAttributeAccessIssue]
