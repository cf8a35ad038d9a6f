"""Commands that check and show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attn.config.resolve import resolve
from attn.display import local_time
from attn.runs.recipes import list_recipes
from attn.training.train_config import TrainConfig


def test_every_recipe_is_listed_shown_and_valid(attn: Any) -> None:
    listed = attn("recipes", "--json").json["recipes"]
    assert [(row["group"], row["name"]) for row in listed] == [(recipe.group, recipe.name) for recipe in list_recipes()]
    assert listed
    assert all(
        {row["name"], row["group"]} <= set(line.split())
        for row, line in zip(listed, attn("recipes").out.splitlines(), strict=False)
    )
    for row in listed:
        assert row["summary"]
        assert attn("recipes", "show", row["name"]).out == attn("recipes", "show", row["name"], "--json").json["text"]
        assert attn("validate", row["name"], "--json").json["valid"] is True


def test_what_validate_prints_is_a_config_again(attn: Any, tmp_path: Path) -> None:
    name = "scenes_gain"
    printed = attn("validate", name, "seed=7").out
    assert resolve(TrainConfig, printed, "printed", []).seed == 7
    file = tmp_path / "again.yaml"
    file.write_text(printed)
    assert attn("validate", str(file)).out == printed


def test_validate_fails_where_the_run_would_stop_at_its_start(attn: Any, tmp_path: Path) -> None:
    done = attn("validate", "scenes_gain", f"model.weights={tmp_path}/gone.pt", "--json")
    assert (done.status, done.json["valid"], done.json["config"]["seed"]) == (2, False, 0)
    assert done.err.startswith("notice: model.weights: ")
    assert "the run would stop at its start" in done.err


def test_all_faults_are_told_at_once(attn: Any) -> None:
    done = attn("validate", "scenes_gain", "seed=-1", "training.epoch=3", "--json")
    assert done.status == 2
    faults = json.dumps(done.json["error"]["faults"])
    assert "seed" in faults
    assert "did you mean training.epochs" in faults


def test_an_unknown_recipe_is_told_with_its_neighbours(attn: Any) -> None:
    name = "scenes_gain"
    done = attn("validate", name + "x")
    assert done.status == 2
    assert f"did you mean {name}" in done.err


def test_ls_lists_runs_newest_first_with_what_is_broken(attn: Any, tmp_path: Path) -> None:
    for name, started in (("old", 1000.0), ("new", 2000.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"id": name, "state": "done", "started": started}))
    (tmp_path / "no run").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    runs = attn("ls", "--root", str(tmp_path), "--json").json["runs"]
    assert [(run["id"], run["state"]) for run in runs] == [("new", "done"), ("old", "done"), ("broken", "broken")]
    assert local_time(2000.0) in attn("ls", "--root", str(tmp_path)).out


def test_data_are_checked_by_overrides_alone(attn: Any) -> None:
    done = attn("data", "check", "data.source=scenes", "data.count=60", "--json")
    assert (done.status, done.json["images"], done.json["findings"]) == (0, 60, [])


def test_data_are_checked_by_a_recipe(attn: Any) -> None:
    done = attn("data", "check", "scenes_grad_cam", "data.count=2")
    assert done.status == 0
    assert done.out.startswith("data.split=train: 2 images")
    assert "\nvalidation.split=val: 2 images" in done.out


@pytest.mark.parametrize(
    ("images", "status", "expected"),
    [
        ({"boat": 1, "plane": 1}, 0, {"boat": 1, "plane": 1}),
        ({"boat": 2}, 0, {"boat": 2, "plane": 0}),
        ({"boat": 1, "cow": 1}, 1, {}),
    ],
)
def test_a_second_stream_is_checked_with_the_classes_that_training_matches(
    attn: Any, tmp_path: Path, images: dict[str, int], status: int, expected: dict[str, int]
) -> None:
    names = ("boat", "plane", "cow", "sheep")
    rows = ["image,labels,split"]
    for number, name in enumerate(name for name, count in images.items() for _ in range(count)):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)).save(
            tmp_path / f"{number}.png"
        )
        rows.append(f"{number}.png,{name},train")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    source = f"{{source: manifest, manifest: {tmp_path}/table.csv, split: train, classes: [{', '.join(names)}]}}"
    data = ["data.count=4", "data.size=32", "data.classes=[boat, plane, car]", "validation.split=null"]
    done = attn("data", "check", "scenes_attnbn", *data, f"method.source={source}", "method.losses=[source]", "--json")
    report = done.json["splits"]["method.source.split=train"]
    assert (done.status, report["per_class"]) == (status, expected), report
    assert status == 0 or "method.source has images of cow, which data does not have" in str(report["findings"])


def test_it_is_told_what_follows_for_cues_where_images_have_no_saliency(attn: Any, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "0.png")
    (tmp_path / "table.csv").write_text("image,labels,split\n0.png,a,train")
    data = ["data.source=manifest", f"data.manifest={tmp_path}/table.csv", "validation.split=null"]
    done = attn("data", "check", "sec", "labels.maps.model=gain", *data)
    assert "1 image, 0 with a mask, 0 with boxes, 0 with saliency" in done.out
    assert "notice: labels.saliency=auto: no saliency map for 1 of 1 image" in done.err
    assert "set labels.saliency=u2netp" in done.err
    assert "notice" not in attn("data", "check", "sec", "labels.maps.model=gain", "labels.saliency=none", *data).err


def test_a_recipe_s_data_are_checked_for_images_trained_on_and_validated_on(attn: Any, tmp_path: Path) -> None:
    rows = ["id,image,labels,split"]
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number},{number}.png,{'ab'[number % 2]},{'train' if number < 2 else 'val'}")
    shutil.copy(tmp_path / "1.png", tmp_path / "3.png")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    check = [
        "data",
        "check",
        "scenes_grad_cam",
        "data.source=manifest",
        f"data.manifest={tmp_path}/table.csv",
        "--json",
    ]
    done = attn(*check, "validation.split=val")
    assert (done.status, done.json["errors"]) == (1, 0)
    (finding,) = done.json["splits"]["validation.split=val"]["findings"]
    assert finding["severity"] == "error"
    assert "3 (trained on as 1)" in finding["message"]
    assert attn(*check, "validation.split=val", "validation.allow_overlap=true").status == 0
    done = attn(*check, "validation.split=nosuch")
    assert done.status == 1
    assert "nosuch" in done.json["splits"]["validation.split=nosuch"]["findings"][0]["message"]


def test_data_with_errors_end_with_1_and_all_findings(attn: Any, tmp_path: Path) -> None:
    done = attn("data", "check", "data.source=voc", f"data.root={tmp_path}", "--json")
    assert done.status == 1
    assert str(tmp_path) in done.json["findings"][0]["message"]


def test_a_misspelt_field_of_the_data_is_told(attn: Any) -> None:
    done = attn("data", "check", "data.source=scenes", "data.spl=val")
    assert done.status == 2
    assert "data.split" in done.err


@pytest.mark.parametrize("command", [("validate",), ("plan",), ("init",)])
def test_a_warmup_of_all_epochs_is_told(attn: Any, tmp_path: Path, command: tuple[str, ...]) -> None:
    file = [str(tmp_path / "my.yaml")] if command == ("init",) else []
    done = attn(*command, "scenes_gain", *file, "training.epochs=3", "--json")
    assert done.status == 0
    assert done.err.startswith("notice: method.warmup_epochs=9 covers all of training.epochs=3: gain trains by")
    assert "notice" not in done.out


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_a_wrong_name_of_an_image_is_refused(command: str, attn: Any) -> None:
    overrides = ["data.count=40", "data.size=32", "input.size=32", "validation.split=null", "training.batch_size=8"]
    done = attn(command, "scenes_gain_ext", *overrides, "cluster.workers=1", "method.extra_ids=[images/3]")
    assert done.status != 0
    assert "'images/3' is not in the split, whose ids are such as 'train-000000'" in done.err
