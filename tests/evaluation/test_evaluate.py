"""Evaluation of a network whose maps are known, end to end against plain segmentation of those maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from attn.data.geometry import Geometry
from attn.data.sample import Batch, Record
from attn.errors import DataError
from attn.evaluation import ScoringConfig, confusion_matrix, mean_iou
from attn.evaluation.evaluate import evaluate
from attn.evaluation.inference import ImageMaps, image_maps
from attn.evaluation.result import DataDescription, Evaluation
from attn.models.output import Output

CLASSES = ("red", "green")
DATA = DataDescription(source="painted", split="val", resize="squash 8x8")
CPU = torch.device("cpu")


class Painted(nn.Module):
    """Sees class c where channel c is bright: its Grad-CAM is proportional to that channel, pooled to 4×4."""

    def __init__(self, *, closed: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        self.linear.weight.data = 40 * torch.eye(2)
        self.bias = -2.0
        self.pool = nn.AvgPool2d(2)
        self.norm = nn.BatchNorm2d(2, affine=False, eps=0.0)
        self.dropout = nn.Dropout(0.9)
        self.closed = closed

    def forward(self, images: Tensor, *, update_statistics: bool = True) -> Output:
        features = self.norm(self.pool(self.dropout(images[:, :2])))
        logits = self.linear(features.mean((2, 3))) + self.bias
        return Output(logits, {"last": features}, linear_weight=self.linear.weight if self.closed else None)


def batch_of(images: list[np.ndarray], masks: list[np.ndarray | None], start: int = 0, flip: bool = False) -> Batch:
    labels = torch.stack([torch.tensor([float(image[c].max() > 0) for c in range(2)]) for image in images])
    tensors = torch.stack([torch.from_numpy(image).float() for image in images])
    return Batch(
        indices=tuple(range(len(images))),
        records=tuple(
            Record(f"image-{start + i}", tuple(row.nonzero()[:, 0].tolist())) for i, row in enumerate(labels)
        ),
        images=tensors.flip(-1) if flip else tensors,
        labels=labels,
        geometry=tuple(Geometry.whole((8, 8), flip=flip) for _ in images),
        region_pairs=torch.zeros((0, 2), dtype=torch.int64),
        regions=torch.zeros((0, 8, 8)),
        masks=tuple(masks),
    )


def painted(blocks: list[tuple[int, slice, slice]]) -> tuple[np.ndarray, np.ndarray]:
    image, mask = np.zeros((3, 8, 8)), np.zeros((8, 8), np.uint8)
    for channel, rows, columns in blocks:
        image[channel, rows, columns] = 1
        mask[rows, columns] = channel + 1
    return image, mask


SCENES = [
    painted([(0, slice(0, 4), slice(0, 4))]),
    painted([(1, slice(4, 8), slice(2, 8))]),
    painted([(0, slice(0, 4), slice(4, 8)), (1, slice(4, 8), slice(0, 4))]),
    painted([]),
]


def score(network: nn.Module, batches: list[Batch], **options: Any) -> Evaluation:
    return evaluate(network, batches, CLASSES, ScoringConfig(**options), "grad_cam", CPU, data=DATA)


@pytest.fixture
def batches() -> list[Batch]:
    images, masks = zip(*SCENES, strict=True)
    return [batch_of(list(images[:2]), list(masks[:2])), batch_of(list(images[2:]), list(masks[2:]), start=2)]


@pytest.mark.parametrize("closed", [True, False], ids=["closed form", "autograd"])
def test_the_best_seed_threshold_finds_the_painted_blocks(batches: list[Batch], closed: bool) -> None:
    result = score(Painted(closed=closed), batches)
    seeds = result.scores["seed_miou"]
    # Pooled maps blur the blocks' edges by half a cell on the way back, and no more.
    assert seeds.value > 0.95
    assert set(seeds.per_class) == {"background", *CLASSES}
    assert (result.images, result.masked) == (4, 4)
    assert result.scores["pointing"].value == 1
    assert result.scores["energy"].value > 0.75
    assert result.scores["coverage"].value > 0.9
    assert result.scores["mean_ap"].value == 1
    assert result.scores["recall"].per_class == {"red": 1, "green": 1}


def test_what_the_network_does_not_see_of_an_image_is_told_and_not_kept(batches: list[Batch]) -> None:
    left = Geometry((8, 8), (0, 0, 8, 4), (8, 8))
    parts = [replace(batch, geometry=(left, *batch.geometry[1:])) for batch in batches]
    message = "the network sees only a part of 2 of 4 images"
    assert [note for note in score(Painted(), parts).notes if note.startswith(message)]
    assert not [note for note in score(Painted(), batches).notes if "only a part" in note]
    assert [one.whole for one in image_maps(Painted(), parts[0], kind="grad_cam")] == [False, True]
    with pytest.raises(DataError, match=r"image-0': the network sees only a part of it"):
        list(image_maps(Painted(), parts[0], kind="grad_cam", kept=True))
    beyond = Geometry((8, 8), (-2, -2, 12, 12), (8, 8))  # more than all of it
    parts = [replace(batch, geometry=(beyond,) * 2) for batch in batches]
    assert all(one.whole for batch in parts for one in image_maps(Painted(), batch, kind="grad_cam", kept=True))


@pytest.mark.parametrize("threshold", [0, 20, 50])
def test_figures_equal_segmentations_of_the_maps(batches: list[Batch], threshold: int) -> None:
    network = Painted()
    seeds, direct = np.zeros((2, 3, 3), np.int64)
    for batch in batches:
        for one in image_maps(network, batch, kind="grad_cam", predicted=True):
            assert one.mask is not None
            assert one.probabilities is not None
            for matrix, classes in (
                (seeds, one.record.labels),
                (direct, [index for index in range(2) if one.probabilities[index] > 0.5]),
            ):
                best, prediction = np.full((8, 8), threshold / 100), np.zeros((8, 8), int)
                for index in classes:
                    wins = one.maps[index] > best
                    prediction[wins], best[wins] = index + 1, one.maps[index][wins]
                matrix += confusion_matrix(prediction, one.mask, 3)
    result = score(network, batches, claim=threshold / 100)
    assert dict(result.scores["seed_miou"].curve)[threshold / 100] == pytest.approx(mean_iou(seeds)[0], abs=1e-12)
    # The painted blocks do not overlap by more than the blur, so that both rules settle overlaps alike above it.
    if threshold:
        assert result.scores["direct_miou"].value == pytest.approx(mean_iou(direct)[0], abs=1e-12)


def test_a_flip_is_undone(batches: list[Batch]) -> None:
    image, mask = SCENES[0]
    straight = next(image_maps(Painted(), batch_of([image], [mask]), kind="grad_cam"))
    flipped = next(image_maps(Painted(), batch_of([image], [mask], flip=True), kind="grad_cam"))
    np.testing.assert_allclose(straight.maps[0], flipped.maps[0], atol=1e-6)


def test_the_network_is_left_as_it_was(batches: list[Batch]) -> None:
    network = Painted(closed=False).train()
    network.norm.eval()
    score(network, batches)
    assert (network.training, network.dropout.training, network.norm.training) == (True, True, False)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_image_counts_once(batches: list[Batch]) -> None:
    once, twice = score(Painted(), batches), score(Painted(), [*batches, *batches])
    assert once == twice


def test_images_without_a_mask_count_for_the_classifier_only(batches: list[Batch]) -> None:
    image, _ = SCENES[1]
    result = score(Painted(), [*batches, batch_of([image], [None], start=9)])
    assert (result.images, result.masked) == (5, 4)
    assert result.scores["mean_ap"].protocol.images == 5
    assert result.scores["seed_miou"].protocol.images == 4
    assert "1 of 5 images have no mask" in " ".join(result.notes)


def test_without_masks_there_are_no_scores_of_maps_and_it_is_said() -> None:
    image, _ = SCENES[0]
    result = score(Painted(), [batch_of([image, SCENES[1][0]], [None, None])])
    assert "seed_miou" not in result.scores
    assert "no masks" in " ".join(result.notes)
    assert [row["class"] for row in result.table()] == list(CLASSES)


def test_a_split_of_one_class_is_scored_where_it_can_be() -> None:
    image, mask = SCENES[0]
    result = score(Painted(), [batch_of([image], [mask])])
    assert {"mean_ap", "mean_auc"}.isdisjoint(result.scores)
    assert result.scores["recall"].per_class == {"red": 1.0, "green": None}
    assert result.scores["specificity"].per_class == {"red": None, "green": 1.0}
    assert "mean_ap omits 2 of 2 classes" in " ".join(result.notes)


def test_protocols_say_what_was_done(batches: list[Batch]) -> None:
    scores = score(Painted(), batches, claim=0.25, probability=0.4, pointing_tolerance=2).scores
    assert scores["seed_miou"].protocol.labels == "given"
    direct = scores["direct_miou"].protocol
    assert (direct.labels, direct.probability) == ("predicted", 0.4)
    assert direct.threshold is not None
    assert direct.threshold.values == (0.25,)
    assert scores["pointing"].protocol.tolerance == 2
    assert scores["mean_ap"].protocol.map_kind is None
    assert len({scores[name].hash for name in ("mean_ap", "seed_miou", "direct_miou", "direct_miou_best")}) == 4


def test_no_image_is_an_error() -> None:
    with pytest.raises(DataError, match="painted"):
        score(Painted(), [])


def test_maps_are_observed_once_an_image(batches: list[Batch]) -> None:
    seen: list[ImageMaps] = []
    evaluate(Painted(), [*batches, *batches], CLASSES, ScoringConfig(), "grad_cam", CPU, data=DATA, observe=seen.append)
    assert [one.record.image_id for one in seen] == [f"image-{index}" for index in range(4)]
    assert all(values.shape == (8, 8) and values.max() <= 1 for one in seen for values in one.maps.values())


def test_images_that_could_not_be_read_are_noted(batches: list[Batch]) -> None:
    result = score(
        Painted(), [replace(batches[0], skipped=("broken",)), replace(batches[1], skipped=("broken", "gone"))]
    )
    assert result.notes[0] == "2 images could not be read and do not count: broken, gone"


def test_other_masks_of_the_same_images_are_another_protocol(batches: list[Batch]) -> None:
    def hashes(masks: str | None) -> dict[str, str]:
        data = DATA.model_copy(update={"masks": masks})
        result = evaluate(Painted(), batches, CLASSES, ScoringConfig(), "grad_cam", CPU, data=data)
        return {name: one.hash for name, one in result.scores.items()}

    first, other = hashes("SegmentationClass"), hashes("SegmentationClassAug")
    assert first["seed_miou"] != other["seed_miou"]
    assert first["mean_ap"] == other["mean_ap"]


def test_probabilities_over_ten_crops_are_the_mean_of_each_crop_s(batches: list[Batch]) -> None:
    generator = torch.Generator().manual_seed(0)
    network = Painted()
    batch = replace(batches[0], crops=torch.rand(2, 10, 3, 8, 8, generator=generator), exclusive=True)
    assert batch.crops is not None
    network.eval()
    with torch.no_grad():
        each = [[network(crop[None]).logits[0].double().softmax(0) for crop in crops] for crops in batch.crops]
    expected = np.array([torch.stack(one).mean(0).numpy() for one in each])
    results = list(image_maps(network, batch, kind="grad_cam", maps=False))
    assert np.allclose([one.probabilities for one in results if one.probabilities is not None], expected)
    one, ten = (score(network, [batch], maps=False, crops=crops) for crops in ("one", "ten"))
    assert ten.scores["accuracy"].protocol.crops == "ten"
    assert one.scores["accuracy"].protocol.hash != ten.scores["accuracy"].protocol.hash


def test_ten_crops_are_of_the_classifier() -> None:
    with pytest.raises(ValidationError, match="crops=ten scores the classifier alone: set maps=false"):
        ScoringConfig(crops="ten")
