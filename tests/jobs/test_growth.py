"""Pictures of a cumulative map's growth: which versions they show, and where they go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from attn import store
from attn.data.source import Source
from attn.data.sources import ScenesConfig
from attn.errors import ConfigError, DataError
from attn.pictures import PanelData, Picture
from attn.pictures.tiles import TRUTH
from attn.store import MapStore
from attn.store.errors import StoreError
from attn.tracking import NullTracker
from jobs.growth import draw, run
from jobs.scoring.targets import open_target

OVERRIDES = ["data.source=scenes", "data.count=4", "data.size=32", "data.objects=[1, 1]"]
CONFIG = "data: {source: scenes, split: train, count: 4, size: 32, objects: [1, 1]}\n"


@pytest.fixture
def source() -> Source:
    return ScenesConfig(count=4, size=32, objects=(1, 1)).build()


@pytest.fixture
def grown(tmp_path: Path, source: Source) -> MapStore:
    """A run's store: in epochs 1 to 8 a bar grows over all images but the last, the first image's from epoch 3 on."""
    folder = tmp_path / "oaa"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    rows = [(record.image_id, label) for record in source.records for label in record.labels]
    result = store.create(str(folder / "store"), rows=rows, grid=(8, 8), classes=source.classes)
    session = result.begin("oaa")
    for epoch in range(1, 9):
        writer = session.writer(0)
        for index, record in enumerate(source.records[:-1]):
            bar = np.zeros((8, 8), np.uint8)
            bar[:, epoch - 1] = 255
            if index or epoch >= 3:
                writer.add(record.image_id, record.labels[0], bar)
        session.commit(epoch, [writer.seal()], pending=epoch == 5)
        if epoch == 5:  # a checkpoint within the epoch, and then its end
            session.commit(epoch, [])
    return result


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, PanelData]]:
    """What is drawn, in place of pixels."""
    calls: list[Mapping[str, PanelData]] = []

    def growth(states: Mapping[str, PanelData], *, height: int) -> Picture:
        calls.append(states)
        return Picture(np.zeros((4, 4, 3), np.uint8))

    monkeypatch.setattr("attn.pictures.accumulated.growth", growth)
    return calls


def test_states_run_from_an_images_first_map_to_the_last(
    grown: MapStore, source: Source, tmp_path: Path, drawn: list[Mapping[str, PanelData]]
) -> None:
    class Record(NullTracker):
        def log_picture(self, path: str, pixels: NDArray[np.uint8]) -> None:
            names.append(path)

    names: list[str] = []
    places = draw(grown, "oaa", source, range(4), str(tmp_path / "out"), columns=3, tracker=Record())
    assert list(places) == [record.image_id for record in source.records[:-1]], "nothing was accumulated of the last"
    assert [name.removeprefix("growth/") for name in names] == [Path(location).name for location in places.values()]
    assert list(drawn[0]) == ["epoch 4", "epoch 6", "epoch 9"]
    assert list(drawn[1]) == ["epoch 2", "epoch 5", "epoch 9"]
    for states in drawn:
        covered = [float(next(iter(one.maps.values())).mean()) for one in states.values()]
        assert covered == sorted(covered)
        assert covered[0] < covered[-1]
    last = drawn[1]["epoch 9"]
    assert next(iter(last.maps.values())).shape == (32, 32)
    assert TRUTH in last.masks


def test_only_the_history_of_the_run_counts(
    grown: MapStore, source: Source, tmp_path: Path, drawn: list[Mapping[str, PanelData]]
) -> None:
    early = next(manifest.version for manifest, _ in grown.history() if manifest.epoch == 2)
    session = grown.begin("oaa", from_version=early)  # a restart from an old checkpoint: later versions are abandoned
    writer = session.writer(0)
    writer.add(source.records[1].image_id, source.records[1].labels[0], np.ones((8, 8)))
    session.commit(3, [writer.seal()])
    draw(grown, "oaa", source, [1], str(tmp_path / "out"), columns=10)
    assert list(drawn[0]) == ["epoch 2", "epoch 3", "epoch 4"]


def test_on_demand_it_finds_the_data_of_the_run(grown: MapStore) -> None:
    result = run(grown.uri, ["images=2"])
    assert (result.run, len(result.pictures)) == ("oaa", 1), "two images are chosen; the last has no map"
    location = next(iter(result.pictures.values()))
    assert Path(location).parent == Path(grown.uri).parent / "growth"
    with Image.open(location) as picture:
        assert picture.size[0] > 6 * 150
    named = run(grown.uri, [f"images=[{next(iter(result.pictures))}]"])
    assert named.pictures == result.pictures


@pytest.mark.parametrize(("folder", "given"), [(".", "store"), (".", "./store/"), ("store", "."), ("..", "oaa/store")])
def test_a_store_is_named_from_any_folder(
    folder: str, given: str, grown: MapStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder = Path(grown.uri).parent
    monkeypatch.chdir(run_folder / folder)
    result = run(given, ["images=1"])
    assert [Path(picture).resolve().parent for picture in result.pictures.values()] == [run_folder / "growth"]
    assert len(list((run_folder / "growth").iterdir())) == 1


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("command", [run, open_target], ids=["growth", "evaluate"])
def test_another_split_than_the_stores_is_refused_with_its_own(
    split: str, command: Callable[[str, list[str]], object], grown: MapStore
) -> None:
    with pytest.raises(DataError, match=f"no row .* on data.split=train: without data.split={split} these maps"):
        command(grown.uri, [f"data.split={split}"])
    with pytest.raises(DataError, match="no row .* use a store of this data"):
        command(grown.uri, ["data.count=9"])


def test_bad_input(grown: MapStore, tmp_path: Path, source: Source) -> None:
    with pytest.raises(DataError, match=r"no run 'oab'; its runs are oaa"):
        run(grown.uri, ["run=oab"])
    with pytest.raises(DataError, match=r"no image .*; did you mean train-"):
        run(grown.uri, [f"images=[{source.records[0].image_id[:-1]}]"])
    with pytest.raises(DataError, match="no row for labels"):
        run(grown.uri, ["data.count=9"])
    with pytest.raises(StoreError, match="no store"):
        run(str(tmp_path / "elsewhere"), [])
    Path(grown.uri).parent.joinpath("config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"store: it is not known which data .* or add data=FILE, or data.source="):
        run(grown.uri, ["images=2"])
    with pytest.raises(ConfigError, match=r"store: it is not known which data"):
        open_target(grown.uri, [])
    with pytest.raises(ConfigError) as caught:
        open_target(grown.uri, ["data=no.yaml", "threshlods=[0.2]"])
    assert [one.message.partition(" (")[0] for one in caught.value.faults] == [
        "data = no.yaml cannot be read: there is no such file", "threshlods is not a known field"
    ]  # fmt: skip
    assert len(run(grown.uri, ["images=2", *OVERRIDES]).pictures) == 1
