"""What holds for every refinement: shapes, ranges, mirrored and odd images, empty maps, refused input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from attn.maps.refine import CrfRefinementConfig, PamrConfig, RefinementConfig, Refiner, at_grid
from tests.maps.refine.transformers import weights_of

NAMES = sorted(RefinementConfig.members)


@pytest.fixture(scope="module")
def refiners(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refiner]:
    weights = weights_of("test_vit", tmp_path_factory.mktemp("weights") / "vit.pth")
    fields: dict[str, dict[str, Any]] = {
        "affinity": {"model": "timm/test_vit", "weights": str(weights), "size": 80},
        "pamr": {"size": 40, "iterations": 3},
        "crf": {"size": 40},
    }
    return {name: RefinementConfig.members[name](**fields[name]).open(torch.device("cpu")) for name in NAMES}


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(40, 60), (1, 50), (50, 1), (1, 1), (1500, 900)])
@pytest.mark.parametrize("grid", [(7, 5), (1, 1), (90, 70)])
def test_maps_of_any_image_stay_maps(
    refiners: dict[str, Refiner], name: str, size: tuple[int, int], grid: tuple[int, int]
) -> None:
    refiner = refiners[name]
    maps = np.random.default_rng(1).random((2, *grid), np.float32)
    image, before = photograph(*size), maps.copy()
    refined = refiner(image, maps)
    assert (refined.shape, refined.dtype) == ((2, *refiner.grid(size)), np.float32)
    assert refined.min() >= 0
    for one in refined:
        assert one.max() == pytest.approx(1, abs=1e-6) or (name == "crf" and not one.any())
    np.testing.assert_array_equal(maps, before)


@pytest.mark.parametrize("name", NAMES)
def test_empty_maps_stay_empty(refiners: dict[str, Refiner], name: str) -> None:
    image = photograph(40, 60)
    maps = np.zeros((3, 6, 6), np.float32)
    assert not refiners[name](image, maps).any()
    assert refiners[name](image, maps[:0]).shape == (0, *refiners[name].grid((40, 60)))
    maps[1, 2:4, 2:4] = 1
    refined = refiners[name](image, maps)
    assert [bool(one.any()) for one in refined] == [False, True, False]
    assert np.isfinite(refined).all()


@pytest.mark.parametrize("kind", [PamrConfig, CrfRefinementConfig])
@pytest.mark.parametrize(("size", "side"), [(81, 81), (128, 128), (321, 128)])
def test_a_store_has_maps_of_the_refinements_size_up_to_a_limit(
    kind: type[PamrConfig | CrfRefinementConfig], size: int, side: int
) -> None:
    assert kind(size=size).open(torch.device("cpu")).store_grid == (side, side)


def test_pamr_keeps_a_small_object_and_so_does_another_grid() -> None:
    maps = np.zeros((1, 40, 40), np.float32)
    maps[0, 20, 20] = 1
    refined = PamrConfig(size=40, iterations=200).open(torch.device("cpu"))(np.zeros((40, 40, 3), np.uint8), maps)
    assert refined.max() == 1
    large = np.zeros((600, 600), np.float32)
    large[300, 300] = 1
    assert at_grid(large, (5, 5)).max() == 1


@pytest.mark.parametrize("name", ["affinity", "pamr"])
def test_a_class_does_not_depend_on_the_others(refiners: dict[str, Refiner], name: str) -> None:
    image, maps = photograph(40, 60), np.random.default_rng(1).random((3, 6, 6), np.float32)
    np.testing.assert_allclose(refiners[name](image, maps)[1:2], refiners[name](image, maps[1:2]), atol=1e-6)


@pytest.mark.parametrize("name", ["pamr", "crf"])
def test_a_mirrored_image_gives_mirrored_maps(refiners: dict[str, Refiner], name: str) -> None:
    """Positions of a transformer's patches are not mirrored with the image."""
    image = np.kron(photograph(4, 6), np.ones((10, 10, 1), np.uint8))
    maps = np.random.default_rng(1).random((2, 6, 6), np.float32)
    refined = refiners[name](image, maps)
    mirrored = refiners[name](np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(maps[..., ::-1]))
    assert np.abs(mirrored[..., ::-1] - refined).mean() < 0.01, "the CRF's lattice is not mirrored"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("image", "maps", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((1, 4, 4), np.float32), r"expected a uint8 image \(H, W, 3\)"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((1, 4, 4), np.float32), r"got float32 \(4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((1, 4, 4), np.float32), r"expected a uint8 image"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32), r"shape \(N, h, w\), not \(4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), np.full((1, 4, 4), np.nan, np.float32), r"in \[0, 1\], got nan"),
        (np.zeros((4, 4, 3), np.uint8), np.full((1, 4, 4), 2, np.float32), r"got 2\.0 to 2\.0"),
        (np.zeros((4, 4, 3), np.uint8), np.full((1, 4, 4), -1, np.float32), r"got -1\.0"),
    ],
)
def test_other_input_is_refused(
    refiners: dict[str, Refiner], name: str, image: NDArray[Any], maps: NDArray[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        refiners[name](image, maps)
