"""What `attn data check` passes, training reads; what training refuses, the check names."""

from __future__ import annotations

import functools
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from attn.data.check import Report, check_config
from attn.data.dataset import AttentionDataset
from attn.data.sample import collate
from attn.data.source import SourceConfig
from attn.data.sources.voc import VOC_CLASSES
from attn.errors import DataError
from attn.runs.recipes import load_config
from attn.training.classifier import build_components
from attn.training.train_config import TrainConfig
from tests.data.faults import FAULTS, SINGLE
from tests.data.layouts import BUILDERS, CLASSES, write

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of NumPy 2, in pycocotools


@functools.cache
def recipe() -> TrainConfig:
    quick = ["input.size=16", "model.widths=[2,2,2]", "training.batch_size=2", "validation.split=null"]
    return load_config(TrainConfig, "scenes_grad_cam", quick)


def train(config: SourceConfig) -> str | None:
    """The error that stops training from reading all data; None if it can read everything."""
    settings = recipe().model_copy(update={"data": config})
    try:
        source = build_components(settings, rank=0, world=1).source
        for region_kind in ("masks", "boxes"):
            able = [
                index
                for index, record in enumerate(source.records)
                if record.labels and (record.mask or (region_kind == "boxes" and record.boxes))
            ]
            dataset = AttentionDataset(
                source,
                settings.input,
                train=True,
                supervised=able,
                region_kind=region_kind,
                with_masks=region_kind == "masks",
                with_saliency=all(record.saliency for record in source.records),
            )
            batch = collate([dataset[index] for index in range(len(dataset))])
            assert batch.images.isfinite().all()
            assert not batch.skipped or config.on_error == "skip"
    except DataError as error:
        return str(error)
    return None


def agree(layout: str, names: list[str], root: Path) -> tuple[SourceConfig, Report, str | None]:
    """Check and train on a data set with some faults; any error but a DataError is a bug."""
    result = BUILDERS[layout]()
    for name in names:
        FAULTS[name].apply(result)
    config = write(result, root)
    report, refusal = check_config(config), train(config)
    # Labels that are all alike stop a classifier, and nothing else: of them the check warns.
    messages = [finding for finding in report.findings if finding.severity == "error" or finding.image_id == "data"]
    if not messages:
        assert refusal is None, f"the check passes {layout} with {names}"
    if refusal is not None:
        # A fault of the source itself keeps anything from being read; else both name the same file or say the same.
        named = [f for f in messages if f.kind == "source" or f.message.partition(": ")[0] in refusal]
        assert named, f"training says {refusal!r} of {layout} with {names}, the check {messages}"
    return config, report, refusal


@pytest.mark.parametrize("layout", BUILDERS)
def test_a_sound_data_set_has_no_findings(layout: str, tmp_path: Path) -> None:
    _, report, refusal = agree(layout, [], tmp_path / "data")
    absent = [name for name in VOC_CLASSES if name not in CLASSES]  # VOC's names are given, and the data shows two
    messages = [finding.message for finding in report.findings]
    assert refusal is None
    if layout != "voc":
        assert messages == []
        return
    (empty,) = messages
    assert empty.startswith("have 0 images")
    assert empty.endswith(f": {', '.join(absent)}")


@pytest.mark.parametrize(("layout", "name"), SINGLE)
def test_one_fault(layout: str, name: str, tmp_path: Path) -> None:
    config, report, refusal = agree(layout, [name], tmp_path / "data")
    verdict = FAULTS[name].verdict
    assert (refusal is None) == (verdict == "read"), refusal or str(report)
    assert report.ok == (verdict != "refused"), str(report)
    if verdict == "refused" and all(finding.image_id not in (config.split, "data") for finding in report.errors):
        assert train(config.model_copy(update={"on_error": "skip"})) is None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(sorted(BUILDERS)))
def test_several_faults(tmp_path: Path, data: st.DataObject, layout: str) -> None:
    names = [name for name, fault in FAULTS.items() if layout in fault.layouts]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=3, unique=True))
    try:
        agree(layout, chosen, tmp_path / "data")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        reject()  # a column of Parquet is of one type
