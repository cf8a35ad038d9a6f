"""What a model's files say of its use is enough: Pillow, NumPy and ONNX Runtime give what `attn predict` gives.

Nothing of this library prepares an image here. Sizes in these tests are small, so that a wrong way to resize shows.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from attn.data.decode import read_image
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.errors import WeightsError
from attn.models.bundle import EXPORTED, load_bundle, save_bundle
from attn.models.network import ModelConfig
from attn.prediction import ImagePredictConfig, open_predictor
from attn.prediction.export import FORMATS, export_model
from attn.registry.card import model_card
from attn.registry.lookup import open_model
from attn.segmentation.bundle import load_segmenter, save_segmenter
from attn.segmentation.networks import SegmentationModelConfig
from attn.segmentation.predict import SegmentInferenceConfig
from attn.tracking.model_lookup import ModelLookup
from tests.docs.snippets import snippets

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch.export
BOUND = 2e-3
"""Of a probability: Pillow and torch round to 8 bits, and differ by one grey level at some pixels."""
CLASSES = ("boat", "plane", "sheep")
Array = NDArray[Any]


class Exported(NamedTuple):
    """A trained network as a file; `state` fills bundles of other inputs."""

    file: str
    state: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of several shapes, larger and smaller than the input; one lies on its side, and says so."""
    folder, result = tmp_path_factory.mktemp("pictures"), list[Path]()
    source = ScenesConfig(count=3, size=128).build()
    noise = np.random.default_rng(0)
    for index, (height, width) in enumerate(((128, 71), (83, 128), (41, 29))):
        pixels = source.load(index).image[:height, :width].astype(int)
        grey = np.clip(pixels + noise.integers(-40, 40, pixels.shape), 0, 255).astype(np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6 if index == 1 else 1
        result.append(folder / f"{index}.png")
        Image.fromarray(grey).save(result[-1], exif=exif)
    return result


def _sharpened(state: dict[str, torch.Tensor], factor: float) -> dict[str, torch.Tensor]:
    """Scores far enough apart that what the input is makes a difference."""
    return {name: value * factor if "classifier.weight" in name else value for name, value in state.items()}


def _classifier(folder: Path, state: dict[str, torch.Tensor], input: InputConfig, *, exclusive: bool = False) -> Path:
    about: dict[str, Any] = {"map_kind": "grad_cam", "layers": (), "config_yaml": "", "info": {}}
    model = ModelConfig(name="tiny", weights=None)
    save_bundle(folder, state, model=model, classes=CLASSES, input=input, exclusive=exclusive, **about)
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("classifier")
    state = _sharpened(ModelConfig(name="tiny", weights=None).build(CLASSES).state_dict(), 200)
    input = InputConfig(size=(40, 48), resize="random_part")
    export_model(load_bundle(_classifier(folder / "model", state, input)), folder / "m.onnx", "onnx")
    return Exported(str(folder / "m.onnx"), state)


def _run(session: Any, images: Array) -> Array:
    return session.run(["logits"], {session.get_inputs()[0].name: images})[0]


def _session(file: str) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


# From here to the first test: what another program would do by the file alone.


def _upright(path: Path) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def _prepared(about: dict[str, Any], image: Image.Image, factor: float = 1.0) -> Array:
    crop, resize = about["crop"], about["resize"]
    if crop is not None:
        height, width = crop.get("size") or _largest(crop["aspect"], image)
        top, left = (image.height - height) // 2, (image.width - width) // 2
        part = Image.new("RGB", (width, height), tuple(crop.get("fill", (0, 0, 0))))
        part.paste(image, (-left, -top))
        image = part
    if resize is not None:
        assert (resize["interpolation"], resize["antialias"]) == ("bilinear", True)
        height, width = _sides(resize, image, factor)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(image, np.float32) / about["divide_by"]
    values = (values - np.float32(about["mean"])) / np.float32(about["std"])
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)


def _largest(aspect: list[int], image: Image.Image) -> tuple[int, int]:
    scale = min(image.height / aspect[0], image.width / aspect[1])
    return max(1, round(aspect[0] * scale)), max(1, round(aspect[1] * scale))


def _sides(resize: dict[str, Any], image: Image.Image, factor: float) -> tuple[int, int]:
    if resize["rule"] == "short_side":
        scale = resize["size"] / min(image.size)
        return round(image.height * scale), round(image.width * scale)
    wanted = [side * factor for side in resize["size"]] if resize["rule"] == "to_size" else []
    if resize["rule"] == "long_side":
        longest = max(image.size)
        wanted = [side * (resize["size"] or longest) / longest * factor for side in (image.height, image.width)]
    if "stride" in resize:
        stride = resize["stride"]
        wanted = [max(1, round((w - r) / stride)) * stride + r for w, r in zip(wanted, resize["rest"], strict=True)]
    return int(wanted[0]), int(wanted[1])


def _probabilities(logits_BC: Array, rule: str) -> Array:
    if rule.startswith("softmax"):
        return _softmax(logits_BC, 1)
    assert rule.startswith("sigmoid")
    return 1 / (1 + np.exp(-logits_BC.astype(np.float64)))


def _softmax(values: Array, axis: int) -> Array:
    powers = np.exp(values.astype(np.float64) - values.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _upsampled(scores_Chw: Array, size: tuple[int, int], *, corners: bool) -> Array:
    """Bilinear, without antialiasing, one axis after the other."""
    for axis, length in ((1, size[0]), (2, size[1])):
        cells = scores_Chw.shape[axis]
        location = np.arange(length, dtype=np.float64)
        location = (
            location * (cells - 1) / (length - 1)
            if corners
            else np.clip((location + 0.5) * cells / length - 0.5, 0, None)
        )
        low = np.minimum(location.astype(int), cells - 1)
        high, share = np.minimum(low + 1, cells - 1), location - low
        share = share.reshape([-1 if at == axis else 1 for at in range(3)])
        scores_Chw = scores_Chw.take(low, axis) * (1 - share) + scores_Chw.take(high, axis) * share
    return scores_Chw


def _masked(session: Any, about: dict[str, Any], image: Image.Image) -> Array:
    """Probabilities (C, H, W) of a segmentation network at the image's size."""
    output, views = about["output"], list[Array]()
    for factor in output["scales"]:
        images = _prepared(about["preprocessing"], image, factor)
        for mirrored in (False, True) if output["mirrored"] else (False,):
            logits = _run(session, np.ascontiguousarray(images[..., ::-1]) if mirrored else images)[0]
            logits = logits[..., ::-1] if mirrored else logits
            sides = zip(images.shape[2:], logits.shape[1:], strict=True)
            steps = {(long - 1) / (short - 1) if short > 1 else math.nan for long, short in sides}
            corners = len(steps) == 1 and all(step == round(step) for step in steps)
            views.append(_softmax(_upsampled(logits, (image.height, image.width), corners=corners), 0))
    return np.mean(views, axis=0)


def test_the_files_metadata_is_enough(classifier: Exported, pictures: list[Path], tmp_path: Path) -> None:
    session = _session(classifier.file)
    about = json.loads(session.get_modelmeta().custom_metadata_map["attn"])
    pre, output = about["preprocessing"], about["output"]
    short_side = {**pre, "resize": {**pre["resize"], "rule": "short_side", "size": 40}}
    input = InputConfig(size=(40, 48), resize="random_part")
    predict = open_predictor(_classifier(tmp_path / "model", classifier.state, input), ImagePredictConfig())
    assert output["logits"]["classes"] == list(CLASSES)
    off = naive = 0.0
    for path in pictures:
        expected = np.array(list(predict(read_image(str(path))).probabilities.values()))
        for described in (pre, short_side):
            logits = _run(session, _prepared(described, _upright(path)))
            difference = float(np.abs(_probabilities(logits, output["probabilities"])[0] - expected).max())
            off, naive = (max(off, difference), naive) if described is pre else (off, max(naive, difference))
    assert off < BOUND < 10 * BOUND < naive
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    logits, maps = (output.shape for output in session.get_outputs())
    assert (logits, maps[:2]) == (["batch", 3], ["batch", 3])
    assert "height" in maps[2]
    assert "width" in maps[3]
    images = torch.randn(3, 3, 56, 40)
    with torch.no_grad():
        given = load_bundle(tmp_path / "model").network(images).logits
    torch.testing.assert_close(torch.from_numpy(_run(session, images.numpy())), given)
    assert (about["map_kind"], output["maps"]["normalized"]) == ("grad_cam", False)


def test_the_example_of_the_documents_finds_the_class(
    classifier: Exported, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "models.md"
    (example,) = [one.text for one in snippets(page, page.name) if "onnxruntime.InferenceSession" in one.text]
    input = InputConfig(size=(40, 48), resize="random_part")
    predict = open_predictor(_classifier(tmp_path / "model", classifier.state, input), ImagePredictConfig())
    monkeypatch.chdir(tmp_path)
    shutil.copy(classifier.file, "gain.onnx")
    for path in pictures:
        Image.fromarray(read_image(str(path))).save("photo.jpg", "PNG")
        printed: list[str] = []
        names: dict[str, Any] = {"print": printed.append}
        exec(example, names)
        expected = predict(read_image(str(path))).probabilities
        assert printed == [max(expected, key=expected.__getitem__)]
        probabilities = _probabilities(names["logits"], names["about"]["output"]["probabilities"])[0]
        np.testing.assert_allclose(probabilities, list(expected.values()), atol=BOUND)


def test_an_exported_file_is_refused_as_a_model(tmp_path: Path) -> None:
    assert set(EXPORTED) == set(FORMATS.values())
    for name in (str(tmp_path / "gain.onnx"), "gain.pt2", "s3://bucket/gain.onnx"):
        with pytest.raises(WeightsError, match=r"is an exported file, which is for other programs: give the run's id"):
            load_bundle(name)
        with (
            pytest.raises(WeightsError, match="exported file"),
            open_model(name, ModelLookup.model_validate({"root": str(tmp_path)})),
        ):
            pass


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 40, "resize": "squash", "shift": 4}, "the whole image, squashed to 40x40"),
        (
            {"size": (32, 56), "resize": "crop"},
            "the largest part of the aspect 32x56 in the image's middle, squashed to 32x56",
        ),
        ({"size": 32, "resize": "short_side"}, "its shorter side resized to 32, its aspect kept"),
        ({"size": (48, 40), "resize": "scaled_crop"}, "the 48x40 in the image's middle at its own size"),
        ({"size": 40, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}, "RGB / 255, minus [0.5, 0.4, 0.3]"),
    ],
    ids=lambda value: value.get("resize", "mean") if isinstance(value, dict) else "",
)
def test_every_way_to_resize(
    classifier: Exported, pictures: list[Path], tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    folder = _classifier(tmp_path / "model", classifier.state, InputConfig(**options), exclusive=True)
    about = json.loads((folder / "model.json").read_text())
    session, predict = _session(classifier.file), open_predictor(folder, ImagePredictConfig())
    for path in pictures:
        expected = list(predict(read_image(str(path))).probabilities.values())
        logits = _run(session, _prepared(about["preprocessing"], _upright(path)))
        np.testing.assert_allclose(_probabilities(logits, about["output"]["probabilities"])[0], expected, atol=BOUND)
    card = model_card("x/1", about, {})
    assert words in card
    assert "the most probable class" in card
    assert "fc_width" not in card
    for name in ("preprocessing", "output"):  # a model from before these fields
        del about[name]
    (folder / "model.json").write_text(json.dumps(about))
    assert load_bundle(folder).exclusive
    assert model_card("x/1", about, {}) == card


@pytest.mark.parametrize("size", ["input", "image", 60])
def test_segmentation(segmenter: Exported, pictures: list[Path], tmp_path: Path, size: Any) -> None:
    inference = SegmentInferenceConfig(size=size, scales=(1.0, 0.75), flip=True)
    folder = _segmenter(tmp_path / "model", segmenter.state, inference)
    about = json.loads((folder / "model.json").read_text())
    session, predict = _session(segmenter.file), open_predictor(folder, ImagePredictConfig(crf=False))
    names, off, spread = about["output"]["logits"]["channels"], 0.0, 0.0
    for path in pictures:
        expected = predict(read_image(str(path))).probabilities
        probabilities = _masked(session, about, _upright(path))
        results = dict(zip(names, probabilities.max((1, 2)).tolist(), strict=True))
        off = max(off, *(abs(results[name] - value) for name, value in expected.items()))
        spread = max(spread, float(np.ptp(probabilities[1:])))
    assert off < BOUND
    assert spread > 0.2
    assert names == ["background", *CLASSES]
    card = model_card("x/1", about, {})
    assert "background, boat, plane, sheep" in card
    assert "scales [1.0, 0.75], the mirrored input" in card


def _segmenter(folder: Path, state: dict[str, torch.Tensor], inference: SegmentInferenceConfig) -> Path:
    about: dict[str, Any] = {"config_yaml": "", "info": {}, "input": InputConfig(size=41, resize="scaled_crop")}
    save_segmenter(folder, state, model=_SEGMENTER, classes=CLASSES, inference=inference, **about)
    return folder


_SEGMENTER = SegmentationModelConfig(name="tiny", weights=None, stride=4, hidden=None, dilations=(2,))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("segmenter")
    state = _sharpened(_SEGMENTER.build(CLASSES).state_dict(), 30)
    opened = load_segmenter(_segmenter(folder / "model", state, SegmentInferenceConfig()))
    export_model(opened, folder / "m.onnx", "onnx")
    session = _session(str(folder / "m.onnx"))
    about = json.loads(session.get_modelmeta().custom_metadata_map["attn"])
    assert about["preprocessing"] == json.loads((folder / "model" / "model.json").read_text())["preprocessing"]
    assert about["preprocessing"]["resize"]["size"] == [41, 41]
    return Exported(str(folder / "m.onnx"), state)
