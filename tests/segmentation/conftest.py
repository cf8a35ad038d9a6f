"""A few scenes and a store of their maps."""

from __future__ import annotations

import pytest

from attn import store
from attn.data.source import Source
from attn.data.sources.generated import ScenesConfig
from tests.segmentation.scene_maps import GRID, true_maps


@pytest.fixture(scope="module")
def scenes() -> Source:
    return ScenesConfig(count=6, size=40).build()


@pytest.fixture(scope="module")
def map_store(scenes: Source, tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = str(tmp_path_factory.mktemp("maps"))
    rows = [(record.image_id, label) for record in scenes.records for label in record.labels]
    result = store.create(uri, rows=rows, grid=GRID, classes=scenes.classes)
    session = result.begin("test")
    writer = session.writer(0)
    for index, record in enumerate(scenes.records):
        for label, values in true_maps(scenes, index).items():
            writer.add(record.image_id, label, values)
    session.publish(session.commit(1, [writer.seal()]))
    return uri
