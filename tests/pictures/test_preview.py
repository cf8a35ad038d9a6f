"""Previews of a network while it trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from attn.data.dataset import AttentionDataset
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.evaluation.inference import ImageMaps
from attn.methods.gain import GainConfig
from attn.methods.icasc import IcascConfig
from attn.models.network import ModelConfig
from attn.pictures.preview import Preview, panel_data
from attn.pictures.tiles import TilePainter


def test_previews_show_the_layer_that_the_method_trains() -> None:
    torch.manual_seed(0)
    source = ScenesConfig(count=2, size=48).build()
    dataset = AttentionDataset(source, InputConfig(size=48), train=False)
    network = ModelConfig(name="tiny", weights=None).build(len(source.classes), layers=("inner",))
    drawn = {}
    for layer in ("last", "inner"):
        ((_, drawn[layer]),) = Preview(dataset, network, GainConfig(layer=layer).build(), 1).draw()
    assert not np.array_equal(drawn["last"].pixels, drawn["inner"].pixels)


def test_columns_stay_the_same_from_epoch_to_epoch() -> None:
    """As a network learns, another class becomes the most probable one; images and maps keep their places."""
    torch.manual_seed(0)
    source = ScenesConfig(count=6, size=48, objects=(2, 2)).build()
    dataset = AttentionDataset(source, InputConfig(size=48), train=False)
    network = ModelConfig(name="tiny", weights=None).build(len(source.classes))
    bias = network.get_parameter("head.classifier.bias")
    epochs: list[dict[str, NDArray[np.uint8]]] = []
    with torch.no_grad():
        for logits in ((0.0, 9.0), (9.0, 0.0)):  # of the first class and the last one
            bias.copy_(torch.linspace(*logits, len(source.classes)))
            previews = Preview(dataset, network, GainConfig().build(), 3).draw()
            epochs.append({name: picture.pixels for name, picture in previews})
    before, after = epochs
    assert list(before) == list(after)
    for name, pixels in before.items():
        assert pixels.shape == after[name].shape
        middle = pixels.shape[1] // 4
        caption = np.s_[6:22, middle : middle + 12]  # a class's name; the probability right of it differs
        np.testing.assert_array_equal(pixels[:, :middle], after[name][:, :middle], "the image")
        np.testing.assert_array_equal(pixels[caption], after[name][caption])


@pytest.mark.parametrize("probabilities", [np.linspace(0, 1, 9), np.linspace(1, 0, 9)])
def test_maps_are_in_the_order_of_the_classes(probabilities: NDArray[np.float64]) -> None:
    source = ScenesConfig(count=1, size=48).build()
    example = source.load(0, saliency=False)
    maps = {index: np.zeros((48, 48), np.float32) for index in (3, 1, 2)}
    result = ImageMaps(replace(source.records[0], labels=(3, 1)), probabilities, maps, None)
    assert list(panel_data(result, example, source.classes).maps) == [1, 3]
    unlabelled = replace(result, record=replace(result.record, labels=()))
    assert list(panel_data(unlabelled, example, source.classes).maps) == [1, 2, 3]


def test_a_wrong_prediction_is_beside_the_labels_and_says_so() -> None:
    """Of several wrong classes the most probable one; none if all that is predicted is right."""
    source = ScenesConfig(count=1, size=48).build()
    example = source.load(0, saliency=False)
    maps = {index: np.full((48, 48), index / 9, np.float32) for index in (3, 1, 2, 0)}
    result = ImageMaps(replace(source.records[0], labels=(3, 1)), np.linspace(0, 1, 9), maps, None)
    data = panel_data(result, example, source.classes, with_mistake=True)
    assert (list(data.maps), data.mistaken) == ([1, 3, 2], {2})
    tiles = TilePainter.of([data], 4, 120).row(data, list(data.maps), [])
    names = [source.classes[index] for index in (1, 3, 2)]
    captions = [(tile.caption, tile.note) for tile in tiles[1:] if tile is not None]
    assert captions == [(names[0], "12.5 %"), (names[1], "37.5 %"), (f"predicted: {names[2]}", "25.0 %")]
    right = replace(result, maps={index: maps[index] for index in (3, 1)})
    for one in (right, replace(result, record=replace(result.record, labels=())), replace(result, probabilities=None)):
        assert not panel_data(one, example, source.classes, with_mistake=True).mistaken
    assert not panel_data(result, example, source.classes).mistaken


def test_a_method_may_draw_its_own_pictures() -> None:
    """ICASC's: maps of two layers; an image of all classes has no confusing one and is shown alone."""
    torch.manual_seed(0)
    for classes, larger in ((("boat", "car", "cat"), True), (("boat",), False)):
        source = ScenesConfig(count=2, size=48, classes=classes).build()
        dataset = AttentionDataset(source, InputConfig(size=48), train=False)
        network = ModelConfig(name="tiny", weights=None).build(len(classes), layers=("inner",))
        modes = [module.training for module in network.modules()]
        drawn = dict(Preview(dataset, network, IcascConfig().build(), 1).draw())
        assert list(drawn) == ["train-000000"]
        assert (drawn["train-000000"].pixels.shape[1] > 6 * 150) == larger
        assert [module.training for module in network.modules()] == modes
        assert all(parameter.grad is None for parameter in network.parameters())
