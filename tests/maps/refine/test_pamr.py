"""PAMR equals a loop over the pixels in double precision, and its averages stay within like colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from attn.maps.refine import PamrConfig, pamr


def loop(
    image: NDArray[np.float64], maps: NDArray[np.float64], *, iterations: int, dilations: tuple[int, ...]
) -> NDArray[np.float64]:
    """The paper's equations, pixel by pixel."""
    channels, height, width = image.shape

    def around(row: int, column: int, *, itself: bool) -> list[tuple[int, int]]:
        steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if itself or (down, right) != (0, 0)]
        return [
            (min(max(row + d * down, 0), height - 1), min(max(column + d * right, 0), width - 1))
            for d in dilations
            for down, right in steps
        ]

    weights = {}
    for row in range(height):
        for column in range(width):
            exponents = []
            for other in around(row, column, itself=False):
                terms = []
                for channel in range(channels):
                    nearby = [image[channel][place] for place in around(row, column, itself=True)]
                    deviation = np.std(nearby, ddof=1)
                    difference = abs(image[channel, row, column] - image[channel][other])
                    terms.append(-difference / (1e-8 + 0.1 * deviation))
                exponents.append(np.mean(terms))
            powers = np.exp(np.array(exponents) - max(exponents))
            weights[row, column] = powers / powers.sum()
    for _ in range(iterations):
        result = np.empty_like(maps)
        for (row, column), shares in weights.items():
            places = around(row, column, itself=False)
            for number in range(len(maps)):
                result[number, row, column] = sum(
                    share * maps[number][place] for share, place in zip(shares, places, strict=True)
                )
        maps = result
    return maps


@pytest.mark.parametrize(("iterations", "dilations"), [(1, (1,)), (3, (1, 2)), (2, (1, 4, 24))])
def test_it_equals_a_loop_over_the_pixels(iterations: int, dilations: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    image, maps = generator.random((3, 6, 6)), generator.random((2, 6, 6))
    image[:, :3, :3] = 0.25  # without any contrast
    expected = loop(image, maps, iterations=iterations, dilations=dilations)
    exact = pamr(torch.from_numpy(image), torch.from_numpy(maps), iterations=iterations, dilations=dilations)
    np.testing.assert_allclose(exact.numpy(), expected, atol=1e-12)
    single = pamr(
        torch.from_numpy(image).float(), torch.from_numpy(maps).float(), iterations=iterations, dilations=dilations
    )
    np.testing.assert_allclose(single.numpy(), expected, atol=1e-5)


def test_the_refiner_is_the_function_divided_by_the_maximum() -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    maps = np.random.default_rng(1).random((2, 6, 6), np.float32)
    refined = PamrConfig(iterations=2, dilations=(1, 2)).open(torch.device("cpu"))(photograph, maps)
    expected = loop(photograph.transpose(2, 0, 1) / 255, maps.astype(np.float64), iterations=2, dilations=(1, 2))
    np.testing.assert_allclose(refined, expected / expected.max((1, 2), keepdims=True), atol=1e-5)


def test_a_map_fills_its_colour_and_stays_there() -> None:
    photograph = np.zeros((24, 24, 3), np.uint8)
    photograph[6:18, 6:18] = 200
    maps = np.zeros((1, 24, 24), np.float32)
    maps[0, 8:12, 8:12] = 1
    refined = PamrConfig().open(torch.device("cpu"))(photograph, maps)[0]
    inside = photograph[..., 0] > 0
    assert refined[inside].min() > 10 * refined[~inside].max()


def test_the_gradient_reaches_the_maps() -> None:
    image = torch.rand(3, 5, 5, dtype=torch.float64)
    maps = torch.rand(1, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: pamr(image, values, iterations=2, dilations=(1, 2)), (maps,))


def test_maps_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) do not lie on the grid of the image \(3, 5, 5\)"):
        pamr(torch.zeros(3, 5, 5), torch.zeros(1, 4, 4))
