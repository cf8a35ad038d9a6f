"""Stored maps as soft labels: their position in the input, and stores of other data."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attn import store
from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.sample import collate
from attn.data.soft_labels import SoftLabels, StoredMaps, open_maps
from attn.data.source import Source
from attn.data.sources import ScenesConfig
from attn.data.transforms import InputConfig
from attn.errors import DataError
from attn.models.map_size import MapSize
from attn.models.network import ModelConfig

GRID = (8, 8)


def scenes(count: int = 6) -> Source:
    return ScenesConfig(count=count, size=32, objects=(1, 2)).build()


def stored(uri: str, source: Source, maps: Callable[[str, int], Any] | None = None, **changes: Any) -> StoredMaps:
    """A store of a source's labels with one version: maps of noise, or what a function gives for (image, class)."""
    rows = [(record.image_id, label) for record in source.records for label in record.labels]
    outcome = store.create(uri, **{"rows": rows, "grid": GRID, "classes": source.classes} | changes)
    session = outcome.begin("run")
    writer = session.writer(0)
    random = np.random.default_rng(0)
    for image_id, label in outcome.rows:
        result = random.integers(0, 256, outcome.grid, dtype=np.uint8) if maps is None else maps(image_id, label)
        if result is not None:
            writer.add(image_id, label, result)
    session.commit(0, [writer.seal()])
    return StoredMaps(uri)


def soft(maps: StoredMaps, source: Source, grid: tuple[int, int] = GRID) -> SoftLabels:
    return SoftLabels(open_maps(maps, source), lambda _: grid)


def test_a_whole_image_gets_its_map_as_it_is_and_a_mirrored_one_mirrored(tmp_path: Path) -> None:
    source = scenes()
    maps = stored(str(tmp_path / "maps"), source)
    snapshot = open_maps(maps, source)
    dataset = AttentionDataset(source, InputConfig(size=24), train=True, soft_labels=soft(maps, source))
    flips = set()
    for epoch in range(4):
        for index, record in enumerate(source.records):
            sample = dataset[(epoch, index)]
            assert sample.soft_labels is not None
            flips.add(sample.geometry.flip)
            for label, got in zip(record.labels, sample.soft_labels.numpy(), strict=True):
                expected = snapshot[record.image_id][label].astype(np.float32) / 255
                np.testing.assert_array_equal(got, expected[:, ::-1] if sample.geometry.flip else expected)
    assert flips == {True, False}


def test_soft_labels_follow_crop_and_flip(tmp_path: Path) -> None:
    """A map that is an image's own brightness stays that of the input."""
    source = ScenesConfig(count=6, size=64).build()
    images = {record.image_id: source.load(index).image for index, record in enumerate(source.records)}
    bright = {image_id: image.mean(axis=2).round().astype(np.uint8) for image_id, image in images.items()}
    maps = stored(str(tmp_path / "maps"), source, lambda image_id, _: bright[image_id], grid=(64, 64))
    config = InputConfig(size=64, resize="crop", crop_area=(0.3, 1.5), mean=(0, 0, 0), std=(1, 1, 1))
    dataset = AttentionDataset(source, config, train=True, soft_labels=soft(maps, source, (64, 64)))
    for index in range(len(source.records)):
        sample = dataset[(3, index)]
        assert sample.soft_labels is not None
        gray_HW = sample.image.mean(dim=0)
        for got_hw in sample.soft_labels:
            assert float((got_hw - gray_HW).abs().mean()) < 0.03


def test_a_batch_holds_them_by_class_and_zero_maps_are_zero(tmp_path: Path) -> None:
    source = scenes()
    last = source.records[-1].image_id
    maps = stored(str(tmp_path / "maps"), source, lambda image_id, label: None if image_id == last else np.ones(GRID))
    dataset = AttentionDataset(source, InputConfig(size=24), train=True, soft_labels=soft(maps, source))
    batch = collate([dataset[(0, index)] for index in range(len(dataset))])
    assert batch.soft_labels is not None
    assert batch.soft_labels.shape == (6, len(source.classes), *GRID)
    assert torch.equal(batch.soft_labels[:-1].amax(dim=(2, 3)), batch.labels[:-1])
    assert float(batch.soft_labels[-1].abs().max()) == 0
    moved = batch.to(torch.device("cpu"))
    assert moved.soft_labels is not None
    plain = AttentionDataset(source, InputConfig(size=24), train=True)
    assert collate([plain[0]]).soft_labels is None


def test_loader_processes_give_the_same_soft_labels(tmp_path: Path) -> None:
    source = scenes()
    maps = stored(str(tmp_path / "maps"), source)
    grid = MapSize(ModelConfig(name="tiny", weights=None, stride=4))
    labels = SoftLabels(open_maps(maps, source), grid)
    dataset = AttentionDataset(source, InputConfig(size=32), train=True, soft_labels=labels)
    keys = [[(1, 4), (1, 0)], [(1, 2), (1, 5)], [(1, 3), (1, 1)]]
    here, beside = (list(build_loader(dataset, keys, workers=workers)) for workers in (0, 1))
    for one, other in zip(here, beside, strict=True):
        assert one.soft_labels is not None
        assert other.soft_labels is not None
        assert torch.equal(one.soft_labels, other.soft_labels)
        assert one.soft_labels.shape[2:] == (8, 8)
    assert len(pickle.dumps(labels)) < 5000


def test_a_store_of_other_data_is_refused(tmp_path: Path) -> None:
    source, more = scenes(4), scenes(6)
    maps = stored(str(tmp_path / "few"), source)
    names = more.records[4].image_id
    with pytest.raises(DataError, match=rf"no row for labels of 2 of the 6 images: {names}"):
        open_maps(maps, more)
    other = stored(str(tmp_path / "other"), source, classes=[f"{name}s" for name in source.classes])
    with pytest.raises(DataError, match="classes"):
        open_maps(other, source)
    nothing = stored(str(tmp_path / "nothing"), source, lambda *_: None)
    with pytest.raises(DataError, match="has no maps yet"):
        open_maps(nothing, source)
    with pytest.raises(store.StoreError, match="holds no map store"):
        open_maps(StoredMaps(str(tmp_path / "nowhere")), source)
    with pytest.raises(store.VersionError, match="no version 9"):
        open_maps(StoredMaps(maps.uri, 9), source)


@pytest.mark.parametrize(("name", "stride"), [("tiny", 4), ("vgg16", 8), ("mobilenet_v2", 16), ("resnet18", 8)])
def test_the_map_size_is_that_of_the_network(name: str, stride: int) -> None:
    config = ModelConfig.model_validate(
        {"name": name, "weights": None, "stride": stride, "head": "conv", "head_width": 4}
    )
    state = torch.get_rng_state()
    size = MapSize(config)
    for asked in ((64, 64), (65, 97)):
        assert size(asked) == pickle.loads(pickle.dumps(size))(asked)
    assert torch.equal(torch.get_rng_state(), state)
    network = config.build(2).eval()
    with torch.no_grad():
        output = network(torch.zeros(1, 3, 65, 97))
    assert output.class_maps is not None
    assert size((65, 97)) == tuple(output.class_maps.shape[2:])
