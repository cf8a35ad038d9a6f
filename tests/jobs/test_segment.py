"""A segmentation run from maps to masks: cues, training on Ray, a bundle, masks for VOC's server, a second round."""

from __future__ import annotations

import csv
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn import store
from attn.data.decode import read_mask
from attn.data.source_cache import SourceCache
from attn.data.sources.generated import ScenesConfig
from attn.data.sources.voc import VocConfig
from attn.errors import ConfigError, DataError
from attn.evaluation.confusion import confusion_matrix, mean_iou
from attn.evaluation.score import Score
from attn.maps.dense_crf import SEC_CRF, dense_crf
from attn.runs.config_reader import read_config
from attn.runs.table import build_components
from attn.saliency.source import GIVEN
from attn.segmentation.bundle import load_segmenter
from attn.segmentation.config import SegmentConfig
from attn.segmentation.crf_pool import refine
from attn.segmentation.labels import CUES_FILE, FileLabels
from jobs import cues, segment_predict, train
from jobs.cues import CuesJob
from jobs.ray_cluster.crf_tasks import RayCrfPool
from jobs.runs.run_folder import RunFolder
from jobs.segment import retrain
from jobs.train import TrainResult
from jobs.training.hooks import TrainingRun
from jobs.training.segmenter import cue_score, make_labels
from tests.bundles import tiny_segmenter
from tests.saliency.networks import red_network

TEXT = """
kind: segment
data: {source: scenes, count: 16, size: 32}
input: {size: 32}
labels: {source: cues, maps: {source: store, uri: STORE}}
model: {name: tiny, weights: null, stride: 4, widths: [8, 8, 8], hidden: 8}
method: {name: sec}
inference: {scales: [1.0, 1.25], flip: true}
training: {epochs: 1, batch_size: 8}
cluster: {workers: 2}
tracking: {preview_images: 1}
"""


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a map store whose maps are the classes' own pixels."""
    root = tmp_path_factory.mktemp("segment")
    source = ScenesConfig(count=16, size=32).build()
    rows = [(record.image_id, label) for record in source.records for label in record.labels]
    result = store.create(str(root / "maps"), rows=rows, grid=(8, 8), classes=source.classes)
    session = result.begin("test")
    writer = session.writer(0)
    for index, record in enumerate(source.records):
        mask = source.load(index).mask
        assert mask is not None
        for label in record.labels:
            writer.add(record.image_id, label, (mask == label + 1).reshape(8, 4, 8, 4).mean((1, 3)))
    session.publish(session.commit(1, [writer.seal()]))
    return root


def _config(work_dir: Path, *overrides: str) -> SegmentConfig:
    text = TEXT.replace("STORE", str(work_dir / "maps"))
    config = read_config(text, "segment.yaml", [f"root={work_dir / 'runs'}", *overrides])
    assert isinstance(config, SegmentConfig)
    return config


@pytest.fixture(scope="module")
def trained(work_dir: Path, ray_up: None) -> TrainResult:
    return train.run(_config(work_dir), run_id="sec")


@pytest.mark.slow
def test_a_run_leaves_cues_scores_and_a_model(work_dir: Path, trained: TrainResult) -> None:
    folder = Path(trained.folder)
    assert trained.cues is not None
    assert {"train/seed", "train/expand", "train/boundary", "val/miou"} <= set(trained.metrics)
    assert trained.cues["precision"] > 0.9
    assert len(list((folder / "cues").glob("train-*.png"))) == 16
    score = Score.from_json((folder / "cues" / "score.json").read_text())
    assert score.value == trained.cues["miou"]
    assert score.protocol.cue_rule is not None
    assert score.protocol.cue_rule["saliency"] == "given by the data"
    described = json.loads((folder / "model" / "model.json").read_text())
    assert described["task"] == "segmentation"
    assert described["info"]["cues"] == trained.cues["digest"]
    assert list((folder / "preview").glob("*/epoch-0001.png"))
    assert train.resume(str(folder)).model == trained.model
    assert train.resume(str(folder)).cues == trained.cues


@pytest.mark.slow
def test_masks_for_the_voc_server(work_dir: Path, trained: TrainResult) -> None:
    result = segment_predict.run(
        segment_predict.load(
            trained.model, [f"root={work_dir / 'runs'}", "data.count=6", "processes=2", "panels=2"], voc_submission=True
        ),
    )
    folder = Path(result.folder)
    assert result.images == result.masked == 6
    with tarfile.open(result.submission) as archive:
        names = [name for name in archive.getnames() if name.endswith(".png")]
    assert len(names) == 6
    assert all(name.startswith("results/VOC2012/Segmentation/comp6_val_cls/val-") for name in names)
    source = ScenesConfig(count=6, size=32, split="val").build()
    counts = np.zeros((9, 9), np.int64)[: len(source.classes) + 1, : len(source.classes) + 1]
    for index, record in enumerate(source.records):
        path = folder / "results/VOC2012/Segmentation/comp6_val_cls" / f"{record.image_id}.png"
        assert Image.open(path).mode == "P"
        outcome = read_mask(str(path), (32, 32), len(source.classes))
        truth = source.load(index).mask
        assert truth is not None
        counts += confusion_matrix(outcome, truth, len(counts))
    assert result.scores["miou_crf"] == pytest.approx(mean_iou(counts)[0])
    scores = json.loads((folder / "scores.json").read_text())["scores"]
    with_crf, without = (Score.from_json(json.dumps(scores[name])) for name in ("miou_crf", "miou"))
    assert with_crf.protocol.crf is not None
    assert without.protocol.crf is None
    assert with_crf.protocol.scales == (1.0, 1.25)
    assert with_crf.protocol.flip
    assert [row["class"] for row in result.per_class] == ["background", *source.classes]
    assert len(list((folder / "panels").iterdir())) == 2
    assert (folder / "sheet.png").exists()
    assert segment_predict.table(result).row_count == len(source.classes) + 2
    alone = segment_predict.run(
        segment_predict.load(trained.model, [f"root={work_dir / 'runs'}", "data.count=6", "processes=0", "panels=0"])
    )
    assert alone.scores == result.scores
    assert alone.submission is None
    assert alone.protocols == result.protocols


@pytest.mark.slow
def test_a_task_computes_the_crf_of_arrays_that_it_may_not_write_to(ray_up: None) -> None:
    rng = np.random.default_rng(0)
    image, probs = rng.integers(0, 256, (40, 50, 3), np.uint8), rng.random((2, 40, 50), np.float32)
    result = RayCrfPool().submit(refine, image, probs, SEC_CRF).result()
    np.testing.assert_array_equal(result, dense_crf(image, probs, SEC_CRF))


@pytest.mark.slow
def test_the_second_round_learns_from_the_firsts_masks(
    work_dir: Path, trained: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(work_dir, "retrain={labels: {scales: [1.0]}, training: {steps: 3}}")
    begun: list[SegmentConfig] = []
    result = replace(trained, run_id="sec-retrain")

    def begin(second: SegmentConfig, *, run_id: str, address: str | None, sources: SourceCache) -> TrainResult:
        begun.append(second)
        return replace(result, run_id=run_id)

    monkeypatch.setattr(train, "run", begin)
    folder = RunFolder(str(work_dir), "sec-retrain")
    assert retrain(config, trained.model, folder, None, SourceCache()) == result
    (second,) = begun
    assert second.training.steps == 3
    assert second.model.weights == trained.model
    assert isinstance(second.labels, FileLabels)
    parts = build_components(second, rank=0, world=2)
    for index, record in enumerate(parts.source.records):
        outcome = read_mask(f"{second.labels.path}/{record.image_id}.png", (32, 32), len(parts.source.classes))
        assert set(np.unique(outcome).tolist()) <= {0, *(label + 1 for label in record.labels)}
        assert parts.dataset[index].cues is not None


@pytest.mark.slow
def test_void_masks_give_masks_and_no_score(work_dir: Path, trained: TrainResult) -> None:
    folder = work_dir / "void"
    source = ScenesConfig(count=2, size=32).build()
    lines = ["image,labels,mask,id,split"]
    for index in range(2):
        (folder / "mask").mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.load(index).image).save(folder / f"{index}.png")
        Image.fromarray(np.full((32, 32), 255, np.uint8)).save(folder / f"mask/{index}.png")
        lines.append(f"{index}.png,{source.classes[0]},mask/{index}.png,v{index},val")
    (folder / "table.csv").write_text("\n".join(lines))
    classes = ", ".join(source.classes)
    data = f"data={{source: manifest, manifest: {folder}/table.csv, split: val, classes: [{classes}]}}"
    job = segment_predict.load(trained.model, [f"root={work_dir / 'runs'}", data, "panels=0"])
    result = segment_predict.run(replace(job, load_seconds=job.load_seconds + 100))
    assert (job.load_seconds > 0, 100 < result.seconds < 200) == (True, True), "opening the network counts"
    assert result.scores == {}
    assert result.notes == ["the images' own masks are void throughout: there is nothing to score against"]
    assert len(list(Path(result.masks).glob("*.png"))) == 2
    assert (Path(result.masks) / "classes.csv").read_text().startswith("value,name,colour\n0,background,#000000\n")
    assert RunFolder(str(work_dir / "runs"), result.run_id).state().state == "done"


def test_cues_before_training(work_dir: Path) -> None:
    result = cues.run(CuesJob(_config(work_dir, "labels.rule.name=sec", "labels.rule.foreground=0.4"), sweep=True))
    folder = RunFolder(str(work_dir / "runs"), result.run_id)
    report = result.to_json()["report"]
    quality = report["quality"]
    assert result.score is not None
    assert quality == {k: result.score.extras[k] for k in quality}
    assert result.best is not None
    assert result.grid is not None
    assert result.best["miou_all"] >= quality["miou_all"]
    assert len(result.grid["miou_all"]) == len(cues.FOREGROUND)
    assert cues.table(report).row_count == len(report["classes"]) + 1
    assert result.sheet is not None
    shown = [Path(result.sheet), *Path(result.sheet).parent.glob("panels/*.png")]
    assert len(shown) == 1 + 1, "as many as tracking.preview_images"
    assert all(np.asarray(Image.open(path)).shape[2] == 3 for path in shown)
    assert result.grid_csv is not None
    assert result.grid_picture is not None
    lines = Path(result.grid_csv).read_text().splitlines()
    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    assert len(rows) == len(cues.FOREGROUND) * len(cues.SALIENCY)
    best = max(rows, key=lambda row: row["miou_all"])
    assert {name: best[name] for name in ("foreground", "background", "miou_all", "coverage")} == pytest.approx(
        {name: result.best[name] for name in ("foreground", "background", "miou_all", "coverage")}
    )
    assert Image.open(result.grid_picture).size[0] > 600
    printed = cues.grid_table(result)
    assert (printed.row_count, len(printed.columns)) == (len(cues.FOREGROUND), 1 + len(cues.SALIENCY))
    assert folder.exists("cues/cues.json")
    with pytest.raises(ConfigError, match="labels.source=cues is needed"):
        cues.run(CuesJob(_config(work_dir, "labels.source=masks")))


def test_cues_by_a_network_s_saliency_and_threshold(work_dir: Path, ray_up: None) -> None:
    """Saliency is computed by tasks of the session; the score says how the threshold was chosen, and cues are kept."""
    digest = red_network(work_dir / "own.onnx")
    options = [f"labels.saliency_model={work_dir / 'own.onnx'}", f"labels.saliency_sha256={digest}"]
    chosen = ["labels.saliency=u2netp", "labels.threshold=saliency_agreement", *options]
    result = cues.run(CuesJob(_config(work_dir, *chosen)))
    assert len(list((work_dir / "runs/.saliency").rglob("*.png"))) == 16
    threshold, score = result.report.threshold, result.score
    assert score is not None
    assert score.protocol.threshold is not None
    assert (score.protocol.threshold.rule, score.protocol.threshold.saliency) == (
        "saliency_agreement", f"u2netp {digest[:12]}",
    )  # fmt: skip
    assert score.extras["threshold"] == threshold["value"] == result.report.rule["foreground"]
    assert score.protocol.cue_rule is not None
    assert "foreground" not in score.protocol.cue_rule, "a result, not a choice: other maps' scores stay comparable"
    fixed = cues.run(CuesJob(_config(work_dir, "labels.saliency=u2netp", *options)))
    assert fixed.score is not None
    assert fixed.score.protocol.threshold is None
    assert fixed.score.protocol.cue_rule is not None
    assert fixed.score.protocol.cue_rule["foreground"] == 0.2
    of_folder = _config(work_dir).model_copy(update={"data": VocConfig(root="/voc", saliency="sod")})
    given = cue_score(of_folder, _config(work_dir).data.build(), replace(fixed.report, saliency=GIVEN))
    assert given is not None
    assert given.protocol.cue_rule is not None
    assert given.protocol.cue_rule["saliency"] == "given by the data, sod"
    run = TrainingRun(_config(work_dir, *chosen), RunFolder(str(work_dir / "runs"), "chosen"))
    made = [(make_labels(run), Path(run.folder.path("cues/cues.json")).stat().st_mtime_ns) for _ in range(2)]
    assert made[0] == made[1], "cues of the same maps, rule and threshold are kept"
    make_labels(TrainingRun(_config(work_dir, "labels.saliency=u2netp", *options), run.folder))
    assert json.loads(run.folder.read_text("cues/cues.json"))["threshold"] == {"rule": "fixed", "value": 0.2}


def test_maps_of_other_data_are_found_before_anything_starts(work_dir: Path) -> None:
    with pytest.raises(DataError, match="has no rows for image 'val-000000'"):
        train.run(_config(work_dir, "data.count=40", "data.split=val", "validation.split=train"), run_id="other")
    assert not (work_dir / "runs" / "other").exists()


@pytest.mark.parametrize(("folder", "model"), [("model", "."), (".", "model"), ("model/deeper", "..")])
def test_the_cues_of_a_run_are_found_from_any_folder(
    folder: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_segmenter(tmp_path / "model")
    (tmp_path / "model" / "deeper").mkdir()
    (tmp_path / "cues").mkdir()
    (tmp_path / "cues" / CUES_FILE).write_text("{}")
    monkeypatch.chdir(tmp_path / folder)
    config = segment_predict.resolve_config(load_segmenter(model), [], "model")
    assert config.cues == str(tmp_path / "cues")
