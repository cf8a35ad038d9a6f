"""The maps of a store are refined into another store, also by a run that was killed and is continued."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import jobs.refined_maps
from attn import store
from attn.data.source_cache import SourceCache
from attn.data.sources.generated import ScenesConfig
from attn.errors import ConfigError, DataError
from attn.maps.refine import PamrConfig, pamr
from attn.runs.pipeline import read_pipeline
from attn.segmentation.map_sources import StoreMaps
from jobs import evaluate
from jobs.maps import MapsResult, load, resume, run
from jobs.runs.run_folder import RunFolder
from jobs.stages.order import stages_of
from jobs.stages.outputs import MapsOutputs, PipelineOutputs, StageOutputs, TrainOutputs
from jobs.stages.stage import StageContext

CLASSES = ScenesConfig().classes[:3]
GRID = (6, 5)
DATA = [
    "data.source=scenes", "data.split=train", "data.count=10", "data.size=48", "data.objects=[1, 2]",
    f"data.classes=[{', '.join(CLASSES)}]",
]  # fmt: skip
REFINE = ["maps.refine.name=pamr", "maps.refine.iterations=2", "maps.refine.size=48"]
KILLED = """
import os, signal, sys
import jobs.refined_maps as module
import jobs.runs.store_progress as recorded
from jobs.maps import load, run

module.CHUNK, recorded.COMMIT_SECONDS, refine, images = 3, 0.0, module.refine_by_labels, []

def killing(*arguments):
    images.append(None)
    if len(images) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return refine(*arguments)

module.refine_by_labels = killing
run(load(sys.argv[1], sys.argv[2:]), run_id="refined")
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder with a store `maps` of random maps; one map is a fallback, one is empty, and one row has none."""
    source = ScenesConfig(count=10, size=48, objects=(1, 2), classes=CLASSES).build()
    rows = [(record.image_id, label) for record in source.records for label in record.labels]
    opened = store.create(str(tmp_path / "maps"), rows=rows, grid=GRID, classes=CLASSES)
    session = opened.begin("first")
    writer, generator = session.writer(0), np.random.default_rng(0)
    for number, (image_id, label) in enumerate(rows[1:]):
        values = generator.random(GRID, np.float32) * (number != 2)
        writer.add(image_id, label, values, fallback=number == 1)
    session.publish(session.commit(0, [writer.seal()], metadata={"map_kind": "cam", "flip": True}))
    return tmp_path


def refined(root: Path, *options: str, run_id: str | None = None) -> MapsResult:
    return run(load(str(root / "maps"), [f"root={root}", *DATA, *REFINE, *options]), run_id=run_id)


def test_a_store_of_refined_maps(given: Path) -> None:
    before = store.open(str(given / "maps"))
    result = refined(given, "output.grid=[48, 48]")
    opened = store.open(str(result.store))
    snapshot = opened.at()
    assert (result.images, result.maps, result.model, result.version) == (10, before.at().coverage + 1, None, 1)
    assert list(opened.rows) == list(before.rows)
    assert (opened.grid, snapshot.version) == ((48, 48), result.store_version)
    assert (snapshot.coverage, snapshot.manifest.fallback) == (before.at().coverage, 1)
    about = snapshot.manifest.metadata
    assert about["refinement"] == {
        "name": "pamr", "iterations": 2, "dilations": [1, 2, 4, 8, 12, 24], "size": 48,
    }  # fmt: skip
    assert (about["map_kind"], about["flip"]) == ("cam", True)
    source = ScenesConfig(count=10, size=48, objects=(1, 2), classes=CLASSES).build()
    for position, record in enumerate(source.records):
        image = torch.from_numpy(source.load(position).image).permute(2, 0, 1).float() / 255
        results = snapshot[record.image_id]
        assert results.keys() == before.at()[record.image_id].keys()
        for label, stored in before.at()[record.image_id].items():
            values = torch.from_numpy(stored)[None, None].float() / stored.max()
            on_grid = torch.nn.functional.interpolate(values, (48, 48), mode="bilinear", align_corners=False)[0]
            expected = pamr(image, on_grid, iterations=2)[0]
            assert np.abs(results[label] - 255 * (expected / expected.max()).numpy()).max() < 0.51


def test_maps_of_given_labels_do_not_depend_on_further_ones(given: Path) -> None:
    """The CRF refines all of an image's maps at once, but a store of both has further, predicted classes."""
    source = ScenesConfig(count=10, size=48, objects=(1, 2), classes=CLASSES).build()
    generator, both = np.random.default_rng(0), dict[tuple[str, int], Any]()
    for record in source.records:
        both |= {(record.image_id, index): generator.random(GRID, np.float32) for index in range(len(CLASSES))}
    labels = {(record.image_id, label) for record in source.records for label in record.labels}
    stores = dict[str, store.Snapshot]()
    for name, rows in (("both", both.keys()), ("labels", labels)):
        opened = store.create(str(given / name), rows=rows, grid=GRID, classes=CLASSES)
        session = opened.begin("first")
        writer = session.writer(0)
        for row in sorted(rows):
            writer.add(*row, both[row])
        session.publish(session.commit(0, [writer.seal()], metadata={"classes": name}))
        options = [f"root={given}", *DATA, "maps.refine.name=crf", "maps.refine.size=48"]
        stores[name] = store.open(str(run(load(str(given / name), options)).store)).at()
    for record in source.records:
        for label in record.labels:
            of_both, of_labels = (stores[name][record.image_id][label] for name in ("both", "labels"))
            np.testing.assert_array_equal(of_both, of_labels)
    assert stores["both"].coverage == 30


def test_a_killed_run_continues_where_it_was(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [str(given / "maps"), f"root={given}", *DATA, *REFINE]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    location = str(given / "refined" / "store")
    assert store.open(location).at().version == 0, "readers see nothing of an unfinished store"
    monkeypatch.setattr(jobs.refined_maps, "CHUNK", 3)
    images: list[Any] = []
    refine = jobs.refined_maps.refine_by_labels

    def counting(*values: Any) -> Any:
        images.append(values)
        return refine(*values)

    monkeypatch.setattr(jobs.refined_maps, "refine_by_labels", counting)
    result = resume("refined", root=str(given))
    assert len(images) == 4, "two chunks of three images were done, and kept"
    whole = refined(given, run_id="whole")
    assert store.open(location).at(result.store_version).digest() == store.open(str(whole.store)).at().digest()
    assert (result.images, result.maps, result.notes) == (whole.images, whole.maps, [])
    assert store.open(location).verify().faults == []


@pytest.mark.slow
def test_ray_tasks_refine_the_same_maps(given: Path, ray_up: None) -> None:
    here, there = refined(given), refined(given, "tasks=3")
    one, many = (store.open(str(result.store)).at() for result in (here, there))
    assert one.digest() == many.digest()


@pytest.mark.parametrize("grid", ["[48, 48]", "[96, 96]"])
def test_refined_maps_score_as_those_refined_while_scoring(given: Path, grid: str) -> None:
    options = [f"root={given}", *DATA, "panels=0", "evaluation.thresholds=20"]
    plain = evaluate.run(evaluate.load(str(given / "maps"), options))
    at_once = evaluate.run(evaluate.load(str(given / "maps"), [*options, *REFINE]))
    location = str(refined(given, f"output.grid={grid}").store)
    assert store.open(location).verify().ok
    stored = evaluate.run(evaluate.load(location, options))
    assert at_once.scores["seed_miou"] == pytest.approx(stored.scores["seed_miou"], abs=0.005)
    assert at_once.scores["seed_miou"] != plain.scores["seed_miou"]
    hashes = {result.protocols["seed_miou"] for result in (plain, at_once, stored)}
    assert len(hashes) == 3
    again = evaluate.run(evaluate.load(str(given / "maps"), [*options, *REFINE, "maps.refine.iterations=3"]))
    assert again.protocols["seed_miou"] not in hashes


def test_cues_take_refined_maps(given: Path) -> None:
    source = ScenesConfig(count=10, size=48, objects=(1, 2), classes=CLASSES).build()
    config = PamrConfig(iterations=2, size=48)
    at_once = StoreMaps(uri=str(given / "maps"), refine=config).open(lambda name: pytest.fail(name))
    location = str(refined(given, "output.grid=[48, 48]").store)
    stored = StoreMaps(uri=location).open(lambda name: pytest.fail(name))
    assert at_once.description["refinement"] == stored.description["refinement"] == config.model_dump(mode="json")
    twice = StoreMaps(uri=location, refine=config).open(lambda name: pytest.fail(name))
    assert twice.description["refinement"]["after"] == config.model_dump(mode="json")
    for (position, ours), (same, theirs) in zip(at_once.read(source), stored.read(source), strict=True):
        assert (position, ours.keys()) == (same, theirs.keys())
        for label, values in ours.items():
            assert np.abs(values - theirs[label] / 255).max() < 0.003


PIPELINE = f"""
kind: pipeline
data: {{source: scenes, count: 10, size: 48, objects: [1, 2], classes: [{", ".join(CLASSES)}]}}
tracking: {{enabled: false}}
train: {{recipe: oaa, model: {{name: tiny, weights: null, stride: 8, head_convolutions: 0}}}}
segment: {{recipe: cross_entropy, model: {{name: tiny, weights: null, stride: 8}}, labels: {{rule: {{name: sec}}}}}}
"""


def test_a_pipeline_refines_what_was_accumulated(given: Path) -> None:
    config = read_pipeline(PIPELINE, "p.yaml", [f"root={given}", "maps.refine.name=pamr", "maps.refine.size=40"])
    assert (config.maps, config.refine) == (None, PamrConfig(size=40))
    assert list(stages_of(config)) == ["train", "refine", "cues", "segment", "evaluation"]
    location, version = str(given / "maps"), store.open(str(given / "maps")).at().version
    trained = TrainOutputs(
        model="m", metrics={}, weights="w", store=location, store_version=version, store_digest="accumulated"
    )
    done: dict[str, StageOutputs] = {"train": trained}

    def context() -> StageContext:
        return StageContext(config, PipelineOutputs(done), lambda data, parts: {"content": "c"}, SourceCache())

    stages = stages_of(config)
    assert stages["cues"].inputs(context())["maps"] == "accumulated"
    inputs = stages["refine"].inputs(context())
    assert (inputs["refine"]["size"], inputs["maps"]) == (40, "accumulated")
    outputs = stages["refine"].run(context(), RunFolder(str(given), "p-refine-1"))
    assert isinstance(outputs, MapsOutputs)
    assert outputs.is_intact()
    done["refine"] = outputs
    assert stages["cues"].inputs(context())["maps"] == outputs.store_digest
    learned = read_pipeline(
        PIPELINE + "integral: {recipe: oaa_plus, model: {name: tiny, weights: null, stride: 8, head_convolutions: 0}}",
        "p.yaml",
        ["refine.name=pamr", "maps.refine.name=crf"],
    )
    assert list(stages_of(learned))[:4] == ["train", "refine", "integral", "maps"]
    assert learned.maps is not None
    assert learned.maps.refine is not None
    assert learned.maps.refine.variant == "crf"
    assert replace(context(), config=learned).outputs.accumulated is outputs
    assert stages_of(learned)["integral"].inputs(replace(context(), config=learned))["maps"] == outputs.store_digest


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.store.accumulate=false", "refine.name=pamr"], "it keeps none: set maps.refine instead"),
        (["refine.name=pamr", "maps.classes=both"], "the cues are of those of the section maps"),
    ],
)
def test_a_pipeline_says_which_maps_it_cannot_refine(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_pipeline(PIPELINE, "p.yaml", overrides)


def test_what_cannot_be_refined_is_one_error(given: Path) -> None:
    with pytest.raises(ConfigError, match=r"maps is a map store: say how its maps are to be refined"):
        run(load(str(given / "maps"), [f"root={given}", *DATA]))
    with pytest.raises(ConfigError, match=r"refine\.name = 'blur' is not available \(one of affinity, crf, pamr\)"):
        refined(given, "maps.refine.name=blur")
    for options in ([], REFINE):
        with pytest.raises(ConfigError, match=rf"`attn store export {given}/maps FOLDER --format png` writes its maps"):
            run(load(str(given / "maps"), [f"root={given}", *DATA, *options, "output.kind=png"]))
    with pytest.raises(ConfigError, match="weights is missing"):
        run(load(str(given / "maps"), [f"root={given}", *DATA, "maps.refine.name=affinity"]))
    with pytest.raises(DataError, match=r"has no rows for 2 of 12 images, 'train-000010' the first"):
        refined(given, "data.count=12")
    with pytest.raises(DataError, match="holds the maps that are to be refined"):
        refined(given, f"output.location={given}/maps", "output.grid=[6, 5]")
    with pytest.raises(DataError, match=r"version 0 .* has no maps yet"):
        run(load(f"{given}/maps@0", [f"root={given}", *DATA, *REFINE]))
    assert sorted(path.name for path in given.iterdir()) == ["maps"], "nothing is left behind"
