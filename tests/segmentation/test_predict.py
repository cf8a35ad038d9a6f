"""Scales, mirrored inputs, restriction to labels and the CRF, each against what it stands for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attn.data.sample import Example, Record
from attn.data.transforms import InputConfig
from attn.maps.dense_crf import SEC_CRF, dense_crf
from attn.segmentation import crf_pool
from attn.segmentation.crf_pool import LocalCrfPool
from attn.segmentation.networks import SegmentationModelConfig, SegmentationOutput
from attn.segmentation.predict import SegmentInferenceConfig, predict, probabilities

INPUT = InputConfig(size=33)


class Seen(nn.Module):
    """Scores of channel 1 are the mean of the colours; remembers the sizes that it was given."""

    least_side = 1

    def __init__(self) -> None:
        super().__init__()
        self.num_classes, self.config = 2, SegmentationModelConfig(name="tiny", weights=None)
        self.sizes: list[tuple[int, ...]] = []
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> SegmentationOutput:
        self.sizes.append(tuple(images.shape))
        mean = images.mean(dim=1)[:, ::8, ::8] * self.scale
        return SegmentationOutput(torch.stack([torch.zeros_like(mean), mean, -mean], dim=1))


def _image(height: int = 40, width: int = 60) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 3] = 255
    image[: height // 4] += 60
    return image


def _example(image: np.ndarray, labels: tuple[int, ...] = (0, 1)) -> Example:
    return Example(Record("a", labels), image)


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (SegmentInferenceConfig(), [(1, 3, 33, 33)]),
        (SegmentInferenceConfig(scales=(0.75, 1.0, 1.25)), [(1, 3, 25, 25), (1, 3, 33, 33), (1, 3, 41, 41)]),
        (SegmentInferenceConfig(flip=True), [(2, 3, 33, 33)]),
        (SegmentInferenceConfig(size="image"), [(1, 3, 41, 57)]),
        (SegmentInferenceConfig(size=90), [(1, 3, 57, 89)]),
        (SegmentInferenceConfig(size="image", scales=(0.01,)), [(1, 3, 9, 9)]),
    ],
)
def test_inputs_keep_what_is_beyond_whole_strides(config: SegmentInferenceConfig, sizes: list[tuple[int, ...]]) -> None:
    network = Seen()
    probs = probabilities(network, _image(), INPUT, config)
    assert network.sizes == sizes
    assert probs.shape == (3, 40, 60)
    torch.testing.assert_close(probs.sum(0), torch.ones(40, 60))
    network.sizes.clear()
    probabilities(network, _image(), InputConfig(size=64), SegmentInferenceConfig(scales=(0.8,)))
    assert network.sizes == [(1, 3, 48, 48)]


@pytest.mark.parametrize("config", [SegmentInferenceConfig(), SegmentInferenceConfig(size="image")])
@pytest.mark.parametrize("axis", [0, 1])
def test_probabilities_lie_where_the_network_saw_them(config: SegmentInferenceConfig, axis: int) -> None:
    """Scores that are the colour of each eighth pixel of the input give the colours of the image's pixels back."""
    image = np.repeat(np.indices((120, 120), np.uint8)[axis][..., None] + np.uint8(20), 3, axis=2)
    probs = probabilities(Seen(), image, INPUT, config)
    result = (probs[1] / probs[0]).log().numpy()
    expected = ((image / 255 - np.array(INPUT.mean)) / np.array(INPUT.std)).mean(-1)
    shade = np.mean(1 / np.array(INPUT.std)) / 255
    assert np.abs(result - expected).max() < 2.5 * shade  # pixels; as the centre of a cell the first is 13 off


def test_probabilities_are_means_over_the_views() -> None:
    network, image = Seen(), _image()
    single = [probabilities(network, image, INPUT, SegmentInferenceConfig(scales=(scale,))) for scale in (0.75, 1.25)]
    both = probabilities(network, image, INPUT, SegmentInferenceConfig(scales=(0.75, 1.25)))
    torch.testing.assert_close(both, (single[0] + single[1]) / 2)
    plain = probabilities(network, image, INPUT, SegmentInferenceConfig())
    mirrored = probabilities(network, np.ascontiguousarray(image[:, ::-1]), INPUT, SegmentInferenceConfig()).flip(-1)
    flipped = probabilities(network, image, INPUT, SegmentInferenceConfig(flip=True))
    torch.testing.assert_close(flipped, (plain + mirrored) / 2, atol=1e-5, rtol=1e-4)


def test_crf_and_restriction() -> None:
    network, image = Seen(), _image()
    probs = probabilities(network, image, INPUT, SegmentInferenceConfig()).numpy()
    (result,) = predict(network, [_example(image)], INPUT, SegmentInferenceConfig())
    np.testing.assert_array_equal(result.plain, probs.argmax(0))
    np.testing.assert_array_equal(result.refined, dense_crf(image, probs, SEC_CRF).argmax(0))
    (without,) = predict(network, [_example(image)], INPUT, SegmentInferenceConfig(crf=None))
    assert without.refined is without.plain
    assert set(np.unique(probs.argmax(0))) == {1, 2}
    (restricted,) = predict(network, [_example(image, (1,))], INPUT, SegmentInferenceConfig(crf=None), restrict=True)
    assert set(np.unique(restricted.plain)) == {0, 2}
    assert network.training


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_keep_their_order_on_many_processes(in_memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where probabilities, here of 700 kB, find no shared memory to go by."""
    if not in_memory:
        monkeypatch.setattr(crf_pool, "SHARED_MEMORY", Path("/absent"))
    network = Seen()
    images = [_image(200 + seed, 300) for seed in range(4)] + [_image(300, 300)]
    for image in images:  # the largest goes by shared memory as well
        image.setflags(write=False)
    with LocalCrfPool(2) as pool:
        many = list(predict(network, map(_example, images), INPUT, SegmentInferenceConfig(), pool=pool))
    alone = list(predict(network, map(_example, images), INPUT, SegmentInferenceConfig()))
    for ours, theirs, image in zip(many, alone, images, strict=True):
        assert ours.example.image is image
        np.testing.assert_array_equal(ours.refined, theirs.refined)
