"""Networks of timm: what they compute, which layers they show, what they are fed, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle
import socket
import threading
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import timm
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from attn.data.transforms import InputConfig
from attn.errors import ConfigError, WeightsError
from attn.maps import attention
from attn.models import ModelConfig, architecture
from attn.models.bundle import load_bundle, save_bundle
from attn.models.timm_backbone import TimmBackbone
from attn.prediction.export import export_model
from attn.segmentation.networks import SegmentationModelConfig
from tests.models.thin_timm import SIDES, THIN

CLASSES = ("cat", "dog", "horse")
DILATING = ("timm/test_resnet", "timm/thin_lite0", "timm/test_convnext", "timm/regnetx_002")


def _model(name: str, **settings: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": name, "weights": None} | settings)


def _images(name: str, count: int = 2) -> Tensor:
    return torch.randn(count, 3, *SIDES[name], generator=torch.Generator().manual_seed(1))


def _timms(name: str) -> nn.Module:
    """timm's own network, with random weights and a classifier of three classes."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"num_classes": 3}
    if architecture(name).multiple > 1:
        settings["dynamic_img_size"] = True
    return timm.create_model(name.removeprefix("timm/"), **settings).eval()


def _expected(net: Any, name: str, images: Tensor) -> Tensor:
    """The last features, from timm's own network."""
    result = net.forward_features(images)
    if name == "timm/test_convnext":
        return net.head.norm(result)
    if name == "timm/thin_swin":
        return result.permute(0, 3, 1, 2)
    if result.ndim == 4:
        return result
    patch = architecture(name).multiple
    rows, columns = images.shape[2] // patch, images.shape[3] // patch
    tokens = result[:, net.num_prefix_tokens :]
    return torch.stack([token.view(rows, columns, -1).permute(2, 0, 1) for token in tokens])


@pytest.mark.parametrize("name", THIN)
def test_computes_what_timm_computes(name: str, tmp_path: Path) -> None:
    """By a state dict of timm's own names; where timm pools and then classifies, the scores are timm's too."""
    net, images, file = _timms(name), _images(name), tmp_path / "weights.pth"
    torch.save(net.state_dict(), file)
    network = _model(name, weights=str(file)).build(3).eval()
    with torch.no_grad():
        output = network(images)
        torch.testing.assert_close(output.features["last"], _expected(net, name, images))
        if name in ("timm/test_resnet", "timm/thin_lite0", "timm/regnetx_002", "timm/thin_swin"):
            torch.testing.assert_close(output.logits, net(images))
    assert network.channels == output.features["last"].shape[1]


@pytest.mark.parametrize("name", THIN)
@pytest.mark.parametrize("head", ["gap", "conv"])
def test_maps_are_the_gradients(name: str, head: str) -> None:
    """In float64: of the last layer in closed form, and of the inner one as a hook on timm's module sees it."""
    torch.manual_seed(0)
    network = _model(name, head=head).build(3, ("inner",)).double().eval()
    network.head.classifier.weight.data *= 10
    images, pairs = _images(name).double(), torch.tensor([[0, 0], [1, 2]])
    backbone = network.backbone
    assert isinstance(backbone, TimmBackbone)
    seen: list[Tensor] = []
    handle = backbone.net.get_submodule(backbone.layers[backbone.inner].module).register_forward_hook(
        lambda module, given, result: seen.append(result)
    )
    output = network(images)
    handle.remove()
    for number, pair in enumerate(pairs.tolist()):
        score = output.logits[pair[0], pair[1]]
        of_last, of_inner = torch.autograd.grad(score, [output.features["last"], seen[0]], retain_graph=True)
        last = output.features["last"][pair[0]]
        weights = of_last[pair[0]].mean(dim=(1, 2))
        expected = torch.einsum("k,khw->hw", weights, last).relu()
        torch.testing.assert_close(attention(output, pairs, kind="grad_cam")[number], expected, rtol=1e-9, atol=1e-12)
        given, gradient = seen[0][pair[0]], of_inner[pair[0]]
        if given.ndim == 2:  # tokens
            others = int(backbone.net.num_prefix_tokens)  # pyright: ignore[reportArgumentType]
            grid = output.features["inner"].shape[2:]
            given, gradient = (values[others:].T.reshape(-1, *grid) for values in (given, gradient))
        elif name == "timm/thin_swin":
            given, gradient = given.permute(2, 0, 1), gradient.permute(2, 0, 1)
        torch.testing.assert_close(output.features["inner"][pair[0]], given, rtol=0, atol=0)
        expected = torch.einsum("k,khw->hw", gradient.mean(dim=(1, 2)), given).relu()
        inner = attention(output, pairs, kind="grad_cam", layer="inner")[number]
        torch.testing.assert_close(inner, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", THIN)
def test_layers_freezing_and_strict_weights(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = _model(name, freeze_stages=1).build(3)
    stages = list(network.backbone.stages())
    listed = network.backbone.first_parameters(len(stages))
    assert len(set(listed)) == len(listed) == len(list(network.backbone.parameters())), "each is of one stage"
    frozen = {key for key, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen
    network(_images(name)).logits.sum().backward()
    assert {key for key, parameter in network.named_parameters() if parameter.grad is None} == frozen
    exposed = _model(name).build(3, network.layers).eval()
    output = exposed(_images(name))
    gradients = torch.autograd.grad(output.logits.square().sum(), list(output.features.values()), allow_unused=False)
    assert all(float(gradient.abs().sum()) > 0 for gradient in gradients)
    assert output.features["inner"] is output.features[exposed.backbone.inner]
    assert len(stages) == len(network.layers) - 2

    state = dict(network.state_dict())
    first = next(key for key in state if key.startswith("backbone."))
    for wrong, text in (
        ({key: value for key, value in state.items() if key != first}, "1 missing"),
        (state | {"backbone.net.more": torch.zeros(1)}, "1 not in this network"),
        (state | {first: torch.zeros(1)}, "1 of another shape"),
    ):
        torch.save(wrong, tmp_path / "wrong.pth")
        with pytest.raises(WeightsError, match=text):
            _model(name, weights=str(tmp_path / "wrong.pth")).build(3)


@pytest.mark.parametrize("name", DILATING)
def test_a_finer_stride_keeps_the_weights_and_refines_the_grid(name: str) -> None:
    for stride in (32, 16, 8):
        network = _model(name, stride=stride).build(3, ("inner",)).eval()
        with torch.no_grad():
            features = network(torch.zeros(1, 3, 96, 64)).features
        assert features["last"].shape[2:] == (96 // stride, 64 // stride)
        assert features["inner"].shape[2:] == (96 // min(stride, 16), 64 // min(stride, 16))
    plain, dilated = _model(name), _model(name, stride=8)
    assert plain.build(3).state_dict().keys() == dilated.build(3).state_dict().keys()


def test_a_stage_of_inverted_bottlenecks_shows_its_rectified_expansion() -> None:
    network = _model("timm/thin_lite0").build(3, ("inner",)).eval()
    with torch.no_grad():
        inner = network(_images("timm/thin_lite0")).features["inner"]
    assert float(inner.min()) >= 0
    assert float(inner.max()) <= 6


def _bundle(name: str, folder: Path, map_kind: str = "grad_cam") -> Path:
    torch.manual_seed(0)
    model = _model(name)
    network = model.build(3)
    network.head.classifier.weight.data *= 10
    height, width = SIDES[name]
    save_bundle(
        folder, network.state_dict(), model=model.model_copy(update={"weights": "imagenet"}), classes=CLASSES,
        input=InputConfig(size=(height, width)), map_kind=map_kind, layers=(), config_yaml="", info={},
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("name", THIN)
def test_a_bundle_opens_without_a_connection(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _bundle(name, tmp_path / "model")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    bundle = load_bundle(folder)
    torch.manual_seed(0)
    network = _model(name).build(3).eval()
    network.head.classifier.weight.data *= 10
    with torch.no_grad():
        assert torch.equal(bundle.network(_images(name)).logits, network(_images(name)).logits)


@pytest.mark.filterwarnings("ignore")  # of torch.export
@pytest.mark.parametrize(
    ("name", "form"), [("timm/thin_dinov2", "onnx"), ("timm/test_vit", "torch_export"), ("timm/thin_lite0", "onnx")]
)
def test_exported_it_gives_the_same(name: str, form: str, tmp_path: Path) -> None:
    """Of batches and sizes that it was not traced with; `export_model` compares, and writes nothing that differs."""
    bundle = load_bundle(_bundle(name, tmp_path / "model"))
    done = export_model(bundle, tmp_path / "model.any", form)
    assert done.outputs == ("logits", "maps")
    assert done.dynamic == ("batch", "height", "width")
    if name == "timm/thin_lite0":  # its padding depends on the size
        session = onnxruntime.InferenceSession(done.file)
        for height, width in ((45, 62), (87, 101), (33, 129)):
            images = torch.randn(1, 3, height, width)
            with torch.no_grad():
                expected = bundle.network(images).logits
            logits = session.run(["logits"], {"images": images.numpy()})[0]
            torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-5)


def test_threads_that_share_a_network_see_their_own_features() -> None:
    network = _model("timm/test_vit").build(3, ("inner",)).eval()
    images = [torch.randn(1, 3, 48, 48) for _ in range(4)]
    with torch.no_grad():
        expected = [network(image).features["inner"] for image in images]
    got: dict[int, list[Tensor]] = {}
    barrier = threading.Barrier(len(images))

    def run(number: int) -> None:
        barrier.wait()
        with torch.no_grad():
            got[number] = [network(images[number]).features["inner"] for _ in range(20)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(one, expected[number]) for number, results in got.items() for one in results)


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_resnet", "timm/thin_swin"])
def test_a_pickled_network_is_the_same(name: str) -> None:
    network = _model(name).build(3, ("inner",)).eval()
    with torch.no_grad():
        expected = network(_images(name))
        for copied in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
            found = copied(_images(name))
            assert torch.equal(found.logits, expected.logits)
            assert torch.equal(found.features["inner"], expected.features["inner"])


def test_segmentation_takes_the_same_backbones() -> None:
    for name, stride in (("timm/thin_lite0", 8), ("timm/test_vit", 16)):
        network = SegmentationModelConfig(name=name, weights=None, hidden=8, stride=stride).build(2).eval()
        with torch.no_grad():
            logits = network(torch.zeros(1, 3, 64, 96)).logits
        assert logits.shape == (1, 3, 64 // stride, 96 // stride)


@pytest.mark.parametrize("name", ["timm/resnet50.a1_in1k", "timm/vit_base_patch16_224", "timm/tf_efficientnet_lite0"])
def test_the_input_is_what_timm_says(name: str) -> None:
    cfg: Any = timm.get_pretrained_cfg(name.removeprefix("timm/"))
    found = architecture(name).input
    assert found is not None
    assert (found.mean, found.std) == (tuple(cfg.mean), tuple(cfg.std))
    assert found.interpolation == cfg.interpolation


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"name": "timm/resnet51"}, "no network 'resnet51': did you mean timm/resnet51q or timm/resnet50"),
        ({"name": "timm/vit_smal_patch14_dino"}, "timm/vit_small_patch14_dinov2"),
        ({"name": "timm/resnet50.a9"}, "resnet50 has no weights 'a9': it has a1_in1k"),
        ({"name": "timm/"}, "no network ''"),
        ({"name": "timm/hf-hub:timm/resnet50.a1_in1k"}, "no network"),
        (
            {"name": "timm/twins_svt_small"},
            "cannot be used: timm's Twins names a feature layer 'block.0' that it lacks; ch",
        ),
        ({"name": "timm/mvitv2_tiny"}, "names a feature layer 'block.0' that it lacks; choose another"),
        (
            {"name": "timm/tnt_s_patch16_224"},
            "gives tuple as features; attn takes maps and tokens only",
        ),
        ({"name": "timm/test_vit", "stride": 8}, "cannot have stride=8: set stride to 16"),
        ({"name": "timm/test_resnet", "head": "fc"}, "set head to gap or conv"),
        ({"name": "timm/test_resnet", "widths": (8, 8)}, "fixed widths"),
        ({"name": "factory/a:b"}, "set factory=a:b"),
        ({"factory": "a-b"}, "String should match"),
        ({"factory": "a:b"}, "export ATTN_FACTORIES=a:b"),
    ],
    ids=str,
)
def test_what_is_no_network_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        ModelConfig.model_validate({"weights": None} | settings)


def test_a_head_of_other_classes_is_named_and_one_of_the_description_is_refused(tmp_path: Path) -> None:
    net = timm.create_model("test_resnet", num_classes=7)
    torch.save(net.state_dict(), tmp_path / "seven.pth")
    network = _model("timm/test_resnet", weights=str(tmp_path / "seven.pth")).build(3)
    assert "head.classifier is left at its start values" in network.notices[0]
    assert "weight is (7, 96) there and (3, 96) here" in network.notices[0]
    folder = _bundle("timm/test_resnet", tmp_path / "model")
    described = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(described | {"classes": ["a", "b"]}))
    with pytest.raises(WeightsError, match=r"head.classifier.*\(3, 96\), not \(2, 96\)"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "convit_tiny"])
def test_inner_tokens_without_a_class_token(name: str) -> None:
    """It joins the others behind these blocks."""
    network = _model(f"timm/{name}").build(3, ("inner",)).eval()
    backbone = network.backbone
    assert isinstance(backbone, TimmBackbone)
    seen: list[Tensor] = []
    inner = backbone.net.get_submodule(backbone.layers[backbone.inner].module)
    inner.register_forward_hook(lambda module, given, result: seen.append(result))
    with torch.no_grad():
        features = network(torch.randn(1, 3, 224, 224)).features["inner"]
    torch.testing.assert_close(features, seen[0].transpose(1, 2).reshape(1, -1, 14, 14), rtol=0, atol=0)


def test_an_input_that_a_transformer_cannot_take() -> None:
    network = _model("timm/test_vit").build(3).eval()
    with pytest.raises(ConfigError, match="multiples of 16, not 50x64"):
        network(torch.zeros(1, 3, 50, 64))
    assert architecture("timm/beit_base_patch16_224").only == (224, 224)
