"""`attn maps` writes what evaluation sees, into stores and PNGs; `attn evaluate` scores what was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from attn import store
from attn.data.dataset import AttentionDataset
from attn.data.sample import Batch, Example, collate
from attn.data.sources.generated import ScenesConfig, ScenesSource
from attn.data.sources.look_alikes import LookAlikesConfig
from attn.data.transforms import InputConfig
from attn.errors import ConfigError, DataError
from attn.evaluation.inference import ImageMaps, image_maps
from attn.evaluation.predictions import read_predictions, write_predictions
from attn.files.locations import list_below
from attn.maps.attention import MapKind
from attn.maps.refine import PamrConfig
from attn.models.bundle import load_bundle, save_bundle
from attn.models.network import ModelConfig
from attn.segmentation.map_sources import StoreMaps
from jobs import evaluate, map_tasks, show
from jobs.maps import load, resume, run
from jobs.runs import store_progress
from jobs.scoring import counting
from tests.store.alike import assert_alike

CONFIG = """
data: {source: scenes, split: train, count: 10, size: 48, objects: [1, 2], classes: [CLASSES]}
validation: {split: val}
"""
CLASSES = ScenesConfig().classes[:3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of runs with one trained model, `first/model`, whose maps have 6×6 cells."""
    _save(tmp_path / "first" / "model", CLASSES)
    return tmp_path


def _save(folder: Path, classes: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model = ModelConfig(name="tiny", weights=None, head="conv")
    save_bundle(
        folder,
        model.build(3).state_dict(),
        model=model,
        classes=classes,
        input=InputConfig(size=48),
        map_kind="integral",
        layers=(),
        config_yaml=CONFIG.replace("CLASSES", ", ".join(CLASSES)),
        info={},
    )


def seen(
    root: Path, *, grid: tuple[int, int] | None, predicted: bool = False, kind: MapKind = "integral"
) -> list[ImageMaps]:
    """What the model makes of its training images, one by one."""
    bundle = load_bundle(root / "first" / "model")
    source = ScenesConfig(count=10, size=48, objects=(1, 2), classes=CLASSES).build()
    dataset = AttentionDataset(source, bundle.input, train=False)
    results: list[ImageMaps] = []
    for index in range(len(dataset)):
        batch = collate([dataset[index]])
        results += image_maps(bundle.network, batch, kind=kind, grid=grid, predicted=predicted, probability=0.4)
    return results


def test_a_store_holds_the_maps_of_the_labels(root: Path) -> None:
    job = load("first", [f"root={root}", "batch_size=4"])
    result = run(replace(job, load_seconds=job.load_seconds + 100))
    assert (job.load_seconds > 0, 100 < result.seconds < 200) == (True, True), "opening the model counts"
    assert (result.images, result.notes) == (10, [])
    opened = store.open(result.store)
    snapshot = opened.at(result.store_version)
    assert (opened.grid, opened.head(result.run_id)) == ((6, 6), snapshot.version)
    count = 0
    for image in seen(root, grid=(6, 6)):
        stored = snapshot[image.record.image_id]
        assert sorted(stored) == list(image.record.labels)
        count += len(stored)
        for label, values in stored.items():
            assert np.abs(values - 255 * image.maps[label]).max() <= 0.51
            assert values.max() == 255
    assert result.maps == count
    about = snapshot.manifest.metadata
    assert (about["map_kind"], about["classes"], about["resize"]) == ("integral", "labels", "squash 48x48")
    state = json.loads(Path(result.folder, "run.json").read_text())
    assert (state["kind"], state["state"], state["store"]) == ("maps", "done", result.store)
    json.dumps(result.to_json())


def test_stored_maps_score_as_the_models_own(root: Path) -> None:
    written = run(load("first", [f"root={root}", "classes=both", "probability=0.4", "output.grid=[48, 48]"]))
    options = [f"root={root}", "panels=1", "evaluation.probability=0.4", "evaluation.thresholds=20"]
    stored = evaluate.run(evaluate.load(written.store, options))
    own = evaluate.run(evaluate.load("first", [*options, "data.split=train"]))
    assert stored.version == written.store_version
    by_name = evaluate.load(written.run_id, options)
    assert (by_name.described["maps"], by_name.described["version"]) == (written.store, written.store_version)
    commands = [one.command for one in show.run(written.run_id, root=str(root)).next]
    assert commands[:3] == [
        f"attn evaluate {written.folder} --root {root}",
        f"attn maps {written.folder} maps.refine.name=pamr --root {root}",
        f"attn store export {written.store} FOLDER --format png",
    ]  # fmt: skip
    assert stored.scores.keys() == own.scores.keys()
    for name, value in own.scores.items():  # eight bits are all that lies between them; several maxima then are equal
        if name != "pointing":
            assert stored.scores[name] == pytest.approx(value, abs=0.02), name
    text = json.loads(Path(stored.folder, "scores.json").read_text())
    assert text["scored"]["digest"] == store.open(written.store).at().digest()
    protocol = text["scores"]["seed_miou"]["protocol"]
    assert (protocol["map_kind"], protocol["resize"], protocol["split"]) == ("integral", "stored 48x48", "train")
    assert stored.protocols["seed_miou"] != own.protocols["seed_miou"]
    again = evaluate.run(evaluate.load(f"{written.run_id}/store@{written.store_version}", options))
    assert again.protocols == stored.protocols
    assert again.scores == stored.scores
    # Mistakes count in the direct protocol, so maps of the given labels alone are not enough for it.
    labels = run(load("first", [f"root={root}", "probability=0.4", "output.grid=[48, 48]"])).store
    assert any(set(one.maps) > set(one.record.labels) for one in seen(root, grid=None, predicted=True))
    refined = run(load(str(labels), [f"root={root}", "maps.refine.name=pamr", "maps.refine.size=48"])).store
    for location in (labels, refined):
        lacking = evaluate.run(evaluate.load(location, options))
        assert lacking.scores.keys() == stored.scores.keys() - {"direct_miou", "direct_miou_best"}
        assert any("direct" in note and "classes=both probability=0.4`" in note for note in lacking.notes)


def test_stored_maps_of_several_scales_score_and_are_described_as_the_models_own(root: Path) -> None:
    made = ["maps.scales=[0.5, 1]", "maps.flip=true"]
    written = run(load("first", [f"root={root}", "classes=both", "output.grid=[48, 48]", *made]))
    options = [f"root={root}", "panels=0", "evaluation.thresholds=20"]
    stored = evaluate.run(evaluate.load(written.store, options))
    own = evaluate.run(evaluate.load("first", [*options, "data.split=train", *made]))
    assert stored.scores["seed_miou"] == pytest.approx(own.scores["seed_miou"], abs=0.02)
    for result in (stored, own):
        protocol = json.loads(Path(result.folder, "scores.json").read_text())["scores"]["seed_miou"]["protocol"]
        assert (protocol["scales"], protocol["flip"]) == ([0.5, 1.0], True)
    metadata = store.open(written.store).at().manifest.metadata
    assert (metadata["scales"], metadata["flip"]) == ([0.5, 1.0], True)
    description = StoreMaps(uri=str(written.store)).open(load_bundle).description
    assert (description["scales"], description["flip"]) == ([0.5, 1.0], True)
    with pytest.raises(ConfigError, match=r"scales: 0\.1 makes inputs of 8 .*\(0\.17 or more"):
        run(load("first", [f"root={root}", "scales=[0.1]"]))


def test_refined_maps_of_a_model(root: Path) -> None:
    refine = ["maps.refine.name=pamr", "maps.refine.size=48", "maps.refine.iterations=3"]
    options = [f"root={root}", "panels=0", "evaluation.probability=0.4", "data.split=train"]
    written = run(load("first", [f"root={root}", "classes=both", "probability=0.4", "map_kind=cam", *refine]))
    opened = store.open(written.store)
    refiner = PamrConfig(size=48, iterations=3).open(torch.device("cpu"))
    source = ScenesConfig(count=10, size=48, objects=(1, 2), classes=CLASSES).build()
    assert opened.grid == refiner.store_grid == (48, 48)
    assert opened.at().manifest.metadata["refinement"] == refiner.description
    changed, zero = 0.0, np.zeros((48, 48), np.uint8)
    for position, image in enumerate(seen(root, grid=(48, 48), predicted=True, kind="cam")):
        kept = opened.at()[image.record.image_id]
        for label, values in image.maps.items():
            (expected,) = refiner(source.load(position).image, values[None])
            assert np.abs(kept.get(label, zero) - 255 * expected).max() <= 0.51
            changed = max(changed, float(np.abs(expected - values).max()))
    assert changed > 0.05, "a map that stays proves nothing"
    own = evaluate.run(evaluate.load("first", [*options, "map_kind=cam", *refine]))
    stored = evaluate.run(evaluate.load(written.store, options))
    for name in ("seed_miou", "direct_miou", "coverage", "mean_ap"):
        assert own.scores[name] == pytest.approx(stored.scores[name], abs=0.01), name
    plain = evaluate.run(evaluate.load("first", [*options, "map_kind=cam"]))
    assert plain.scores["mean_ap"] == own.scores["mean_ap"]
    assert plain.scores["seed_miou"] != own.scores["seed_miou"]
    assert plain.protocols["mean_ap"] == own.protocols["mean_ap"]
    text = json.loads(Path(own.folder, "scores.json").read_text())["scores"]["seed_miou"]["protocol"]
    assert text["refinement"] == refiner.description


def test_predicted_classes_alone(root: Path) -> None:
    result = run(load("first", [f"root={root}", "classes=predicted", "probability=0.4"]))
    expected = {image.record.image_id: image for image in seen(root, grid=None, predicted=True)}
    likely = {(name, int(c)) for name, one in expected.items() for c in np.flatnonzero(one.probabilities > 0.4)}  # pyright: ignore[reportOptionalOperand]
    assert set(store.open(result.store).rows) == likely
    predictions = read_predictions(result.predictions, CLASSES)
    assert predictions.keys() == expected.keys()
    for name, values in predictions.items():
        np.testing.assert_allclose(values, expected[name].probabilities, rtol=1e-5)
    scored = evaluate.run(evaluate.load(result.store, [f"root={root}", "panels=0", "evaluation.probability=0.4"]))
    assert "direct_miou" in scored.scores
    assert "seed_miou" not in scored.scores


def test_the_predicted_class_of_exclusive_classes_is_the_most_probable_one(root: Path) -> None:
    """Above the threshold may be none."""
    names = LookAlikesConfig().classes[:3]
    _save(root / "birds" / "model", names)
    data = ["data.source=look_alikes", "data.count=4", f"data.classes=[{', '.join(names)}]"]
    for probability in (0.01, 0.99):
        result = run(load("birds", [f"root={root}", "classes=predicted", f"probability={probability}", *data]))
        predictions = read_predictions(result.predictions, names)
        expected = {(name, int(values.argmax())) for name, values in predictions.items()}
        assert len(expected) == result.images == result.maps == 4
        assert set(store.open(result.store).rows) == expected


def test_pngs_lie_at_the_images_size(root: Path) -> None:
    result = run(load("first", [f"root={root}", "output.kind=png"]))
    expected = seen(root, grid=None)
    assert json.loads(Path(result.png, "classes.json").read_text()) == list(CLASSES)
    assert len(list(Path(result.png).glob("*.png"))) == result.maps == sum(len(one.maps) for one in expected)
    for image in expected:
        for label, values in image.maps.items():
            pixels = cv2.imread(f"{result.png}/{image.record.image_id}_{label}.png", cv2.IMREAD_UNCHANGED)
            assert pixels is not None
            assert pixels.shape == (48, 48)
            assert np.abs(pixels - 255 * values).max() <= 0.51


def test_maps_go_to_an_object_store(root: Path, s3_server: str) -> None:
    location = f"{s3_server}/maps"
    options = [f"root={s3_server}/runs", f"output.location={location}", "data.count=3"]
    result = run(load(str(root / "first" / "model"), options))
    assert (result.store, store.open(location).at().coverage) == (location, result.maps)
    assert len(read_predictions(str(result.predictions), CLASSES)) == 3
    assert list_below(f"{result.folder}/parts") == []


@pytest.mark.parametrize("output", ["store", "png"])
def test_an_interrupted_run_continues_with_the_chunks_that_it_lacks(
    root: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_tasks, "CHUNK", 3)
    monkeypatch.setattr(store_progress, "COMMIT_SECONDS", 0.0)
    load_image, make = ScenesSource.load, map_tasks.image_maps
    batches: list[tuple[int, ...]] = []
    cut_at: list[int] = []

    def load_but_two(source: ScenesSource, index: int, **parts: bool) -> Example:
        if index in (2, 9):
            raise DataError("it is broken")
        return load_image(source, index, **parts)

    def counted(network: Any, batch: Batch, **settings: Any) -> Any:
        if settings["maps"]:
            batches.append(batch.indices)
        if len(batches) in cut_at:
            raise KeyboardInterrupt
        return make(network, batch, **settings)

    monkeypatch.setattr(ScenesSource, "load", load_but_two)
    monkeypatch.setattr(map_tasks, "image_maps", counted)
    options = [f"root={root}", f"output.kind={output}", "data.on_error=skip", "batch_size=2"]
    options += ["classes=both", "probability=0.4"] if output == "store" else []
    whole = run(load("first", options), run_id="whole")
    # In place of an unreadable image the next one comes, here of another chunk.
    every = [(0, 1), (3,), (3, 4), (5,), (6, 7), (8,), (0,)]
    assert batches == every
    cut_at.append(len(every) + 4)
    with pytest.raises(KeyboardInterrupt):
        run(load("first", options), run_id="cut")
    cut_at.clear()
    batches.clear()
    result = resume("cut", root=str(root))
    assert batches == every[2:], "the first chunk was done, and is kept"
    assert (result.images, result.maps, result.notes) == (whole.images, whole.maps, whole.notes)
    assert (result.images, "2 images could not be read" in result.notes[0]) == (8, True)
    assert not Path(result.folder, "parts").exists()
    expected, predictions = (read_predictions(str(one.predictions), CLASSES) for one in (whole, result))
    assert predictions.keys() == expected.keys()
    for name, values in predictions.items():
        np.testing.assert_array_equal(values, expected[name])
    if output == "store":
        assert store.open(str(result.store)).at().digest() == store.open(str(whole.store)).at().digest()
        return
    files, others = ({path.name: path.read_bytes() for path in Path(str(one.png)).iterdir()} for one in (whole, result))
    assert files == others
    assert len(files) == result.maps + 2


@pytest.mark.slow
def test_ray_tasks_write_the_same_maps(root: Path, ray_up: None) -> None:
    here = run(load("first", [f"root={root}", "classes=both"]))
    spread = run(load("first", [f"root={root}", "classes=both", "tasks=3", "data_workers=1"]))
    one, many = (store.open(result.store).at() for result in (here, spread))
    assert one.coverage == many.coverage == here.maps
    assert_alike(one, many)


@pytest.mark.slow
def test_scores_do_not_depend_on_processes_and_hardly_on_chunks(
    root: Path, ray_up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_model = ["batch_size=2", "data.split=train", "evaluation.faithfulness.images=3", "evaluation.saliency=given"]
    of_store = ["evaluation.saliency=border"]
    stored = str(run(load("first", [f"root={root}", "classes=both", "output.grid=[48, 48]"])).store)
    for target, options in (("first", of_model), (stored, of_store)):
        options = [f"root={root}", "panels=3", *options]
        monkeypatch.setattr(counting, "CHUNK", 64)
        whole = evaluate.run(evaluate.load(target, options))
        monkeypatch.setattr(counting, "CHUNK", 4)
        here = evaluate.run(evaluate.load(target, options))
        spread = evaluate.run(evaluate.load(target, [*options, "tasks=2"]))
        assert here.scores == pytest.approx(whole.scores, rel=1e-12)
        assert (spread.scores, spread.protocols, spread.notes) == (here.scores, here.protocols, here.notes)
        assert (spread.protocols, spread.notes) == (whole.protocols, whole.notes)
        assert spread.per_class == here.per_class
        folders = (Path(one.folder, "panels") for one in (here, spread))
        files, others = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
        assert (files, len(files)) == (others, 3)


def test_bad_input_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output\.kind = 'jpg' is not available \(one of store, png"):
        run(load("first", [f"root={root}", "output.kind=jpg"]))
    with pytest.raises(ConfigError, match=r"output\.grid is not a known field"):
        run(load("first", [f"root={root}", "output.kind=png", "output.grid=[2, 2]"]))
    with pytest.raises(DataError, match="lacks"):
        run(load("first", [f"root={root}", f"data.classes=[{', '.join(ScenesConfig().classes[:4])}]"]))
    assert sorted(path.name for path in root.iterdir()) == ["first"], "nothing is left behind"
    cropped = [f"root={tmp_path}/cropped", "input.resize=crop", "input.size=[48, 24]"]
    for output in ("store", "png"):
        with pytest.raises(DataError, match=r"train-000000': the network sees only a part of it.*input\.resize"):
            run(load(str(root / "first" / "model"), [*cropped, f"output.kind={output}"]))
    location = str(tmp_path / "maps")
    run(load("first", [f"root={root}", f"output.location={location}"]))
    with pytest.raises(store.StoreError, match="other rows"):
        run(load("first", [f"root={root}", f"output.location={location}", "data.count=4"]))


def test_what_does_not_belong_to_a_store_is_refused(root: Path, tmp_path: Path) -> None:
    location = str(tmp_path / "apart")
    written = run(load("first", [f"root={root}", f"output.location={location}", "data.count=4"]))
    data = [f"root={root}", "data.source=scenes", "data.size=48", "data.objects=[1, 2]"]
    data.append(f"data.classes=[{', '.join(CLASSES)}]")
    with pytest.raises(DataError, match="no row for labels of 2 of the 6 images"):
        evaluate.run(evaluate.load(location, [*data, "data.count=6"]))
    with pytest.raises(ConfigError, match="it is not known which data these maps are of"):
        evaluate.run(evaluate.load(location, [f"root={root}"]))
    named = [one.command.split()[2] for one in show.run(written.run_id, root=str(root)).next[:2]]
    assert named == [written.folder] * 2, "the run knows the data"
    assert evaluate.load(named[0], [f"root={root}"]).described["maps"] == location
    refined = load(named[1], [f"root={root}", "maps.refine.name=pamr"])
    assert refined.config.data == load("first", [f"root={root}", "data.count=4"]).config.data
    with pytest.raises(ConfigError, match=r"input is not a known field"):
        evaluate.run(evaluate.load(location, [*data, "data.count=4", "input.size=5"]))
    with pytest.raises(store.VersionError, match="no version 7"):
        evaluate.run(evaluate.load(f"{location}@7", [*data, "data.count=4"]))
    write_predictions(str(tmp_path / "few.parquet"), {}, CLASSES)
    with pytest.raises(DataError, match="has no prediction"):
        evaluate.run(evaluate.load(location, [*data, "data.count=4", f"predictions={tmp_path}/few.parquet"]))
    write_predictions(str(tmp_path / "other.parquet"), {}, ["a", "b", "c"])
    with pytest.raises(DataError, match="they differ: the data lacks a, b, c"):
        evaluate.run(evaluate.load(location, [*data, "data.count=4", f"predictions={tmp_path}/other.parquet"]))
    with pytest.raises(DataError, match="not a file of predictions"):
        evaluate.run(evaluate.load(location, [*data, "data.count=4", f"predictions={written.folder}/config.yaml"]))


@pytest.mark.parametrize("fault", ["no JSON", "deep", "number", "numbers", "ids", "twice", "NaN", "two", "texts"])
def test_predictions_that_somebody_damaged_are_one_error(tmp_path: Path, fault: str) -> None:
    names = json.dumps(["a", "b"])
    said = {"no JSON": "[", "deep": "[" * 100_000, "number": "2", "numbers": "[1, 2]"}.get(fault, names)
    ids: list[Any] = {"ids": [1, 2], "twice": ["x", "x"]}.get(fault, ["x", "y"])
    rows: list[list[Any]] = [[0.1, {"NaN": float("nan"), "two": 2.0}.get(fault, 0.5)], [0.0, 1.0]]
    rows = [["low", "high"], ["0", "1"]] if fault == "texts" else rows
    table = pa.table({"image_id": ids, "probabilities": rows}).replace_schema_metadata({"classes": said})
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"p\.parquet is not a file of predictions written by `attn maps`: "):
        read_predictions(str(tmp_path / "p.parquet"), ["a", "b"])
