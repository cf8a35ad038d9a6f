"""Predictions of several images at once are those of each image alone, whatever their sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from attn.data.decode import FORMATS, decode_photograph, read_photograph
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.files.locations import FileFault
from attn.maps.settings import MapSettings
from attn.prediction import ImagePredictConfig, ImagePrediction, open_predictor
from attn.prediction.predictor import SizedImage
from tests.bundles import tiny_bundle, tiny_segmenter


@pytest.fixture(scope="module")
def images() -> list[SizedImage]:
    """Of three sizes, one of them reduced by half."""
    scenes = ScenesConfig(count=4, size=96).build()
    pixels = [scenes.load(position).image for position in range(4)]
    return [(pixels[0], None), (pixels[1][:40], None), (pixels[2][::2, ::2], (96, 96)), (pixels[3], None)]


def assert_alike(result: ImagePrediction, expected: ImagePrediction) -> None:
    assert result.labels == expected.labels
    assert result.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert result.mask.shape == expected.mask.shape
    assert (result.mask == expected.mask).mean() > 0.999  # pixels between two classes may fall to either
    rows = slice(0, result.mask.shape[0])
    for name in expected.labels:
        np.testing.assert_allclose(result.maps[name][rows], expected.maps[name][rows], atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        ImagePredictConfig(probability=0.1),
        ImagePredictConfig(probability=0.1, maps=MapSettings(scales=(1.0, 1.5), flip=True)),
    ],
)
def test_of_a_classifier(tmp_path: Path, images: list[SizedImage], config: ImagePredictConfig) -> None:
    predictor = open_predictor(tiny_bundle(tmp_path / "model"), config)
    results = predictor.batch(images)
    assert [result.mask.shape for result in results] == [(96, 96), (40, 96), (96, 96), (96, 96)]
    for result, (image, size) in zip(results, images, strict=True):
        assert_alike(result, predictor(image, size))
    assert results[0].labels, "nothing is compared"
    assert predictor.batch([]) == []


def test_of_inputs_of_several_sizes(tmp_path: Path, images: list[SizedImage]) -> None:
    input = InputConfig(size=48, resize="short_side")
    predictor = open_predictor(tiny_bundle(tmp_path / "model", input=input), ImagePredictConfig(probability=0.1))
    for result, (image, size) in zip(predictor.batch(images), images, strict=True):
        assert_alike(result, predictor(image, size))


def test_of_a_segmentation_network(tmp_path: Path, images: list[SizedImage]) -> None:
    predictor = open_predictor(tiny_segmenter(tmp_path / "model"), ImagePredictConfig())
    for result, (image, size) in zip(predictor.batch(images), images, strict=True):
        assert_alike(result, predictor(image, size))


def test_a_files_content_is_decoded_as_the_file(tmp_path: Path) -> None:
    from PIL import Image

    pixels: NDArray[np.uint8] = ScenesConfig(count=1, size=32).build().load(0).image
    Image.fromarray(pixels).save(tmp_path / "image.jpg")
    data = (tmp_path / "image.jpg").read_bytes()
    read = read_photograph(str(tmp_path / "image.jpg"))
    decoded = decode_photograph(data, "image 1")
    assert (decoded.pixels == read.pixels).all()
    with pytest.raises(FileFault, match="^image 2: is not an image in a known format") as fault:
        decode_photograph(b"nothing", "image 2")
    assert FORMATS[0] in fault.value.problem
