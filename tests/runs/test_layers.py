"""What a run's file starts from, and the files of data that it and the command line name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attn.config.resolve import dump_config
from attn.data.sources import CocoConfig, FolderConfig, ScenesConfig, VocConfig
from attn.errors import ConfigError
from attn.notices import print_once
from attn.runs.config_reader import read_run
from attn.runs.layers import MAX_CHAIN, follow, read_layers
from attn.runs.pipeline import PipelineConfig
from attn.runs.recipes import load_any_config, load_run
from attn.runs.sweep.config import SweepConfig
from attn.runs.sweep.load import sweep_config, trial_config
from attn.runs.texts import LOCAL_TEXTS, GivenTexts
from attn.segmentation.config import SegmentConfig
from attn.training.train_config import TrainConfig
from tests.runs.written import PHOTOS, told, train


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.yaml").write_text(PHOTOS)
    print_once.cache_clear()
    return tmp_path


def test_a_file_lies_over_its_recipe_and_overrides_over_both() -> None:
    plain = load_any_config("scenes_gain", [])
    config = train("recipe: scenes_gain\nmethod: {alpha: 0.7}\ntraining: {epochs: 20}\n", "training.epochs=30")
    assert isinstance(plain, TrainConfig)
    assert (config.method.model_dump()["alpha"], config.training.epochs) == (0.7, 30)
    assert config.optimizer == plain.optimizer
    assert config.data == plain.data
    assert "recipe" not in dump_config(config)


def test_a_choice_in_the_file_drops_what_it_does_not_have() -> None:
    config = train("recipe: scenes_gain\nmethod: {name: grad_cam}\nschedule: {name: constant}\n")
    assert config.method.variant == "grad_cam"
    Path("under.yaml").write_text("recipe: scenes_gain\nmethod: {name: icasc}\n")
    again = train("recipe: under.yaml\nmethod: {name: oaa}\nmodel: {head: conv}\n")
    assert again.method.variant == "oaa"
    faults = told(text="recipe: scenes_gain\nmethod: {name: grad_cam, alpha: 0.5}\n")
    assert faults[0].startswith("my.yaml:2: method.alpha is not a known field")


def test_another_source_in_the_file_drops_the_recipes_data_and_its_validation_split() -> None:
    config = train("recipe: icasc_voc_paper\ndata: {source: folder, root: /x}\n")
    assert config.data == FolderConfig(root="/x")
    assert config.validation.split == "val"
    own = train("recipe: icasc_voc_paper\ndata: {source: folder, root: /x}\nvalidation: {split: dev}\n")
    assert own.validation.split == "dev"
    same = train("recipe: icasc_voc_paper\ndata: {source: voc, root: /x}\n")
    assert isinstance(same.data, VocConfig)
    assert (same.data.root, same.data.masks, same.validation.split) == ("/x", None, "ImageSets/Main/val.txt")


@pytest.mark.parametrize(
    ("data", "split"),
    [
        ("source: coco, root: /c", "val2017"),
        ("source: coco, root: /c, split: train2014", "val2014"),
        ("source: coco, root: /c, split: train", "val"),
        ("source: coco, root: /c, split: part", "val"),
        ("source: cifar10, root: /c", "test"),
        ("source: caltech256, root: /c", "test"),
        ("source: manifest, manifest: /c.csv", "val"),
    ],
)
def test_the_validation_split_is_that_of_the_source(data: str, split: str) -> None:
    for text in (
        f"recipe: gain\ndata: {{{data}}}\n",
        f"recipe: gain\ndata: {{{data}}}\nvalidation: {{every_epochs: 2}}",
    ):
        config = train(text)
        assert config.validation.split == split
        assert train(dump_config(config)) == config
    assert train(f"recipe: gain\ndata: {{{data}}}\nvalidation: {{split: null}}\n").validation.split is None


def test_a_pipelines_masks_are_scored_on_the_validation_split_of_the_source() -> None:
    config = load_any_config("gain_sec_photographs", ["data.source=coco", "data.root=/c"])
    assert isinstance(config, PipelineConfig)
    assert config.evaluation.data == CocoConfig(root="/c", split="val2017")
    assert config.train.validation.split == config.segment.validation.split == "val2017"


def test_recipes_start_from_recipes_beside_them(folder: Path) -> None:
    for name, text in {
        "team/base.yaml": "recipe: scenes_gain\nseed: 3\ndata: {count: 50}\n",
        "team/mine/top.yaml": "recipe: ../base.yaml\ntraining: {epochs: 20}\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    config = load_any_config("team/mine/top.yaml", [])
    assert isinstance(config, TrainConfig)
    assert isinstance(config.data, ScenesConfig)
    assert (config.seed, config.data.count, config.training.epochs) == (3, 50, 20)


def test_a_file_may_be_called_like_its_recipe(folder: Path) -> None:
    (folder / "scenes_gain.yaml").write_text("recipe: scenes_gain\nmethod: {name: grad_cam}\n")
    config = load_any_config("scenes_gain.yaml", [])
    assert isinstance(config, TrainConfig)
    assert config.method.variant == "grad_cam"
    (folder / "gain").write_text("seed: 1\n")  # nor does a file take a recipe's place in a file
    assert train("recipe: gain\n").seed == 0


def test_a_recipe_named_from_the_working_directory_still_works(folder: Path, capsys: Any) -> None:
    (folder / "base.yaml").write_text("recipe: scenes_gain\nseed: 3\n")
    (folder / "sub").mkdir()
    (folder / "sub/my.yaml").write_text("recipe: base.yaml\n")
    config = load_any_config("sub/my.yaml", [])
    assert isinstance(config, TrainConfig)
    assert config.seed == 3
    assert "`recipe: base.yaml` is now `recipe: ../base.yaml`" in capsys.readouterr().err


def test_the_command_line_names_another_recipe() -> None:
    config = train("recipe: scenes_gain\nseed: 3\n", "recipe=scenes_oaa")
    assert (config.method.variant, config.seed) == ("oaa", 3)


def test_every_kind_takes_its_kind_from_the_recipe() -> None:
    for recipe, kind in (("sec", SegmentConfig), ("gain_sec_voc", PipelineConfig), ("sweep_gain", SweepConfig)):
        Path("my.yaml").write_text(f"recipe: {recipe}\nroot: /r\n")
        config = load_any_config("my.yaml", [])
        assert isinstance(config, kind)
        assert config.root == "/r"
        assert load_run("my.yaml", kind.model_fields["kind"].default, []) is not None


def test_a_whole_pipeline_is_a_recipe() -> None:
    Path("my.yaml").write_text(
        "recipe: gain_sec_photographs\ndata: photos.yaml\n"
        "train: {recipe: grad_cam, training: {epochs: 2}}\n"
        "segment: {method: {name: cross_entropy}, training: {epochs: 3}}\n"
    )
    config = load_any_config("my.yaml", [])
    assert isinstance(config, PipelineConfig)
    data = FolderConfig(root="/photos", classes=("cat", "dog"))
    assert config.train.data == config.segment.data == data
    assert config.evaluation.data == data.model_copy(update={"split": "val"})
    assert (config.train.method.variant, config.segment.method.variant) == ("grad_cam", "cross_entropy")
    assert (config.train.training.epochs, config.segment.training.epochs) == (2, 3)
    again = read_run(dump_config(config), "config.yaml", texts=GivenTexts())
    assert again == config
    faults = told(text="recipe: gain_sec_photographs\nsegment: {method: {name: cross_entropy, alhpa: 1}}\n")
    assert [fault.partition(" (")[0] for fault in faults] == ["my.yaml:2: segment.method.alhpa is not a known field"]


def test_a_section_starts_from_a_file_that_starts_from_a_recipe() -> None:
    Path("mine.yaml").write_text("recipe: scenes_gain\nmethod: {name: grad_cam}\ndata: {count: 40}\n")
    Path("my.yaml").write_text("recipe: gain_segment_scenes\ntrain: {recipe: mine.yaml}\n")
    config = load_any_config("my.yaml", [])
    assert isinstance(config, PipelineConfig)
    assert config.train.method.variant == "grad_cam"
    (fault, *_) = told(text="recipe: gain_segment_scenes\ntrain: {recipe: sec}\n")
    assert fault.startswith("my.yaml:2: train.recipe = recipe sec:")


def test_a_sweep_starts_from_a_sweep_or_from_what_it_searches() -> None:
    Path("my.yaml").write_text("recipe: sweep_scenes_gain\ndata: {count: 20}\nsearch: {name: random, trials: 3}\n")
    loaded = load_run("my.yaml", "sweep", ["data.size=32"])
    data = trial_config(loaded.base, {}).data
    assert isinstance(data, ScenesConfig)
    assert (data.count, data.size) == (20, 32)
    assert (loaded.config.recipe, loaded.config.trials) == ("scenes_gain", 3)
    Path("mine.yaml").write_text("recipe: scenes_gain\nseed: 3\ncluster: {workers: 1}\n")
    search = "search: {name: grid}\nspace: {method.alpha: [0.1, 0.2]}\n"
    Path("my.yaml").write_text(f"kind: sweep\nrecipe: mine.yaml\n{search}")
    assert trial_config(load_run("my.yaml", "sweep", []).base, {}).model_dump()["seed"] == 3
    Path("my.yaml").write_text("recipe: sweep_scenes_gain\nspace: {method.alpha: [0.1, 0.2]}\n")
    assert list(load_run("my.yaml", "sweep", []).config.space) == ["method.alpha"]


def test_a_sweep_hands_its_data_to_its_trials(folder: Path) -> None:
    for given in (["data=photos.yaml"], ["set.data=photos.yaml"], ["data.source=folder", "data.root=/photos"]):
        loaded = load_run("sweep_gain", "sweep", given)
        data = trial_config(loaded.base, {}).data
        assert isinstance(data, FolderConfig)
        assert data.root == "/photos"
    (folder / "my.yaml").write_text("recipe: sweep_gain\ndata: photos.yaml\nset: {data.split: dev}\n")
    data = trial_config(load_run("my.yaml", "sweep", []).base, {}).data
    assert data == FolderConfig(root="/photos", classes=("cat", "dog"), split="dev")
    of_pipeline = "kind: sweep\nrecipe: gain_sec_photographs\nspace: {segment.labels.rule.foreground: [0.2, 0.3]}\n"
    (folder / "my.yaml").write_text(
        f"{of_pipeline}search: {{name: grid}}\nobjective: {{metric: miou}}\ndata: photos.yaml\n"
    )
    trial = trial_config(load_run("my.yaml", "sweep", []).base, {})
    assert isinstance(trial, PipelineConfig)
    assert isinstance(trial.train.data, FolderConfig)
    assert isinstance(trial.segment.data, FolderConfig)


def test_a_sweeps_former_spelling_says_so_once(capsys: Any) -> None:
    text = "kind: sweep\nbase: scenes_gain\nspace: {method.alpha: [0.1, 0.2]}\nsearch: {name: grid}\n"
    Path("my.yaml").write_text(text)
    for _ in range(2):
        assert load_run("my.yaml", "sweep", []).config.recipe == "scenes_gain"
    assert load_run("my.yaml", "sweep", ["base=scenes_gain_ext"]).config.recipe == "scenes_gain_ext"
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"note: `base: {name}` is now `recipe: {name}`; version 0.3 will drop the old spelling"
        for name in ("scenes_gain", "scenes_gain_ext")
    ]
    written = text.replace("[0.1, 0.2]", "{choices: [0.1, 0.2]}")  # in the folder of a sweep of version 0.1
    assert sweep_config(written, "sweep.yaml").recipe == "scenes_gain"
    assert capsys.readouterr().err == ""
    assert told(text=text + "recipe: scenes_gain\n")[0].startswith("my.yaml:2: base is the former name of recipe")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recipe: gian\n", "my.yaml:1: recipe = gian is neither a recipe nor a file (did you mean gain?"),
        ("recipe: no.yaml\n", "my.yaml:1: recipe = no.yaml cannot be read: there is no such file"),
        ("recipe: 3\n", "my.yaml:1: recipe must be a text"),
        ("recipe: null\n", "my.yaml:1: recipe must be a text"),
        ("recipe: ..\n", "my.yaml:1: recipe = .. is neither a recipe nor a file"),
        ("recipe: ./\n", "my.yaml:1: recipe = . cannot be read: is a folder"),
        ("recipe: my.yaml\n", "my.yaml:1: recipe = my.yaml starts from itself: my.yaml -> my.yaml"),
        ("recipe: ./my.yaml\n", "my.yaml:1: recipe = ./my.yaml starts from itself"),
        (
            "recipe: a/two.yaml\n",
            "a/two.yaml:2: recipe = ../my.yaml starts from itself: my.yaml -> a/two.yaml -> my.yaml",
        ),
        ("kind: sweep\nrecipe: my.yaml\n", "my.yaml:2: recipe = my.yaml starts from itself"),
        ("kind: segment\nrecipe: gain\n", "my.yaml:2: recipe = gain is of kind train, not segment"),
        ("kind: trian\nrecipe: gain\n", "my.yaml:1: kind = 'trian' is not available"),
        ("recipe: gain\ndata: no.yaml\n", "my.yaml:2: data = no.yaml cannot be read: there is no such file"),
        ("recipe: gain\ndata: .\n", "my.yaml:2: data = . cannot be read: is a folder"),
        ("recipe: gain\ndata: 3\n", "my.yaml:2: data"),
        ("recipe: gain\ndata: null\n", "my.yaml:2: data"),
        ("recipe: gain\nmodel: {nam: vgg16}\n", "my.yaml:2: model.nam is not a known field"),
        ("recipe: broken.yaml\n", "broken.yaml:2: seed = -1 should be greater"),
    ],
)
def test_one_clear_error_in_the_right_file(text: str, said: str) -> None:
    files = {"a/two.yaml": "seed: 1\nrecipe: ../my.yaml\n", "broken.yaml": "recipe: gain\nseed: -1\n"}
    faults = told(text=text, files=files)
    assert any(fault.startswith(said) for fault in faults), faults


def test_a_chain_has_an_end() -> None:
    files = {f"f{number}.yaml": f"recipe: f{number + 1}.yaml\n" for number in range(40)}
    (fault,) = told("f0.yaml", files=files)
    assert f"more than {MAX_CHAIN} files start from one another" in fault


@pytest.mark.parametrize(
    "files",
    [
        {"a.yaml": "kind: pipeline\ntrain: {recipe: a.yaml}\n"},
        {
            "a.yaml": "kind: pipeline\ntrain: {recipe: b.yaml}\n",
            "b.yaml": "kind: pipeline\nsegment: {recipe: a.yaml}\n",
        },
        {
            "a.yaml": "kind: pipeline\ntrain: {recipe: x/b.yaml}\n",
            "x/b.yaml": "kind: sweep\nsegment: {recipe: ../a.yaml}\n",
        },
    ],
)
def test_a_section_may_not_name_the_file_that_it_stands_in(files: dict[str, str]) -> None:
    (fault, *_) = told("a.yaml", files=files)
    assert "kind" in fault
    layers = read_layers(Path("a.yaml").read_text(), "a.yaml", [], LOCAL_TEXTS)
    follow(layers)  # what is sent is read once; the service tells the fault


def test_what_was_sent_is_all_that_is_read(folder: Path) -> None:
    texts = GivenTexts({"photos.yaml": PHOTOS, "base.yaml": "recipe: gain\ndata: photos.yaml\n"})
    config = read_run("recipe: base.yaml\nseed: 2\n", "config", ["training.epochs=3"], texts=texts)
    assert config.data == FolderConfig(root="/photos", classes=("cat", "dog"))
    (folder / "secret.yaml").write_text("token: hunter2\n")
    for name in (str(folder / "secret.yaml"), "secret.yaml", "../secret.yaml", "~/secret.yaml", "/etc/passwd"):
        for text, overrides in (
            (f"recipe: gain\ndata: {name}\n", []),
            (f"recipe: {name}\n", []),
            ("recipe: gain\n", [f"data={name}"]),
            ("recipe: gain\n", [f"recipe={name}"]),
            (f"kind: pipeline\ntrain: {{recipe: {name}}}\nsegment: {{recipe: sec}}\n", []),
            (f"kind: pipeline\ntrain: {{recipe: gain, data: {name}}}\nsegment: {{recipe: sec}}\n", []),
            (f"kind: sweep\nrecipe: {name}\nspace: {{seed: [1, 2]}}\nsearch: {{name: grid}}\n", []),
            (f"recipe: sweep_gain\nset: {{data: {name}}}\n", []),
        ):
            with pytest.raises(ConfigError, match=r"was not sent|nor a file that was sent") as caught:
                read_run(text, "config", overrides, texts=texts)
            assert "hunter2" not in str(caught.value)
