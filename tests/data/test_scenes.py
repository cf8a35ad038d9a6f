"""What must hold of generated scenes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from attn.data.scenes import CLASSES, CONTEXTS, HOME, SPLITS, Scene, class_palette, render

COUNT = 60


def digest(split: str, count: int) -> str:
    """Hash of everything that is in the first scenes of a split."""
    hasher = hashlib.sha256()
    for index in range(count):
        scene = render(split, index, seed=5, size=64)
        for array in (scene.image, scene.mask, scene.saliency):
            hasher.update(array.tobytes())
        hasher.update(repr((scene.image_id, scene.labels, scene.boxes, scene.context)).encode())
    return hasher.hexdigest()


@pytest.fixture(scope="module", params=SPLITS)
def split_scenes(request: pytest.FixtureRequest) -> tuple[str, list[Scene]]:
    return request.param, [render(request.param, index, seed=3, size=64) for index in range(COUNT)]


def share(scenes: list[Scene], context: str, name: str) -> float:
    """Of the scenes with this class, the share in this context."""
    having = [scene for scene in scenes if name in scene.labels]
    return sum(scene.context == context for scene in having) / len(having)


@pytest.mark.parametrize("hash_seed", ["0", "77"])
def test_other_processes_render_the_same_bytes(hash_seed: str) -> None:
    code = "from tests.data.test_scenes import digest; print(digest('val', 12))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
    )
    assert answer.stdout.strip() == digest("val", 12)


def test_global_random_state_is_neither_read_nor_moved() -> None:
    np.random.seed(1)
    first = render("train", 4, seed=9)
    after = np.random.random()
    np.random.seed(2)
    assert np.array_equal(first.image, render("train", 4, seed=9).image)
    np.random.seed(1)
    assert np.random.random() == after


def test_seed_split_and_index_each_change_the_scene() -> None:
    images = [
        render(split, index, seed=seed, size=64).image.tobytes()
        for split in SPLITS
        for index in (0, 1)
        for seed in (0, 1)
    ]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("size", [32, 64, 97, 224])
def test_size_sets_every_array(size: int) -> None:
    scene = render("train", 0, seed=1, size=size)
    assert scene.image.shape == (size, size, 3)
    assert scene.mask.shape == scene.saliency.shape == (size, size)
    assert scene.image.dtype == scene.mask.dtype == scene.saliency.dtype == np.uint8


def test_mask_labels_boxes_and_saliency_agree(split_scenes: tuple[str, list[Scene]]) -> None:
    split, scenes = split_scenes
    for index, scene in enumerate(scenes):
        assert scene.image_id == f"{split}-{index:06d}"
        assert scene.labels == tuple(CLASSES[value - 1] for value in np.unique(scene.mask) if value)
        assert tuple(scene.boxes) == scene.labels
        assert np.array_equal(scene.saliency, np.where(scene.mask > 0, 255, 0))
        for name, boxes in scene.boxes.items():
            rows, columns = np.nonzero(scene.mask == CLASSES.index(name) + 1)
            union = (
                min(box[0] for box in boxes),
                min(box[1] for box in boxes),
                max(box[2] for box in boxes),
                max(box[3] for box in boxes),
            )
            assert union == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            inside = np.zeros(scene.mask.shape, bool)
            for x0, y0, x1, y1 in boxes:
                assert 0 <= x0 < x1 <= 64
                assert 0 <= y0 < y1 <= 64
                inside[y0:y1, x0:x1] = True
            assert inside[rows, columns].all()


def test_labelled_objects_are_visible(split_scenes: tuple[str, list[Scene]]) -> None:
    for scene in split_scenes[1]:
        for name in scene.labels:
            assert np.count_nonzero(scene.mask == CLASSES.index(name) + 1) >= 0.008 * scene.mask.size


def test_telling_part_is_a_small_piece_of_its_object() -> None:
    shares: dict[str, list[float]] = {name: [] for name in CLASSES}
    for index in range(150):
        scene = render("test", index, seed=2)
        parts = scene.part_mask
        assert np.all((parts == 0) | (parts == scene.mask))
        for name in scene.labels:
            value = CLASSES.index(name) + 1
            if not np.any(parts == value):
                continue
            shares[name].append(np.count_nonzero(parts == value) / np.count_nonzero(scene.mask == value))
    for name, values in shares.items():
        assert 0.02 < np.mean(values) < 0.15, name


def test_plain_objects_have_no_telling_part() -> None:
    for index in range(10):
        plain = render("test", index, seed=2, plain_share=1.0)
        assert not plain.part_mask.any()
        assert not plain.part_boxes
        assert render("test", index, seed=2, plain_share=0.0, objects=1).part_mask.any()


def test_full_bias_ties_classes_to_their_homes() -> None:
    scenes = [render("train", index, seed=0, size=32, context_bias=1.0) for index in range(200)]
    for scene in scenes:
        at_home = [name for name in scene.labels if name in HOME]
        assert all(HOME[name] == scene.context for name in at_home)
        # The main object is always kept, and in somebody's home it is theirs.
        assert bool(at_home) == (scene.context in HOME.values())


def test_bias_is_seen_in_train_and_val_and_not_in_test() -> None:
    drawn = {
        split: [render(split, index, seed=0, size=32, context_bias=0.9) for index in range(300)]
        for split in ("train", "val", "test")
    }
    for name, home in HOME.items():
        assert share(drawn["train"], home, name) > 0.7
        assert share(drawn["val"], home, name) > 0.7
        assert share(drawn["test"], home, name) < 2.2 / len(CONTEXTS)


def test_no_bias_leaves_train_like_test() -> None:
    scenes = [render("train", index, seed=0, size=32, context_bias=0.0) for index in range(400)]
    assert share(scenes, "water", "boat") < 2.2 / len(CONTEXTS)


def test_object_without_context_shows_no_class_at_home() -> None:
    for index in range(100):
        scene = render("object_without_context", index, seed=0, size=32)
        at_home = [name for name in scene.labels if name in HOME]
        assert at_home
        assert all(HOME[name] != scene.context for name in at_home)


def test_context_without_object_shows_homes_without_their_classes() -> None:
    scenes = [render("context_without_object", index, seed=0, size=32) for index in range(100)]
    for scene in scenes:
        assert scene.context in HOME.values()
        assert all(HOME.get(name) != scene.context for name in scene.labels)
    empty = [scene for scene in scenes if not scene.labels]
    assert 10 < len(empty) < 70
    assert all(not scene.mask.any() and not scene.boxes for scene in empty)


def test_other_splits_are_never_empty_and_show_several_classes() -> None:
    counts = [len(render("train", index, seed=0, size=32, objects=(1, 3)).labels) for index in range(200)]
    assert min(counts) >= 1
    assert set(counts) == {1, 2, 3}


def test_subset_of_classes_sets_the_values_of_the_mask() -> None:
    classes = ("cat", "boat")
    for index in range(20):
        scene = render("train", index, seed=0, size=48, classes=classes, objects=2)
        assert scene.labels == tuple(classes[value - 1] for value in np.unique(scene.mask) if value)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"split": "tset"}, "split"),
        ({"index": -1}, "index"),
        ({"size": 8}, "size"),
        ({"context_bias": 1.5}, "context_bias"),
        ({"objects": 0}, "objects"),
        ({"objects": (3, 1)}, "objects"),
        ({"plain_share": -0.1}, "plain_share"),
        ({"classes": ("dog",)}, "classes"),
        ({"classes": ("cat", "cat")}, "classes"),
        ({"classes": ("cat",), "split": "object_without_context"}, "context"),
    ],
)
def test_faulty_arguments_are_named(change: dict[str, object], word: str) -> None:
    arguments: dict[str, Any] = {"split": "train", "index": 0, **change}
    with pytest.raises(ValueError, match=word):
        render(**arguments)


def test_palette_has_a_colour_of_its_own_for_each_class() -> None:
    colours = class_palette(20)
    assert colours.shape == (21, 3)
    assert colours.dtype == np.uint8
    assert not colours[0].any()
    assert len({tuple(row) for row in colours}) == 21
