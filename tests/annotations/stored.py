"""A map store in a run's folder."""

from __future__ import annotations

__all__ = ["GRID", "SCENES", "random_store"]

from pathlib import Path

import numpy as np

from attn import store
from attn.data.sources.generated import ScenesConfig
from tests.bundles import CLASSES, CONFIG

GRID = (8, 8)
SCENES = ScenesConfig(count=6, size=48, classes=CLASSES)


def random_store(run: Path) -> Path:
    """Random maps of the labels of a few scenes, and the config of the run that they are of."""
    rows = [(record.image_id, label) for record in SCENES.build().records for label in record.labels]
    session = store.create(str(run / "store"), rows=rows, grid=GRID, classes=CLASSES).begin("run")
    writer = session.writer(0)
    writer.add_many(rows, np.random.default_rng(0).uniform(0, 0.5, (len(rows), *GRID)))
    session.publish(session.commit(0, [writer.seal()]))
    (run / "config.yaml").write_text(CONFIG)
    return run / "store"
