"""Cues of whole data sets: from every kind of map source, with each kind of saliency, and as published by SEC."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attn import store
from attn.data.decode import read_mask
from attn.data.sample import Example, Record
from attn.data.source import FileSource, Source
from attn.data.sources.generated import ScenesConfig
from attn.data.sources.voc import VOC_CLASSES, VocConfig
from attn.data.transforms import InputConfig
from attn.data.view import SourceView
from attn.errors import ConfigError, DataError
from attn.models import ModelConfig
from attn.models.bundle import load_bundle, save_bundle
from attn.segmentation.cue_saliency import cue_saliency
from attn.segmentation.cues import OaaRule, SecRule
from attn.segmentation.labels import CUES_FILE, FileLabels, MaskLabels, read_labels
from attn.segmentation.make import sweep_cues
from attn.segmentation.map_sources import FolderMaps, ModelMaps, StoreMaps
from attn.segmentation.masks import encode_mask, mask_name
from attn.segmentation.pictures import cue_panel
from attn.segmentation.quality import CueQuality, cue_matrix
from tests.data.conftest import Make
from tests.segmentation.scene_maps import labels_of as _labels
from tests.segmentation.scene_maps import made as _make
from tests.segmentation.scene_maps import true_maps as _true_maps


@pytest.fixture
def map_folder(scenes: Source, tmp_path: Path) -> Path:
    for index, record in enumerate(scenes.records):
        for location, (label, values) in enumerate(_true_maps(scenes, index).items()):
            name = label if location else scenes.classes[label]
            grey = np.rint(255 * values).astype(np.uint8)
            Image.fromarray(grey).save(tmp_path / f"{record.image_id}_{name}.png")
    return tmp_path


def test_store_and_folder_give_the_same(scenes: Source, map_store: str, map_folder: Path, tmp_path: Path) -> None:
    of_store = _make(scenes, _labels(StoreMaps(uri=map_store)), tmp_path / "a")
    of_folder = _make(scenes, _labels(FolderMaps(path=str(map_folder))), tmp_path / "b")
    assert of_store.digest == of_folder.digest
    assert of_store.saliency == "given by the data"
    assert of_store.maps["digest"] == store.open(map_store).at().digest()
    quality = of_store.quality
    assert quality is not None
    assert quality.precision > 0.9
    assert quality.miou > 0.8
    written = json.loads((tmp_path / "a" / CUES_FILE).read_text())
    assert written["quality"] == quality.figures()
    assert written["rule"]["name"] == "sec"
    table = (tmp_path / "a" / "images.csv").read_text().splitlines()
    assert table == ["image_id,image", *(f"{record.image_id}," for record in scenes.records)], "scenes have no files"
    reader = read_labels(FileLabels(path=str(tmp_path / "a")), scenes.records, scenes.classes)
    total = sum(
        cue_matrix(reader(record, (40, 40), None), _mask(scenes.load(i)), len(scenes.classes))
        for i, record in enumerate(scenes.records)
    )
    np.testing.assert_array_equal(total, of_store.matrix)


def _mask(example: Example) -> np.ndarray:
    assert example.mask is not None
    return example.mask


def test_indices_of_other_classes_are_refused(scenes: Source, map_store: str, map_folder: Path, tmp_path: Path) -> None:
    """The same images and indices under other names: whatever says its classes is believed."""
    turned = SourceView(scenes, range(len(scenes.records)), tuple(reversed(scenes.classes)))
    fewer = ScenesConfig(count=6, size=40, classes=scenes.classes[:5]).build()
    store.open(map_store).export(str(tmp_path / "exported"))
    _make(scenes, _labels(FolderMaps(path=str(tmp_path / "exported"))), tmp_path / "cues")
    for maps in (StoreMaps(uri=map_store), FolderMaps(path=str(tmp_path / "exported"))):
        with pytest.raises(DataError, match="another order"):
            _make(turned, _labels(maps), tmp_path / "out")
        with pytest.raises(DataError, match=f"the data lacks .*{scenes.classes[5]}"):
            _make(fewer, _labels(maps), tmp_path / "out")
    with pytest.raises(DataError, match="another order"):
        read_labels(FileLabels(path=str(tmp_path / "cues")), turned.records, turned.classes)
    (tmp_path / "exported" / "classes.json").write_text("{}")
    with pytest.raises(DataError, match="not a JSON list of class names"):
        _make(scenes, _labels(FolderMaps(path=str(tmp_path / "exported"))), tmp_path / "out")


def test_indices_without_names_are_told_of(
    scenes: Source, map_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _make(scenes, _labels(FolderMaps(path=str(map_folder))), tmp_path / "out")
    assert f"0 being the first of {scenes.classes[0]}, " in caplog.text


def test_digest_follows_the_cues_alone(scenes: Source, map_store: str, tmp_path: Path) -> None:
    maps = StoreMaps(uri=map_store)
    first = _make(scenes, _labels(maps), tmp_path / "a")
    again = _make(scenes, _labels(maps), tmp_path / "b")
    other = _make(scenes, _labels(maps, rule=SecRule(foreground=0.6)), tmp_path / "c")
    oaa = _make(scenes, _labels(maps, rule=OaaRule()), tmp_path / "d")
    computed = _make(scenes, _labels(maps, saliency="border"), tmp_path / "e")
    without = _make(scenes, _labels(maps, saliency="none"), tmp_path / "f")
    assert first.digest == again.digest
    assert len({report.digest for report in (first, other, oaa, computed, without)}) == 5
    assert "computed" in computed.saliency
    assert without.saliency == "none"


def test_shown_images_have_their_maps_and_the_cues_of_the_files(scenes: Source, map_store: str, tmp_path: Path) -> None:
    report = _make(scenes, _labels(StoreMaps(uri=map_store)), tmp_path, show=(1, 4))
    assert [one.example.record for one in report.shown] == [scenes.records[1], scenes.records[4]]
    for one in report.shown:
        record = one.example.record
        written = read_mask(str(tmp_path / f"{record.image_id}.png"), one.cue.shape, len(scenes.classes))
        np.testing.assert_array_equal(one.cue, written)
        assert set(one.maps) == set(record.labels)
        drawn = cue_panel(one, scenes.classes)
        assert list(drawn.masks) == ["cue", "truth"]
        assert list(drawn.maps) == sorted(record.labels)
        assert {float(values.max()) for values in drawn.maps.values()} == {1.0}, "a store's maps are of any range"
        empty = cue_panel(replace(one, maps={}), scenes.classes)
        assert list(empty.maps) == sorted(record.labels), "no cell is left blank"
        assert not any(values.any() for values in empty.maps.values())


def test_model(scenes: Source, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ModelConfig(name="tiny", weights=None)
    network = model.build(len(scenes.classes))
    options = {"map_kind": "grad_cam", "layers": (), "config_yaml": "", "info": {}}
    save_bundle(
        tmp_path / "m", network.state_dict(), model=model, classes=scenes.classes, input=InputConfig(size=40), **options
    )
    report = _make(scenes, _labels(ModelMaps(model=str(tmp_path / "m"), batch_size=4)), tmp_path / "a")
    one_by_one = _make(scenes, _labels(ModelMaps(model=str(tmp_path / "m"), batch_size=1)), tmp_path / "b")
    assert report.digest == one_by_one.digest
    assert report.images == report.masked == 6
    assert report.maps.keys() == {"source", "weights", "map_kind", "layer"}, "as cues of former versions have it"
    scaled = ModelMaps(model=str(tmp_path / "m"), scales=(0.5, 1), flip=True)
    of_scales = _make(scenes, _labels(scaled), tmp_path / "s")
    assert of_scales.digest != report.digest
    assert of_scales.maps == report.maps | {"scales": [0.5, 1.0], "flip": True}
    with pytest.raises(ConfigError, match=r"labels\.maps\.scales: 0\.1 makes inputs of 1 from input\.size=40"):
        _make(scenes, _labels(ModelMaps(model=str(tmp_path / "m"), scales=(0.1,))), tmp_path / "s")
    other = ScenesConfig(count=2, size=40, classes=scenes.classes[:3]).build()
    with pytest.raises(DataError, match="classes"):
        _make(other, _labels(ModelMaps(model=str(tmp_path / "m"))), tmp_path / "c")
    parts = InputConfig(size=(40, 20), resize="crop")
    save_bundle(tmp_path / "p", network.state_dict(), model=model, classes=scenes.classes, input=parts, **options)
    with pytest.raises(DataError, match=r"sees only a part of it.*`attn maps MODEL input.resize=squash`.*for cues"):
        _make(scenes, _labels(ModelMaps(model=str(tmp_path / "p"))), tmp_path / "c")


def test_sweep_finds_what_single_runs_give(scenes: Source, map_store: str, tmp_path: Path) -> None:
    config = _labels(StoreMaps(uri=map_store))
    grid = {"foreground": [0.1, 0.5], "background": [0.06, 0.4]}
    saliency = cue_saliency(scenes, config, None)
    sweep = sweep_cues(scenes, saliency, config.maps.open(load_bundle), config, **grid)
    foreground, background, quality = sweep.best()
    assert foreground in grid["foreground"]
    best = _make(scenes, _labels(config.maps, rule=SecRule(foreground=foreground, background=background)), tmp_path)
    assert best.quality is not None
    assert best.quality.miou_all == quality.miou_all
    rows = {(row["foreground"], row["background"]): row for row in sweep.rows()}
    assert list(rows) == [(0.1, 0.06), (0.1, 0.4), (0.5, 0.06), (0.5, 0.4)]
    single = _make(scenes, _labels(config.maps, rule=SecRule(foreground=0.5, background=0.4)), tmp_path / "b")
    assert single.quality is not None
    assert rows[0.5, 0.4] == {"foreground": 0.5, "background": 0.4} | single.quality.figures()
    assert max(row["miou_all"] or 0 for row in rows.values()) == quality.miou_all


def test_cues_that_are_open_everywhere_are_refused(scenes: Source, map_store: str, tmp_path: Path) -> None:
    rule = OaaRule(least_foreground=1.0)  # of each image at least all pixels
    with pytest.raises(DataError, match=r"leaves every pixel of all \d+ images open"):
        _make(scenes, _labels(StoreMaps(uri=map_store), rule=rule), tmp_path)


def test_maps_in_folders_and_of_classes_that_are_numbers(tmp_path: Path) -> None:
    """Ids of a folder a class have a slash; a class called by a number must not be taken for another one's index."""
    records = [Record("cat/1", (0, 2), image="1.jpg"), Record("犬/二 2", (1,), image="2.jpg")]
    source = FileSource(["5", "0", "1"], records)
    for value, name in enumerate(("cat/1_0", "cat/1_1", "犬/二 2_1"), start=1):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((2, 3), value, np.uint8)).save(path)
    results = {
        position: {index: float(values[0, 0]) for index, values in maps.items()}
        for position, maps in FolderMaps(path=str(tmp_path)).open(load_bundle).read(source)
    }
    assert results == {0: {0: 1.0}, 1: {1: 3.0}}, "cat/1_1.png is of class index 1, which cat/1 does not have"


def test_void_masks_say_nothing_of_cues(voc: Path, tmp_path: Path) -> None:
    for path in (voc / "SegmentationClass").iterdir():
        with Image.open(path) as mask:
            Image.fromarray(np.full(mask.size[::-1], 255, np.uint8)).save(path)
    folder = tmp_path / "maps"
    folder.mkdir()
    Image.fromarray(np.full((2, 3), 9, np.uint8)).save(folder / "a_1_0.png")
    config = _labels(FolderMaps(path=str(folder)))
    unlabelled = _make(VocConfig(root=str(voc)).build(), config, tmp_path / "out")  # labels are those of the masks
    assert (unlabelled.without_maps, unlabelled.quality) == ((), None)
    source = VocConfig(root=str(voc), labels=_label_file(tmp_path)).build()
    report = _make(source, config, tmp_path / "out")
    assert report.masked == 3
    assert report.quality is None
    assert "quality" not in report.to_json()
    with pytest.raises(DataError, match="void throughout"):
        sweep_cues(source, None, config.maps.open(load_bundle), config, foreground=[0.2], background=[0.1])


def test_sec_published_cues(shared: Path) -> None:
    voc = VocConfig(root=str(shared / "data/voc"), split="train").build()
    labels = FileLabels(path=str(shared / "data/seeds/sec_cues_41x41.npz"))
    reader = read_labels(labels, voc.records, voc.classes)
    matrix = np.zeros((21, 22), np.int64)
    for index in range(0, len(voc.records), 8):
        example = voc.load(index)
        height, width = example.image.shape[:2]
        cues = reader(example.record, (height, width), None)
        assert cues.shape == (41, 41)
        rows, columns = np.arange(height) * 41 // height, np.arange(width) * 41 // width
        matrix += cue_matrix(cues[rows][:, columns], _mask(example), 20)
    quality = CueQuality.of(matrix)
    assert quality.precision > 0.75
    assert 0.2 < quality.coverage < 0.6


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def voc(make: Make, tmp_path: Path) -> Path:
    return make.write(tmp_path / "voc", make.voc_files()) / "VOC2012"


def test_missing_saliency_and_labels_are_faults(voc: Path, tmp_path: Path) -> None:
    source = VocConfig(root=str(voc)).build()
    folder = tmp_path / "maps"
    folder.mkdir()
    with pytest.raises(DataError, match="holds no PNG"):
        _make(source, _labels(FolderMaps(path=str(folder))), tmp_path)
    Image.fromarray(np.ones((2, 3), np.uint8)).save(folder / "x_1.png")
    with pytest.raises(DataError, match="no map of any of the 3 images"):
        _make(source, _labels(FolderMaps(path=str(folder))), tmp_path)
    Image.fromarray(np.full((2, 3), 9, np.uint8)).save(folder / "a_1_0.png")
    config = _labels(FolderMaps(path=str(folder)), saliency="given")
    with pytest.raises(DataError, match="have no saliency map.*labels.saliency=u2netp"):
        _make(source, config, tmp_path / "out")
    report = _make(source, _labels(FolderMaps(path=str(folder))), tmp_path / "out")
    assert report.without_maps == ("b_2", "c_3")
    assert "computed" in report.saliency
    (voc / "Saliency" / "b_2.png").unlink()
    given = VocConfig(root=str(voc), saliency="Saliency").build()
    with pytest.raises(DataError, match=r"b_2\.png: no such file"):
        _make(given, config, tmp_path / "out")


def test_ready_made_labels_are_looked_for_first(voc: Path, tmp_path: Path) -> None:
    records = list(VocConfig(root=str(voc)).build().records)
    with pytest.raises(DataError, match=r"no labels for 3 of 3 images: a_1"):
        read_labels(FileLabels(path=str(tmp_path)), records, VOC_CLASSES)
    archive = tmp_path / "cues.npz"
    np.savez(archive, ids=["a_1", "b_2"], cues=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(DataError, match=r"no labels for 1 of 3 images: c_3"):
        read_labels(FileLabels(path=str(archive)), records, VOC_CLASSES)
    of_bytes = {"ids": np.array([b"a_1", b"b_2", b"c_3"]), "cues": np.zeros((3, 4, 4), np.uint8)}
    np.savez(archive, **of_bytes)  # as older programs write text
    assert not read_labels(FileLabels(path=str(archive)), records, VOC_CLASSES)(records[2], (20, 30), None).any()
    np.savez(archive, ids=["a_1"], cues=np.full((1, 4, 4), 77, np.uint8))
    with pytest.raises(DataError, match="no class"):
        read_labels(FileLabels(path=str(archive)), records, VOC_CLASSES)
    ids = ["a_1", "b_2", "c_3"]
    np.savez(archive, ids=ids, cues=np.full((3, 4, 4), 255, np.uint8))
    with pytest.raises(DataError, match="nothing to learn from"):
        read_labels(FileLabels(path=str(archive)), records, VOC_CLASSES)
    for wrong in ({"ids": "a_1"}, {"cues": np.zeros((3, 0, 4), np.uint8)}, {"cues": np.zeros((3, 4, 4))}):
        np.savez(archive, **{"ids": ids, "cues": np.zeros((3, 4, 4), np.uint8)} | wrong)
        with pytest.raises(DataError, match=r"expected \(N,\), uint8 \(N, h, w\)"):
            read_labels(FileLabels(path=str(archive)), records, VOC_CLASSES)
    np.save(tmp_path / "one.npy", np.zeros(3))
    for content in (b"nothing", b"", (tmp_path / "one.npy").read_bytes()):
        archive.write_bytes(content)
        with pytest.raises(DataError, match="no NPZ file"):
            read_labels(FileLabels(path=str(archive)), records, VOC_CLASSES)
    with pytest.raises(DataError, match="there is no such folder"):
        read_labels(FileLabels(path=str(tmp_path / "gone")), records, VOC_CLASSES)
    bare = list(VocConfig(root=str(voc), masks=None, labels=_label_file(tmp_path)).build().records)
    with pytest.raises(DataError, match="but these have no mask: "):
        read_labels(MaskLabels(), bare, VOC_CLASSES)


def _label_file(folder: Path) -> str:
    path = folder / "labels.json"
    rows = {"ids": ["a_1", "b_2", "c_3"], "labels": [[1] + [0] * 19] * 3, "classes": list(VOC_CLASSES)}
    path.write_text(json.dumps(rows))
    return str(path)


def test_masks_are_written_in_voc_colours(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [20, 255]], np.uint8)
    (tmp_path / "m.png").write_bytes(encode_mask(mask))
    np.testing.assert_array_equal(read_mask(str(tmp_path / "m.png"), (2, 2), 20), mask)
    picture = Image.open(tmp_path / "m.png").convert("RGB")
    assert picture.getpixel((1, 0)) == (128, 0, 0)
    assert picture.getpixel((1, 1)) == (224, 224, 192)
    assert mask_name("a/b") == "a/b.png"
    for name in ("../a", "/a", "a//b", ""):
        with pytest.raises(DataError):
            mask_name(name)
