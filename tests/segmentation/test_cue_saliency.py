"""Saliency of cues: of a network and kept, choosing the threshold of the maps, and settings that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from attn.data.source import Source
from attn.errors import DataError
from attn.models.bundle import load_bundle
from attn.notices import print_once
from attn.runs.pipeline import read_pipeline
from attn.saliency.source import SaliencySource
from attn.segmentation.cues import CueRule, OaaRule, SecRule
from attn.segmentation.labels import CUES_FILE
from attn.segmentation.make import make_cues
from attn.segmentation.map_sources import StoreMaps
from jobs.stages.data import PipelineData
from tests.jobs.pipelines import TEXT
from tests.saliency.networks import red_network
from tests.segmentation.scene_maps import labels_of, made, true_maps


def test_the_threshold_that_agrees_with_saliency(scenes: Source, map_store: str, tmp_path: Path) -> None:
    """Chosen without masks, it is recorded as chosen; the same threshold as a fixed one gives the same cues."""
    maps = StoreMaps(uri=map_store)
    for rule in (SecRule(), OaaRule()):
        chosen = made(
            scenes,
            labels_of(maps, rule=rule, saliency="given", threshold="saliency_agreement"),
            tmp_path / "chosen" / rule.variant,
        )
        threshold = chosen.threshold
        assert threshold["rule"] == "saliency_agreement"
        assert threshold["agreement_images"] == 6
        assert threshold["value"] == chosen.rule["foreground"]
        fixed = rule.model_copy(update={"foreground": threshold["value"]})
        again = made(scenes, labels_of(maps, rule=fixed, saliency="given"), tmp_path / "fixed" / rule.variant)
        assert again.digest == chosen.digest
        assert again.threshold == {"rule": "fixed", "value": threshold["value"]}
        assert json.loads((tmp_path / "chosen" / rule.variant / CUES_FILE).read_text())["threshold"] == threshold
        ious = {at: _agreement(scenes, rule, at) for at in (threshold["value"], 0.1, 0.3, 0.6, 0.9)}
        assert threshold["agreement"] == pytest.approx(max(ious.values()))
        assert ious[threshold["value"]] == max(ious.values())


def _agreement(source: Source, rule: CueRule, at: float) -> float:
    """Mean IoU of saliency and the pixels that any map claims, of the images that have saliency."""
    ious = []
    for index in range(len(source.records)):
        example = source.load(index)
        assert example.saliency is not None
        claimed = np.zeros(example.saliency.shape, bool)
        for values in true_maps(source, index).values():
            large = cv2.resize(np.rint(255 * values).astype(np.float32), claimed.shape[::-1])
            low = large.min() if isinstance(rule, OaaRule) else 0
            claimed |= (large - low) / (large.max() - low) > at
        salient = example.saliency > 127.5
        ious.append((claimed & salient).sum() / (claimed | salient).sum())
    return float(np.mean(ious))


def test_agreement_needs_saliency(scenes: Source, map_store: str, tmp_path: Path) -> None:
    maps = StoreMaps(uri=map_store)
    with pytest.raises(ValueError, match="threshold=saliency_agreement needs saliency, which is none"):
        labels_of(maps, saliency="none", threshold="saliency_agreement")
    at_most = labels_of(maps, saliency="border", threshold="saliency_agreement", saliency_threshold=0.999)
    dark = SaliencySource(scenes, "nothing", lambda image: np.zeros(image.shape[:2], np.uint8))
    with pytest.raises(DataError, match=r"no image has both a map and saliency above .*=0.999 \(nothing\)"):
        make_cues(scenes, dark, maps.open(load_bundle), at_most, lambda name, data: None)


def test_saliency_of_a_network_is_kept(scenes: Source, map_store: str, tmp_path: Path) -> None:
    """The maps are computed once for all cues below a root, and a damaged one is computed again."""
    digest = red_network(tmp_path / "own.onnx")
    options = {"saliency": "u2netp", "saliency_model": str(tmp_path / "own.onnx"), "saliency_sha256": digest}
    config = labels_of(StoreMaps(uri=map_store), **options)
    first = made(scenes, config, tmp_path / "a")
    assert first.saliency == f"u2netp {digest[:12]}"
    files = list((tmp_path / "a/runs/.saliency" / f"u2netp-{digest[:12]}").rglob("*.png"))
    assert len(files) == 6
    times = [file.stat().st_mtime_ns for file in files]
    assert made(scenes, config, tmp_path / "a").digest == first.digest
    assert [file.stat().st_mtime_ns for file in files] == times
    files[0].write_bytes(b"damaged")
    assert made(scenes, config, tmp_path / "a").digest == first.digest
    assert len(files[0].read_bytes()) > 100
    border = made(scenes, labels_of(StoreMaps(uri=map_store), saliency="border"), tmp_path / "b")
    assert border.digest != first.digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"saliency": "given", "saliency_model": "x.onnx"},
            "saliency_model is for saliency=u2netp, and saliency is given",
        ),
        ({"saliency": "u2netp", "saliency_sha256": "0" * 64}, "saliency_model, which is missing: give both"),
        ({"saliency": "u2netp", "saliency_sha256": "0" * 63}, "should match pattern"),
    ],
)
def test_settings_that_do_not_fit(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labels_of(StoreMaps(uri="maps"), **options)


def test_the_former_name_of_border(capsys: pytest.CaptureFixture[str]) -> None:
    print_once.cache_clear()
    assert labels_of(StoreMaps(uri="maps"), saliency="computed") == labels_of(StoreMaps(uri="maps"), saliency="border")
    assert "`labels.saliency=computed` is now `labels.saliency=border`" in capsys.readouterr().err


def test_a_pipeline_says_before_its_first_stage_that_saliency_is_of_the_border(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody has chosen it, and its cues are far worse than those of a network's saliency."""
    print_once.cache_clear()
    rows = ["image,labels,split"]
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), 60 * number, np.uint8))
        rows.append(f"{number}.png,{'ab'[number % 2]},{'train' if number < 2 else 'val'}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    data = f"data={{source: manifest, manifest: {tmp_path}/table.csv}}"
    chosen = read_pipeline(TEXT.replace("{count: 8}", "{}"), "text", [data])
    PipelineData().check(chosen)
    notice = "notice: segment.labels.saliency=auto: no saliency map for 2 of 2 images"
    assert capsys.readouterr().err.count(notice) == 1
    border = read_pipeline(TEXT.replace("{count: 8}", "{}"), "text", [data, "segment.labels.saliency=border"])
    PipelineData().check(border)
    assert not capsys.readouterr().err, "chosen"
