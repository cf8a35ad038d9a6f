"""Weights: torchvision's names, our own, other numbers of classes, and everything that can be wrong with a file."""

from __future__ import annotations

import io
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torchvision
from torch import Tensor, nn

from attn.errors import WeightsError
from attn.models import ModelConfig, Network


def _build(weights: Path | str, name: str = "squeezenet1_1", classes: int = 5, **settings: Any) -> Network:
    settings = {"name": name, "weights": str(weights), **settings}
    return ModelConfig.model_validate(settings).build(classes)


def _squeezenet(classes: int = 1000) -> nn.Module:
    torch.manual_seed(7)
    return torchvision.models.squeezenet1_1(weights=None, num_classes=classes).eval()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(_squeezenet().state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


TORCHVISION = ["resnet18", "resnet50", "mobilenet_v2", "squeezenet1_1", "vgg16_bn"]


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_network_and_ours_see_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(7)
    theirs = (_narrow_vgg() if name == "vgg16_bn" else torchvision.models.get_model(name, num_classes=5)).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    head = "fc" if name == "vgg16_bn" else "gap"
    ours = _build(tmp_path / "weights.pth", name, head=head, fc_width=16).eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        expected = _squeeze_scores(theirs, images) if name.startswith("squeezenet") else theirs(images)
        torch.testing.assert_close(ours(images).logits, expected)


def _narrow_vgg() -> nn.Module:
    """torchvision's VGG, its 4096 hidden units cut down to 16."""
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=True)
    with torch.device("meta"):
        network = torchvision.models.VGG(layers, num_classes=5, init_weights=False)
    for index, (before, after) in {0: (25088, 16), 3: (16, 16), 6: (16, 5)}.items():
        network.classifier[index] = nn.Linear(before, after)
    return network


def _squeeze_scores(network: nn.Module, images: Tensor) -> Tensor:
    """SqueezeNet's scores without the ReLU on them, which would leave a class that is absent without a gradient."""
    convolution = network.classifier[1]
    return convolution(network.features(images)).mean(dim=(2, 3))


def test_another_number_of_classes_leaves_the_classifier_alone_and_says_so(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        network = _build(weights)
    assert "head.classifier is left at its start values" in caplog.text
    assert "1000" in caplog.text
    assert network.head.classifier.weight.shape == (5, 512)
    assert torch.equal(network.backbone.features[0].weight, _squeezenet().features[0].weight)


def test_our_own_state_dict_goes_round(weights: Path, tmp_path: Path) -> None:
    network = _build(weights, classes=1000, head="conv")
    assert torch.equal(network.head.classifier.weight, _squeezenet().classifier[1].weight)
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "own.pth")
    again = _build(tmp_path / "own.pth", classes=1000, head="conv")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("code-of-a-pickle-was-run",)


FAULTY: dict[str, tuple[Any, str]] = {
    "missing": ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, "49 missing: backbone.features.0.bias"),
    "extra": (_squeezenet().state_dict() | {"features.99.weight": torch.zeros(1)}, "1 not in this network: .*99"),
    "shape": (_squeezenet().state_dict() | {"features.0.bias": torch.zeros(3)}, r"is \(3,\), not \(64,\)"),
    "nested": ({"state_dict": _squeezenet().state_dict(), "epoch": 3}, "contains the keys state_dict, epoch"),
    "list": ([torch.zeros(1)], "contains list"),
    "module": (_squeezenet(), "execute code are refused"),
    "trap": ({"features.0.weight": Trap()}, "execute code are refused"),
}


@pytest.mark.parametrize("kind", FAULTY)
def test_what_does_not_fit_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content, text = FAULTY[kind]
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=text):
        _build(tmp_path / "weights.pth")
    assert not Path("code-of-a-pickle-was-run").exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"{path} cannot be read as weights"):
        _build(path)


def test_a_cut_file_is_named(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        _build(weights)


def test_no_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no weights file"):
        _build(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        _build(tmp_path)


def test_imagenet_weights_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(_squeezenet().state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    network = _build("imagenet")
    assert torch.equal(network.backbone.features[0].weight, _squeezenet().features[0].weight)


def test_without_network_or_cache_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror("no name service")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "create_connection", refuse)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WeightsError, match=r"set model\.weights to the path") as caught:
        _build("imagenet")
    assert "squeezenet1_1-b8a52dc0.pth" in str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints") in str(caught.value)
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


def test_a_download_is_checked_and_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    class Page(io.BytesIO):
        headers: ClassVar[dict[str, str]] = {}

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Page(b"a page that asks to log in"))
    with pytest.raises(WeightsError, match="expected SHA-256"):
        _build("imagenet")
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


def test_a_server_that_says_nothing_does_not_hold_us_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/weights-00000000.pth"
        entry = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr("attn.models.weights.TIMEOUT_S", 0.2)
        monkeypatch.setattr(type(entry), "url", property(lambda _: address))
        start = time.monotonic()
        with pytest.raises(WeightsError, match="timed out"):
            _build("imagenet")
        assert time.monotonic() - start < 60


def test_weights_can_lie_in_an_object_store(s3_server: str, weights: Path) -> None:
    import boto3

    client = boto3.client("s3")
    client.upload_file(str(weights), "attn-test", "squeeze/weights.pth")
    client.close()
    network = _build(f"{s3_server}/squeeze/weights.pth")
    assert torch.equal(network.backbone.features[0].weight, _squeezenet().features[0].weight)
    with pytest.raises(WeightsError, match=r"s3://attn-test/none.pth: no such object"):
        _build(f"{s3_server}/none.pth")


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
@pytest.mark.parametrize("head", ["gap", "conv"])
def test_real_weights_fit(shared: Path, name: str, head: str) -> None:
    path = shared / "data" / "weights" / f"{name}-imagenet.pth"
    network = _build(path, name, classes=1000, head=head)
    state = torch.load(path, weights_only=True)
    assert torch.equal(network.head.classifier.weight.flatten(), state["classifier.1.weight"].flatten())
