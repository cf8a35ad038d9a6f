"""Maps of several scales and of mirrored inputs, against NumPy in double precision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attn.data.dataset import AttentionDataset
from attn.data.geometry import Geometry
from attn.data.sample import Batch, Example, Record, Sample, collate
from attn.data.source import OnError, fingerprint
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig, at_scale, scaled_size
from attn.errors import DataError
from attn.evaluation import ScoringConfig
from attn.evaluation.evaluate import evaluate
from attn.evaluation.inference import MapInStrips, MapsOnDemand, image_maps
from attn.evaluation.result import DataDescription
from attn.maps import MapKind, attention, normalize_max
from attn.maps.settings import MapSettings
from attn.models.output import Output

Array = NDArray[np.float64]
STRIDE, CLASSES = 2, 2


class Small(nn.Module):
    """A convolution of stride 2 whose kernel is no mirror of itself, pooling, and a linear layer.

    Attributes:
        pixels: Of each pass.
    """

    def __init__(self, *, closed: bool = True) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.kernel = torch.randn(4, 3, 3, 3, generator=generator)
        self.weight = torch.randn(CLASSES, 4, generator=generator)
        self.closed, self.pixels = closed, list[int]()

    def forward(self, images: Tensor) -> Output:
        self.pixels.append(images[:, 0].numel())
        features = nn.functional.conv2d(images, self.kernel, stride=STRIDE, padding=1).relu()
        logits = features.mean((2, 3)) @ self.weight.T
        return Output(logits, {"last": features}, linear_weight=self.weight if self.closed else None)


def batch_of(images: list[Example], input: InputConfig, settings: MapSettings) -> Batch:
    """As `AttentionDataset` makes it, of all classes' maps."""
    dataset = AttentionDataset(Given(images), input, train=False, scales=settings.other_scales, stride=STRIDE)
    return collate([dataset[index] for index in range(len(images))])


class Given:
    """A source of a few examples."""

    on_error: OnError = "raise"
    exclusive = False
    classes = ("a", "b")

    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples
        self.records = [example.record for example in examples]

    def fingerprint(self) -> str:
        return fingerprint(self.classes, self.records)

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        return self.examples[index]


def example(seed: int, size: tuple[int, int] = (19, 14)) -> Example:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Example(Record(f"image-{seed}", (0, 1)), pixels)


def features_of(network: Small, image_3HW: Array) -> Array:
    """The network's features, (K, h, w)."""
    padded = np.pad(image_3HW, ((0, 0), (1, 1), (1, 1)))
    h, w = ((side - 1) // STRIDE + 1 for side in image_3HW.shape[1:])
    kernel = network.kernel.double().numpy()
    out = np.zeros((len(kernel), h, w))
    for y in range(h):
        for x in range(w):
            part = padded[:, y * STRIDE : y * STRIDE + 3, x * STRIDE : x * STRIDE + 3]
            out[:, y, x] = (kernel * part).sum((1, 2, 3))
    return np.maximum(out, 0)


def resized(map_hw: Array, size: tuple[int, int]) -> Array:
    """Bilinear between the centres of pixels, constant beyond the outermost."""
    axes = []
    for length, cells in zip(size, map_hw.shape, strict=True):
        position = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
        low = np.floor(position).astype(int)
        high, weight = np.minimum(low + 1, cells - 1), position - low
        matrix = np.zeros((length, cells))
        matrix[np.arange(length), low] += 1 - weight
        matrix[np.arange(length), high] += weight
        axes.append(matrix)
    return axes[0] @ map_hw @ axes[1].T


def reference(network: Small, inputs: list[Array], flip: bool, size: tuple[int, int], index: int) -> Array:
    """The sum over all inputs, each mirrored too, of a class's map at the image's size, divided by its maximum."""
    weight, total = network.weight.double().numpy()[index], np.zeros(size)
    for image in inputs:
        for mirrored in [False, True] if flip else [False]:
            given = image[:, :, ::-1] if mirrored else image
            cam = np.maximum(np.tensordot(weight, features_of(network, given), 1), 0)
            total += resized(cam[:, ::-1] if mirrored else cam, size)
    return total / total.max()


INPUTS = {
    "even": InputConfig(size=8),
    "one left over": InputConfig(size=9),
    "aspect": InputConfig(size=8, resize="short_side"),
}


@pytest.mark.parametrize(
    ("kind", "closed"), [("cam", True), ("grad_cam", True), ("grad_cam", False)], ids=["cam", "closed form", "autograd"]
)
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.5, 2.0), (0.5, 2.0)])
@pytest.mark.parametrize("input", INPUTS.values(), ids=INPUTS)
def test_maps_are_the_normalised_sum(
    input: InputConfig, scales: tuple[float, ...], flip: bool, kind: MapKind, closed: bool
) -> None:
    network, settings, shown = Small(closed=closed), MapSettings(scales=scales, flip=flip), example(0)
    batch = batch_of([shown], input, settings)
    inputs = [batch.images, *batch.scaled] if 1 in scales else list(batch.scaled)
    (result,) = image_maps(network, batch, kind=kind, settings=settings)
    for index in range(CLASSES):
        expected = reference(network, [one[0].double().numpy() for one in inputs], flip, shown.image.shape[:2], index)
        np.testing.assert_allclose(result.maps[index], expected, atol=2e-6)


@pytest.mark.parametrize("kind", ["grad_cam", "channel", "pixel"])
def test_the_defaults_give_the_former_maps_bit_for_bit(kind: MapKind) -> None:
    network, input = Small(), InputConfig(size=9)
    batch = batch_of([example(0), example(1, (30, 11))], input, MapSettings())
    maps = attention(network(batch.images), (batch.labels > 0).nonzero(), kind=kind)
    for row, one in enumerate(image_maps(network, batch, kind=kind, settings=MapSettings(scales=(1,), flip=False))):
        in_image, _ = batch.geometry[row].to_image(maps[2 * row : 2 * row + 2])
        np.testing.assert_array_equal(np.stack(list(one.maps.values())), normalize_max(in_image).numpy())


def test_with_mirrored_inputs_the_maps_of_a_mirrored_image_are_mirrored() -> None:
    settings, shown = MapSettings(scales=(0.5, 1, 2), flip=True), example(0)
    turned = replace(shown, image=shown.image[:, ::-1])
    symmetric = replace(shown, image=np.concatenate([shown.image, turned.image], 1))
    plain, mirrored, same = (
        next(image_maps(Small(), batch_of([one], InputConfig(size=8), settings), kind="cam", settings=settings)).maps
        for one in (shown, turned, symmetric)
    )
    for index in range(CLASSES):
        np.testing.assert_allclose(mirrored[index], plain[index][:, ::-1], atol=1e-6)
        np.testing.assert_allclose(same[index], same[index][:, ::-1], atol=1e-6)
    alone = batch_of([symmetric], InputConfig(size=8), MapSettings())
    assert np.abs(next(image_maps(Small(), alone, kind="cam")).maps[0] - same[0]).max() > 0.01, "the kernel is not"


def test_probabilities_are_of_the_plain_input() -> None:
    images, settings = [example(0), example(1)], MapSettings(scales=(0.5, 2), flip=True)
    plain = list(image_maps(Small(), batch_of(images, InputConfig(size=8), MapSettings()), kind="cam"))
    batch = batch_of(images, InputConfig(size=8), settings)
    for one, other in zip(plain, image_maps(Small(), batch, kind="cam", settings=settings), strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_a_pass_has_no_more_pixels_than_one_of_scale_1() -> None:
    settings, input = MapSettings(scales=(0.5, 1, 2), flip=True), InputConfig(size=8)
    images = [example(seed) for seed in range(5)]
    images[3] = replace(images[3], record=Record("bare", ()))
    network = Small()
    together = list(image_maps(network, batch_of(images, input, settings), kind="grad_cam", settings=settings))
    assert max(network.pixels) == 5 * 64
    # The plain pass of all images; then only those with labels: mirrored, of half the side, of twice the side.
    assert network.pixels == [5 * 64, 4 * 16, 4 * 16, 4 * 64, *[256] * 8]
    assert not together[3].maps
    for shown, one in zip(images, together, strict=True):
        (alone,) = image_maps(Small(), batch_of([shown], input, settings), kind="grad_cam", settings=settings)
        for index, values in alone.maps.items():
            np.testing.assert_allclose(one.maps[index], values, atol=1e-6)


def test_maps_in_strips_are_the_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn.evaluation.inference.STRIP", 100)
    settings = MapSettings(scales=(0.5, 1), flip=True)
    batch = batch_of([example(0)], InputConfig(size=8), settings)
    (whole,) = image_maps(Small(), batch, kind="grad_cam", settings=settings)
    (lazy,) = image_maps(Small(), batch, kind="grad_cam", settings=settings, on_demand=True)
    assert isinstance(lazy.maps, MapsOnDemand)
    in_strips = lazy.maps.in_strips(1)
    assert isinstance(in_strips, MapInStrips)
    np.testing.assert_allclose(in_strips[3:9], whole.maps[1][3:9], atol=1e-6)


def smoothed(image_HW3: NDArray[np.uint8], size: tuple[int, int]) -> Array:
    """An image resized with a triangle as wide as an output pixel, or an input pixel where that is larger."""
    axes = []
    for length, own in zip(size, image_HW3.shape[:2], strict=True):
        ratio = own / length
        width = max(ratio, 1.0)
        distance = np.abs((np.arange(length)[:, None] + 0.5) * ratio - (np.arange(own) + 0.5)) / width
        weights = np.maximum(1 - distance, 0)
        axes.append(weights / weights.sum(1, keepdims=True))
    return np.einsum("yi,xj,ijc->yxc", axes[0], axes[1], image_HW3.astype(np.float64))


@pytest.mark.parametrize(("scale", "size"), [(0.5, (9, 13)), (1.5, (25, 37)), (2.0, (33, 49)), (1.0, (17, 25))])
def test_inputs_are_made_of_the_image_itself(scale: float, size: tuple[int, int]) -> None:
    shown, input = example(5, (40, 60)), InputConfig(size=(17, 25))
    settings = MapSettings(scales=(scale,))
    batch = batch_of([shown], input, settings)
    (made,) = batch.scaled or (batch.images,)
    assert tuple(made.shape[2:]) == size
    mean, std = np.array(input.mean), np.array(input.std)
    pixels = 255 * (made[0].double().permute(1, 2, 0).numpy() * std + mean)
    assert np.abs(pixels - smoothed(shown.image, size)).max() < 1.01, "a grey level"


@pytest.mark.parametrize(
    ("size", "scale", "stride", "expected"),
    [
        ((321, 321), 0.5, 16, (161, 161)),
        ((321, 321), 1.5, 16, (481, 481)),
        ((321, 321), 2.0, 32, (641, 641)),
        ((224, 299), 0.5, 32, (128, 139)),
        ((336, 336), 0.75, 14, (252, 252)),
        ((336, 336), 0.7, 14, (238, 238)),
        ((48, 48), 0.01, 8, (1, 1)),
        ((47, 48), 1.0, 8, (47, 48)),
    ],
)
def test_sides_keep_what_is_left_beyond_whole_strides(
    size: tuple[int, int], scale: float, stride: int, expected: tuple[int, int]
) -> None:
    assert scaled_size(size, scale, stride) == expected


def test_a_part_of_an_image_stays_that_part() -> None:
    part = Geometry((20, 30), (0, 5, 20, 20), (16, 16), flip=True)
    assert at_scale(part, 2, 8) == replace(part, size=(32, 32))
    with pytest.raises(DataError, match=r"scale 8 makes an input of 65536x65536 pixels"):
        at_scale(replace(part, size=(8192, 8192)), 8, 8)


def test_a_batch_without_the_scales_is_refused() -> None:
    batch = batch_of([example(0)], InputConfig(size=8), MapSettings())
    with pytest.raises(ValueError, match="0 other scales"):
        list(image_maps(Small(), batch, kind="cam", settings=MapSettings(scales=(0.5, 1))))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scales": [0.5, 0.5]}, "has 0.5 twice"),
        ({"scales": []}, "at least 1 item"),
        ({"scales": [0]}, "greater than 0"),
        ({"scales": [float("nan")]}, "finite"),
        ({"scales": [9]}, "less than or equal to 8"),
        ({"scales": 2}, "valid tuple"),
        ({"scale": [2]}, "Extra"),
        ({"flip": 1}, "valid boolean"),
    ],
)
def test_settings_refuse(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MapSettings.model_validate(given)


def test_the_order_of_scales_has_no_meaning() -> None:
    assert MapSettings(scales=(2, 0.5)) == MapSettings(scales=(0.5, 2))
    settings = MapSettings(scales=(2, 1, 0.5), flip=True)
    assert (settings.other_scales, settings.changes()) == ((0.5, 2), {"scales": [0.5, 1.0, 2.0], "flip": True})
    assert MapSettings.of_described({"source": "model", **settings.changes()}) == settings
    assert (MapSettings().changes(), MapSettings.of_described({})) == ({}, MapSettings())


def test_scores_of_maps_name_scales_and_flip_and_those_of_the_classifier_do_not() -> None:
    scenes = ScenesConfig(count=4, size=32).build()
    data = DataDescription(source="scenes", split="train", resize="squash 16x16")

    class OfScenes(Small):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.randn(len(scenes.classes), 4, generator=torch.Generator().manual_seed(1))

    def scored(settings: MapSettings) -> dict[str, Any]:
        options: dict[str, Any] = {"scales": settings.other_scales, "stride": STRIDE, "with_masks": True}
        dataset = AttentionDataset(scenes, InputConfig(size=16), train=False, **options)
        batches = [collate([dataset[index] for index in range(4)])]
        device, config = torch.device("cpu"), ScoringConfig()
        return evaluate(
            OfScenes(), batches, scenes.classes, config, "grad_cam", device, data=data, settings=settings
        ).scores

    plain, scaled = scored(MapSettings()), scored(MapSettings(scales=(0.5, 1), flip=True))
    for name, score in plain.items():
        other = scaled[name]
        if score.protocol.scored == "classifier":
            assert other == score
        else:
            assert (other.protocol.scales, other.protocol.flip) == ((0.5, 1), True)
            assert (score.protocol.scales, score.protocol.flip) == ((1,), None)
            assert other.hash != score.hash
    assert "seed_miou" in plain


def test_a_batch_moves_with_its_scales() -> None:
    sample = Sample(0, Record("a", ()), torch.zeros(3, 4, 4), torch.zeros(1), Geometry.whole((4, 4)))
    batch = collate([replace(sample, scaled=(torch.ones(3, 2, 2), torch.ones(3, 8, 8)))] * 2)
    moved = batch.to(torch.device("meta"))
    assert [tuple(one.shape) for one in moved.scaled] == [(2, 3, 2, 2), (2, 3, 8, 8)]
    assert {one.device.type for one in moved.scaled} == {"meta"}
