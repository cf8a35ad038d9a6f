"""The split that a run validates on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attn.data.source_cache import SourceCache
from attn.errors import DataError
from attn.runs.recipes import load_config
from attn.training.sources import build_source, build_validation
from attn.training.train_config import TrainConfig


@pytest.mark.parametrize("source", ["coco", "folder", "manifest"])
def test_a_validation_split_that_is_not_there_names_its_field(tmp_path: Path, make: Any, source: str) -> None:
    """The data and `data.split` are correct; the error must name the field of the validation split."""
    own = {"manifest": f"manifest={tmp_path}/t.csv"}.get(source, f"root={tmp_path}")
    photographs = {f"train/{name}/{name}.jpg": make.jpeg(number) for number, name in enumerate("ab")}
    rows = "image,labels\n" + "".join(f"{image},{image[6]}\n" for image in photographs)
    make.write(tmp_path, make.coco_files() | photographs | {"t.csv": rows})
    split = "val" if source == "coco" else "train"
    config = load_config(TrainConfig, "scenes_gain", [f"data.source={source}", f"data.{own}", f"data.split={split}"])
    chosen = {wanted: config.validation.model_copy(update={"split": wanted}) for wanted in ("nosuch", split, None)}
    sources = SourceCache()
    images = build_source(config, sources)
    with pytest.raises(DataError, match=r"^validation\.split=nosuch: .*\(set validation\.split, or null to train"):
        build_validation(config.model_copy(update={"validation": chosen["nosuch"]}), images, sources)
    same = build_validation(config.model_copy(update={"validation": chosen[split]}), images, sources)
    assert same is not None
    assert list(same.records) == list(images.records)
    assert build_validation(config.model_copy(update={"validation": chosen[None]}), images, sources) is None
