"""Exported networks give what the network gives, at other sizes too; one that does not is no file."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from attn.errors import ConfigError
from attn.models.bundle import load_bundle
from attn.prediction import export
from attn.prediction.export import ExportError, export_model
from tests.bundles import CLASSES, tiny_bundle

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch.export


@pytest.mark.parametrize(
    ("head", "kind", "layer", "outputs"),
    [
        ("gap", "grad_cam", "last", ("logits", "maps")),
        ("conv", "integral", "last", ("logits", "maps")),
        ("gap", "grad_cam", "inner", ("logits",)),
    ],
)
def test_torch_export(tmp_path: Path, head: str, kind: str, layer: str, outputs: tuple[str, ...]) -> None:
    bundle = load_bundle(tiny_bundle(tmp_path / "model", head=head, map_kind=kind, layer=layer))
    done = export_model(bundle, tmp_path / "out" / "m.pt2", "torch_export")
    assert (done.outputs, done.dynamic) == (outputs, ("batch", "height", "width"))
    assert bool(done.notes) == (layer != "last")
    assert max(done.differences.values()) < 1e-5
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["m.pt2"]
    extra = {"attn.json": ""}
    loaded = torch.export.load(done.file, extra_files=extra).module()
    assert json.loads(extra["attn.json"])["classes"] == list(CLASSES)
    images = torch.randn(5, 3, 40, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images)[0], bundle.network(images).logits)


@pytest.mark.parametrize("kind", ["cam", "grad_cam", "channel", "pixel"])
def test_maps_of_all_classes_are_the_librarys(tmp_path: Path, kind: str) -> None:
    bundle = load_bundle(tiny_bundle(tmp_path, map_kind=kind))
    module, _ = export._module(bundle)
    images = torch.randn(2, 3, 48, 56)
    with torch.no_grad():
        torch.testing.assert_close(module(images), export._expected(bundle, module, images))


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(tiny_bundle(tmp_path / "model"))
    true = export._expected
    monkeypatch.setattr(export, "_expected", lambda *given: tuple(1.01 * value for value in true(*given)))
    with pytest.raises(ExportError, match="the file's logits differ"):
        export_model(bundle, tmp_path / "m.pt2", "torch_export")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_what_cannot_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(tiny_bundle(tmp_path))
    with pytest.raises(ConfigError, match="one of onnx, torch_export"):
        export_model(bundle, tmp_path / "m", "tflite")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"onnx, onnxscript, onnxruntime, which are not installed.*attn\[export\]"):
        export_model(bundle, tmp_path / "m", "onnx")
