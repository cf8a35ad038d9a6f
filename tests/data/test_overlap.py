"""Images in both training and validation data are found by file and content, independent of their names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attn.data.overlap import SAMPLE, shared_images
from attn.data.sample import Record
from attn.data.source import FileSource, SourceConfig
from attn.data.sources import FolderConfig, LookAlikesConfig, ManifestConfig, ScenesConfig, VocConfig
from attn.errors import DataError
from attn.files.locations import split
from attn.files.s3 import client
from attn.runs.pipeline import load_pipeline
from attn.runs.recipes import load_config
from attn.training.sources import overlap_notices
from attn.training.train_config import TrainConfig
from jobs import pipeline
from jobs.runs.run_folder import RunFolder
from jobs.training.classifier import validate
from jobs.training.hooks import TrainingRun


def _source(*images: str) -> FileSource:
    """Ids are the images' numbers, so that they tell nothing."""
    return FileSource(["a"], [Record(str(number), (0,), image=image) for number, image in enumerate(images)])


@pytest.mark.parametrize("put", [shutil.copyfile, os.symlink, os.link, lambda old, new: None])
@pytest.mark.parametrize("size", [100, 5 * SAMPLE])
def test_one_image_under_two_names(tmp_path: Path, put: Callable[[str, str], object], size: int) -> None:
    rng = np.random.default_rng(0)
    other, old, new = (str(tmp_path / name) for name in ("other.jpg", "old.jpg", "new.jpg"))
    for path in (other, old):
        Path(path).write_bytes(rng.bytes(size))
    put(old, new)
    theirs = new if os.path.exists(new) else old
    assert shared_images(_source(other, old), _source(theirs, str(tmp_path / "missing.jpg"))) == [("1", "0")]
    assert shared_images(_source(other), _source(theirs)) == []


def test_files_that_differ_anywhere_are_two(tmp_path: Path) -> None:
    plain = bytes(5 * SAMPLE)
    for name, position in {"plain": None, "first": 0, "middle": len(plain) // 2, "last": len(plain) - 1}.items():
        content = bytearray(plain)
        if position is not None:
            content[position] = 1
        (tmp_path / name).write_bytes(content)
    assert shared_images(*(_source(str(tmp_path / name)) for name in ("plain", "plain"))) == [("0", "0")]
    for name in ("first", "middle", "last"):
        assert shared_images(_source(str(tmp_path / "plain")), _source(str(tmp_path / name))) == []


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "device")
    for name in ("pipe", "device"):
        location = str(tmp_path / name)
        assert shared_images(_source(location), _source(str(empty))) == []
        assert shared_images(_source(str(empty)), _source(location, "/dev/full")) == []


def test_objects_are_compared_by_their_etags(tmp_path: Path, s3_server: str) -> None:
    contents = {"one": b"a" * 9, "same": b"a" * 9, "other": b"b" * 9}
    for name, content in contents.items():
        bucket, key = split(f"{s3_server}/overlap/{name}")
        client().put_object(Bucket=bucket, Key=key, Body=content)
        (tmp_path / name).write_bytes(content)
    remote, local = (
        {name: f"{location}/{name}" for name in contents} for location in (f"{s3_server}/overlap", tmp_path)
    )
    for ours, theirs in ((remote, remote), (remote, local), (local, remote)):
        assert shared_images(_source(ours["one"], ours["other"]), _source(theirs["same"])) == [("0", "0")]
        assert shared_images(_source(ours["other"]), _source(theirs["same"])) == []


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        (ScenesConfig(count=3, size=32), ScenesConfig(count=2, size=32), 2),
        (ScenesConfig(count=3, size=32), ScenesConfig(count=3, size=32, split="val"), 0),
        (ScenesConfig(count=3, size=32), ScenesConfig(count=3, size=32, seed=1), 0),
        (LookAlikesConfig(count=3, size=32), LookAlikesConfig(count=3, size=32, split="val"), 0),
    ],
)
def test_generated_images(first: SourceConfig, second: SourceConfig, shared: int) -> None:
    assert len(shared_images(first.build(), second.build())) == shared


def test_across_sources_and_not_by_id(tmp_path: Path, make: Any, voc: Path) -> None:
    root = make.write(tmp_path, {f"{split}/{name}/1.jpg": make.jpeg(seed) for seed, (split, name) in enumerate(
        [("train", "cat"), ("train", "dog"), ("val", "cat"), ("val", "dog")])})  # fmt: skip
    train, val = (FolderConfig(root=str(root), split=split).build() for split in ("train", "val"))
    assert [record.image_id for record in train.records] == [record.image_id for record in val.records]
    assert shared_images(train, val) == []
    make.write(root, {"t.csv": f"image,labels\nval/dog/1.jpg,dog\n{voc}/VOC2012/JPEGImages/a_1.jpg,cat\n"})
    table = ManifestConfig(manifest=f"{root}/t.csv").build()
    assert shared_images(val, table) == [("dog/1", "val/dog/1")]
    assert [theirs for _, theirs in shared_images(VocConfig(root=str(voc)).build(), table)] == [
        record.image_id for record in table.records if record.image_id.endswith("a_1")
    ]


def _checked(root: Path, *overrides: str) -> dict[str, Any]:
    """What a training's check finds, of a table of three rows to train on and one to validate on."""
    data = ["data.source=manifest", f"data.manifest={root}/t.csv", f"root={root}/runs"]
    small = ["input.size=32", "model.widths=[4,4,4]", "cluster.workers=1", "training.batch_size=2"]
    config = load_config(TrainConfig, "scenes_grad_cam", [*data, *small, *overrides])
    return validate(TrainingRun(config, RunFolder(config.root, "run")))


def test_a_table_is_trained_on_its_own_split(tmp_path: Path, make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "image,labels,split\n0.jpg,a,train\n1.jpg,b,train\n2.jpg,a,train\n3.jpg,b,val\n"
    root = make.write(tmp_path, {"t.csv": rows, **{f"{number}.jpg": make.jpeg(number) for number in range(4)}})
    assert [record.image_id for record in ManifestConfig(manifest=f"{root}/t.csv").build().records] == ["0", "1", "2"]
    assert _checked(root)["notices"] == []
    with pytest.raises(DataError, match=r"1 of the 1 images of validation\.split=val is also trained on .*: 3\..*"
                                        r"validation\.allow_overlap=true"):  # fmt: skip
        _checked(root, "data.split=all")
    (notice,) = _checked(root, "data.split=all", "validation.allow_overlap=true")["notices"]
    assert "also trained on (data.split=all): 3. Their scores say nothing of other images" in notice
    assert f"notice: {notice}" in capsys.readouterr().err
    assert _checked(root, "data.split=all", "validation.split=null")["notices"] == []
    (root / "3.jpg").write_bytes(make.jpeg(1))
    with pytest.raises(DataError, match=r"3 \(trained on as 1\)"):
        _checked(root)


def test_images_of_the_second_stream_count_as_training_images(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode())
    of = {name: _source(str(tmp_path / name)) for name in "abc"}
    config = load_config(TrainConfig, "scenes_attnbn", [])
    assert overlap_notices(config, of["a"], of["b"], of["c"]) == []
    assert overlap_notices(config, of["a"], None, of["a"]) == []
    with pytest.raises(DataError, match=r"1 of the 1 images"):
        overlap_notices(config, of["a"], of["c"], of["c"])


def test_a_pipeline_reports_overlap_before_its_first_stage(tmp_path: Path, make: Any) -> None:
    rows = "image,labels,split\n0.jpg,a,train\n1.jpg,b,val\n"
    root = make.write(tmp_path, {"t.csv": rows, "0.jpg": make.jpeg(0), "1.jpg": make.jpeg(1)})
    data = ["source=manifest", f"manifest={root}/t.csv", "split=all"]
    overrides = [*(f"segment.data.{text}" for text in data), f"train.data.{data[0]}", f"train.data.{data[1]}"]
    config = load_pipeline("grad_cam_segment_scenes", [*overrides, f"root={root}/runs", "tracking.enabled=false"])
    with pytest.raises(DataError, match=r"validation\.split=val is also trained on \(data\.split=all\): 1"):
        pipeline.run(config)


def test_a_table_without_splits_is_all_to_train_on(tmp_path: Path, make: Any) -> None:
    for column in ("", ",split"):
        rows = f"image,labels{column}\n" + "".join(f"{number}.jpg,a\n" for number in range(2))
        root = make.write(tmp_path, {"t.csv": rows, "0.jpg": make.jpeg(0), "1.jpg": make.jpeg(1)})
        config = ManifestConfig(manifest=f"{root}/t.csv")
        assert len(config.build().records) == 2
        with pytest.raises(DataError, match=r"no row of split 'val'; it has no column 'split'.*validation\.split=null"):
            config.model_copy(update={"split": "val"}).build()
