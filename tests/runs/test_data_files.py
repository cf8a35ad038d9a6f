"""Files of data that a run's file or the command line names."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.config.document import PlacedOverride
from attn.config.resolve import dump_config
from attn.data.sources import CocoConfig, FolderConfig
from attn.runs.layers import with_data
from attn.runs.recipes import load_any_config
from attn.runs.texts import LOCAL_TEXTS
from attn.training.train_config import TrainConfig
from tests.runs.written import PHOTOS, told, train


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.yaml").write_text(PHOTOS)
    return tmp_path


def test_data_from_a_file_is_as_if_it_stood_there(folder: Path) -> None:
    expected = FolderConfig(root="/photos", classes=("cat", "dog"))
    assert train("recipe: gain\ndata: photos.yaml\n").data == expected
    assert train("recipe: gain\n", "data=photos.yaml").data == expected
    assert train("recipe: gain\n", "data.split=dev", "data=photos.yaml").data == expected.model_copy(
        update={"split": "dev"}
    )
    (folder / "sub").mkdir()
    (folder / "sub/my.yaml").write_text("recipe: gain\ndata: ../photos.yaml\n")
    config = load_any_config("sub/my.yaml", [])
    assert isinstance(config, TrainConfig)
    assert config.data == expected
    assert "photos.yaml" not in dump_config(config)
    other = train("recipe: gain\n", "data=photos.yaml", "data.source=coco", "data.root=/c")
    assert other.data == CocoConfig(root="/c")
    over = train("recipe: sec\nkind: segment\n".replace("sec\nkind: segment", "gain_voc_paper"), "data=photos.yaml")
    assert over.data == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("source: folder\nrot: /x\n", "photos.yaml:2: data.rot is not a known field (did you mean data.root?)"),
        ("source: foldr\nroot: /x\n", "photos.yaml:1: data.source = 'foldr' is not available"),
        ("source: folder\nroot: 3\n", "photos.yaml:2: data.root = 3 should be text"),
        ("source: folder\nroot: /x\nroot: /y\n", "photos.yaml:3: root is given twice"),
        ("source: folder\n", "photos.yaml:1: data.root is missing"),
        ("data: {source: folder, root: /x}\n", "photos.yaml:1: data: the file is itself a section"),
        ("data: other.yaml\n", "photos.yaml:1: data: the file names another file of data"),
        ("source: folder\nroot: /x\ndata:\n", "photos.yaml:3: data: the file names another file of data"),
        ("[1, 2]\n", "photos.yaml:1: expected a mapping"),
        ("", "photos.yaml: has no fields"),
        ("a: &a [*a]\n", "photos.yaml:1: alias *a is inside its own anchor"),
        ("- " * 100 + "x\n", "photos.yaml:1: is nested too deeply"),
    ],
)
@pytest.mark.parametrize("way", ["file", "override", "section"])
def test_a_fault_in_a_file_of_data_names_its_line(content: str, said: str, way: str) -> None:
    files = {"photos.yaml": content}
    if way == "override":
        faults = told("gain", "data=photos.yaml", files=files)
    elif way == "file":
        faults = told(text="recipe: gain\nseed: 1\ndata: photos.yaml\n", files=files)
    else:
        faults = told("gain_sec_photographs", "train.data=photos.yaml", files=files)
        said = (
            said.replace("data.r", "train.data.r")
            .replace("data.s", "train.data.s")
            .replace("mean data", "mean train.data")
        )
    assert any(fault.startswith(said) for fault in faults), faults


SWEEP = "kind: sweep\nrecipe: mine.yaml\nspace: {method.alpha: [0.1, 0.2]}\nsearch: {name: grid}\n"


@pytest.mark.parametrize(
    ("text", "overrides", "wrong"),
    [
        ("recipe: gain\ndata: no.yaml\ntraining: {epocs: 3}\n", [], ["training.epocs"]),
        ("data: no.yaml\ntraining: {epocs: 3}\n", [], ["training.epocs", "model", "method"]),
        ("recipe: gain\n", ["data=no.yaml", "training.epocs=3", "seed=x"], ["training.epocs", "seed"]),
        ("recipe: gain\n", ["data=no.yaml", "data.source=coco", "data.splt=x", "seed=x"], ["seed"]),
        ("recipe: gain\n", ["data=no.yaml", "seed"], ["not of the form"]),
        ("recipe: mine.yaml\ntraining: {epocs: 3}\n", [], ["training.epocs"]),
        ("recipe: gain_sec_photographs\nseed: x\ndata: no.yaml\n", [], ["train.seed"]),
        ("recipe: gain_sec_photographs\nsegment: {data: no.yaml}\ntrain: {seed: x}\n", [], ["train.seed"]),
        ("recipe: gain_sec_photographs\ntrain: {recipe: mine.yaml, seed: x}\n", [], ["train.seed"]),
        ("recipe: gain_sec_photographs\n", ["maps.data=no.yaml", "train.seed=x"], ["train.seed"]),
        (
            "recipe: gain_sec_photographs\n",
            ["segment.data=no.yaml", "segment.data.splt=x", "train.data.single_label=x"],
            ["train.data.single_label"],
        ),
        ("recipe: sweep_gain\ndata: no.yaml\nparallel: x\n", [], ["parallel"]),
        ("recipe: sweep_gain\n", ["data=no.yaml", "set.training.epocs=3"], ["training.epocs"]),
        (SWEEP, ["set.seed=x", "parallel=y"], ["parallel", "seed"]),
    ],
)
def test_a_file_of_data_that_is_missing_is_one_fault_among_the_others(
    text: str, overrides: list[str], wrong: list[str]
) -> None:
    faults = told("my.yaml", *overrides, text=text, files={"mine.yaml": "recipe: gain\ndata: no.yaml\n"})
    missing = [fault for fault in faults if "no.yaml cannot be read: there is no such file" in fault]
    others = sorted(fault.partition(": ")[2] for fault in faults if fault not in missing)
    assert len(missing) == 1, faults
    assert [one.startswith(name) for one, name in zip(others, sorted(wrong), strict=True)] == [True] * len(wrong), (
        others
    )


def test_a_field_of_the_recipes_source_is_not_taken_for_the_files() -> None:
    (fault,) = told("gain", "data=photos.yaml", files={"photos.yaml": "root: /x\nmaks: null\n"})
    assert fault.startswith("photos.yaml:2: data.maks is not a known field (did you mean data.masks?)")


def test_a_placed_override_says_where_it_stands() -> None:
    (source, root, classes, split) = with_data(["data.split=dev", "data=photos.yaml"], LOCAL_TEXTS)
    assert [source, root, classes, split] == [
        "data.source=folder", "data.root=/photos", "data.classes=[\"cat\", \"dog\"]", "data.split=dev",
    ]  # fmt: skip
    assert isinstance(root, PlacedOverride)
    assert root.location == "photos.yaml:2"
    assert with_data([source, root, classes, split], LOCAL_TEXTS) == [source, root, classes, split]
