"""Where ids are numbers, a table beside masks and maps says which file each of them is."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from jobs.runs.run_folder import RunFolder
from tests.bundles import tiny_bundle, tiny_segmenter
from tests.data import layouts
from tests.services.cli.conftest import Attn


def rows_of(folder: str | Path) -> dict[str, str]:
    with Path(folder, "images.csv").open(encoding="utf-8") as stream:
        return {row["image_id"]: row["image"] for row in csv.DictReader(stream)}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of NumPy 2, in pycocotools
def test_masks_and_maps_of_coco(attn: Attn, tmp_path: Path) -> None:
    config = layouts.write(layouts.coco(), tmp_path / "data")
    source = config.build()
    files, classes = {record.image_id: str(record.image) for record in source.records}, source.classes
    assert all(name.isdecimal() and Path(file).is_file() for name, file in files.items())
    (tmp_path / "data.yaml").write_text(config.model_dump_json())
    more = [f"data={tmp_path / 'data.yaml'}", f"root={tmp_path / 'runs'}"]
    segmenter = str(tiny_segmenter(tmp_path / "segmenter", classes=classes))
    classifier = str(tiny_bundle(tmp_path / "classifier", classes=classes))
    done = attn("segment", "predict", segmenter, *more, "processes=0", "panels=0", "--run-id", "masks", "--json")
    assert done.status == 0, done.err
    assert rows_of(done.json["masks"]) == files
    done = attn("maps", classifier, *more, "output.kind=png", "--json")
    assert done.status == 0, done.err
    assert rows_of(done.json["png"]) == files
    done = attn("maps", classifier, *more, "--json")
    assert done.status == 0, done.err
    assert rows_of(done.json["folder"]) == files
    refine = ["maps.refine.name=pamr", "maps.refine.iterations=1", "maps.refine.size=24"]
    done = attn("maps", done.json["store"], *refine, *more, "--json")
    assert done.status == 0, done.err
    assert rows_of(done.json["folder"]) == files

    out = tmp_path / "coco"
    done = attn("export", "masks", "--format", "coco", "--to", str(out), "--root", str(tmp_path / "runs"))
    assert done.status == 0, done.err
    assert "not done" not in done.err
    listed = json.loads((out / "annotations/instances_train.json").read_text())["images"]
    assert sorted(entry["file_name"] for entry in listed) == sorted(Path(file).name for file in files.values())

    RunFolder(str(tmp_path / "runs"), "masks").update(state="interrupted")
    again = attn("export", "masks", "--format", "coco", "--to", f"{out}2", "--root", str(tmp_path / "runs"))
    assert again.status == 0, again.err
    assert "run 'masks' is not done (interrupted): only what it has so far is exported" in again.err


def test_an_unfinished_pipeline_says_so(attn: Attn, tmp_path: Path) -> None:
    RunFolder(str(tmp_path), "p").update(kind="pipeline", state="interrupted", stages={}, stage_names=["train"])
    done = attn("export", "p", "--format", "coco", "--to", str(tmp_path / "out"), "--root", str(tmp_path))
    assert done.status == 1
    assert "run 'p' (pipeline) has no masks to export, as it is not done (interrupted): `attn status" in done.err
    assert not (tmp_path / "out").exists()
