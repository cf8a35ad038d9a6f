"""timm's own weights without a connection, and state dicts with position embeddings of another grid."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from timm.models.vision_transformer import checkpoint_filter_fn

from attn.errors import WeightsError
from attn.maps.refine import AffinityConfig
from attn.models import ModelConfig, timm_hub
from attn.segmentation.networks import SegmentationModelConfig
from tests.models import thin_timm

assert thin_timm.THIN


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[str]:
    """The address of a closed port, as the hub's; its cache is empty."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(time, "sleep", _no_wait)
        yield address


def _no_wait(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s to try again")


def _refused() -> str:
    with pytest.raises(WeightsError) as caught:
        ModelConfig(name="timm/test_vit", weights="imagenet").build(3)
    return str(caught.value)


def test_without_a_connection_one_error_names_the_ways_out(hub: str, tmp_path: Path) -> None:
    message = _refused()
    for words in ("test_vit", f"no connection to {hub}", str(tmp_path / "hub"), "set model.weights to the path"):
        assert words in message
    assert "HF_HOME" in message
    assert "model.weights=null" in message
    with pytest.raises(WeightsError, match=r"no connection to .*: set maps\.refine\.weights to the path"):
        AffinityConfig(model="timm/test_vit", weights="imagenet", size=80).open(torch.device("cpu"))
    assert not constants.HF_HUB_OFFLINE


def test_a_hub_that_is_down_is_asked_once(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Down(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Down)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        assert "answers with HTTP 503" in _refused()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(asked) == 1


def test_a_hub_that_never_answers_is_left(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timm_hub.TIMEOUT_S <= 5
    monkeypatch.setattr(timm_hub, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "no connection to" in _refused()


def test_without_a_connection_the_cache_is_enough(hub: str, tmp_path: Path) -> None:
    net = timm.create_model("test_vit")
    repository = str(net.pretrained_cfg["hf_hub_id"])  # pyright: ignore[reportIndexIssue, reportCallIssue, reportArgumentType]
    folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    (folder / "snapshots" / ("a" * 40)).mkdir(parents=True)
    save_file(net.state_dict(), folder / "snapshots" / ("a" * 40) / "model.safetensors")
    network = ModelConfig(name="timm/test_vit", weights="imagenet").build(3)
    own = dict(net.named_parameters())
    for name, value in network.backbone.named_parameters():
        assert torch.equal(value, own[name.removeprefix("net.")])


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "thin_dinov2"])
def test_position_embeddings_of_another_grid_are_interpolated_as_timm_does(name: str, tmp_path: Path) -> None:
    """With a class token, with registers too, and with a class token without a position."""
    torch.manual_seed(0)
    patch = 14 if name == "thin_dinov2" else 16
    net, file = timm.create_model(name, img_size=4 * patch), tmp_path / "weights.pth"
    torch.save(net.state_dict(), file)
    expected = checkpoint_filter_fn(net.state_dict(), timm.create_model(name))["pos_embed"]  # pyright: ignore[reportArgumentType]
    assert expected.shape != net.pos_embed.shape  # pyright: ignore[reportAttributeAccessIssue]
    networks: list[Any] = [ModelConfig(name=f"timm/{name}", weights=str(file)).build(3)]
    if name == "test_vit":
        networks += [SegmentationModelConfig(name=f"timm/{name}", weights=str(file), hidden=8, stride=16).build(2)]
    for network in networks:
        torch.testing.assert_close(network.state_dict()["backbone.net.pos_embed"], expected, rtol=0, atol=0)
        told = [notice for notice in network.notices if "4x4" in notice]
        assert len(told) == 1
        assert told[0].startswith(f"{file}: position embeddings of 4x4 patches are interpolated to ")


def test_refinement_takes_a_grid_as_it_is_trained(tmp_path: Path) -> None:
    """Not interpolated to the network's own grid in between."""
    net = timm.create_model("test_vit", img_size=80)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    chosen = AffinityConfig(model="timm/test_vit", weights=str(tmp_path / "weights.pth"), size=80)
    refiner: Any = chosen.open(torch.device("cpu"))
    assert torch.equal(refiner.transformer.network.pos_embed, net.pos_embed)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("shape", [(1, 1 + 15, 64), (1, 1 + 16, 32), (2, 1 + 16, 64), (17, 64), (1, 1, 64)], ids=str)
def test_position_embeddings_of_no_grid_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit").state_dict() | {"pos_embed": torch.zeros(shape)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="1 of another shape: backbone.net.pos_embed"):
        ModelConfig(name="timm/test_vit", weights=str(tmp_path / "w.pth")).build(3)
