"""OAA+ trained from a tiny store, and what its record says of the maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attn import store
from attn.errors import DataError
from attn.models.bundle import load_bundle
from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig
from jobs import evaluate, train
from jobs.train import run
from tests.jobs.here import fit_here

QUICK = [
    "data.count=32", "data.size=32", "input.size=32", "training.epochs=6", "training.batch_size=16",
    "cluster.workers=1", "cluster.data_workers=0", "tracking.enabled=false", "validation.split=null",
]  # fmt: skip


def config(root: Path, *overrides: str) -> TrainConfig:
    return load_config(TrainConfig, "scenes_oaa_plus", [*QUICK, f"root={root}", *overrides])


def masks_as_maps(root: Path) -> str:
    """A store with the true masks of the run's images, as if they had been accumulated."""
    source = config(root, "method.maps=none").data.build()
    rows = [(record.image_id, label) for record in source.records for label in record.labels]
    result = store.create(str(root / "maps"), rows=rows, grid=(32, 32), classes=source.classes)
    session = result.begin("truth")
    writer = session.writer(0)
    for index, record in enumerate(source.records):
        mask = source.load(index).mask
        assert mask is not None
        for label in record.labels:
            writer.add(record.image_id, label, (mask == label + 1).astype(np.uint8) * 255)
    session.commit(0, [writer.seal()])
    return result.uri


@pytest.mark.slow
@pytest.mark.usefixtures("ray_up")
def test_a_run_learns_the_stored_maps_and_says_which_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "_fit", fit_here)
    maps = masks_as_maps(tmp_path)
    result = run(config(tmp_path, f"method.maps={maps}"), run_id="plus")
    bundle = load_bundle(result.model)
    assert bundle.map_kind == "cam"
    version = store.open(maps).newest().version
    assert bundle.info["method"]["version"] == version
    assert f"version: {version}" in Path(result.folder, "config.yaml").read_text()
    options = [f"root={tmp_path}", "data.split=train", "panels=0"]
    trained = evaluate.run(evaluate.load("plus", options)).scores["seed_miou"]
    integral = result.metrics["train/integral"]
    assert integral is not None, "the loss is no number"
    assert integral < 1.0
    assert trained > 0.12, "nothing but background scores 1/9"


def test_a_store_of_other_images_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    maps = masks_as_maps(tmp_path)
    with pytest.raises(DataError, match="no row for labels of 8 of the 40 images"):
        run(config(tmp_path, f"method.maps={maps}", "data.count=40"), run_id="more")
    assert not (tmp_path / "more").exists()
