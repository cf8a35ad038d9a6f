"""Samples and batches: content, reproducibility, and broken files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from attn.data.dataset import AttentionDataset
from attn.data.loader import build_loader
from attn.data.sample import Batch, collate
from attn.data.sampler import BatchSampler, shards
from attn.data.sources import FolderConfig, ManifestConfig, ScenesConfig, VocConfig
from attn.data.transforms import ColorJitter, InputConfig
from attn.errors import ConfigError, DataError

SQUASH = InputConfig(size=32)
RANDOM = InputConfig(size=24, resize="crop", color_jitter=ColorJitter(brightness=0.5))


@pytest.fixture
def broken(tmp_path: Path, make: Any) -> Path:
    """Six images, of which the second is cut, the third is a text and the last is a folder."""
    photo = make.jpeg(1, (120, 160))
    files: dict[str, bytes | str] = {f"train/x/{name}.jpg": make.jpeg(number) for number, name in enumerate("ade")}
    files |= {"train/x/b.jpg": photo[: len(photo) // 2], "train/x/c.jpg": "a text", "train/x/f.jpg/inside": ""}
    return make.write(tmp_path, files)


def folder(root: Path, on_error: str = "raise") -> FolderConfig:
    return FolderConfig.model_validate({"root": str(root), "on_error": on_error})


def test_a_sample(voc: Path, make: Any) -> None:
    source = VocConfig(root=str(voc), saliency="Saliency").build()
    dataset = AttentionDataset(source, SQUASH, train=False, supervised=[1], with_masks=True, with_saliency=True)
    sample = dataset[1]
    assert sample.record.image_id == "b_2"
    assert sample.labels.nonzero().flatten().tolist() == [0, 14]
    assert sample.image.shape == (3, 32, 32)
    assert sample.regions is not None
    assert sample.saliency is not None
    assert sample.mask is not None
    np.testing.assert_array_equal(sample.mask, make.mask(15, 1, 255))
    truth = np.stack([make.mask(15, 1, 255) == 1, make.mask(15, 1, 255) == 15])
    centres = (np.arange(32) + 0.5) / 32
    rows, columns = (centres * 20).astype(int), (centres * 30).astype(int)
    np.testing.assert_array_equal(sample.regions.numpy(), truth[:, rows][:, :, columns])
    assert sample.saliency.min() >= 9 / 255
    assert sample.saliency.max() <= 201 / 255
    assert dataset[0].regions is None


def test_saliency_of_one_stays_one_at_every_size(tmp_path: Path, make: Any) -> None:
    """Weights of an average that shrinks an image sum to a little more than one."""
    sizes = ((320, 240), (213, 320))
    files: dict[str, bytes | str] = {"list.csv": "image,labels,saliency\n0.jpg,one,0.png\n1.jpg,one,1.png"}
    for number, size in enumerate(sizes):
        files |= {f"{number}.jpg": make.jpeg(number, size), f"{number}.png": make.png(np.full(size, 255))}
    source = ManifestConfig(manifest=str(make.write(tmp_path, files) / "list.csv"), classes=("one",)).build()
    config = InputConfig(size=225, resize="random_part", crop_area=(0.5, 1.0))
    dataset = AttentionDataset(source, config, train=True, with_saliency=True)
    for epoch in range(6):
        for index in range(len(sizes)):
            saliency = dataset[(epoch, index)].saliency
            assert saliency is not None
            assert saliency.max() <= 1
            assert saliency.min() > 1 - 1e-6


def test_regions_from_boxes(voc: Path) -> None:
    source = VocConfig(root=str(voc)).build()
    sample = AttentionDataset(source, InputConfig(size=(20, 30)), train=False, supervised=[1], region_kind="boxes")[1]
    assert sample.regions is not None
    assert sample.regions[0].nonzero().min(0).values.tolist() == [0, 16]
    assert sample.regions[0].nonzero().max(0).values.tolist() == [19, 22]
    assert sample.regions.sum((1, 2)).tolist() == [140, 160]


def test_regions_and_saliency_turn_with_the_image() -> None:
    source = ScenesConfig(count=8, size=48).build()
    config = InputConfig(size=48, resize="crop", crop_area=(0.3, 0.8))
    dataset = AttentionDataset(source, config, train=True, supervised=range(8), with_masks=True, with_saliency=True)
    flips = set()
    for index in range(8):
        sample = dataset[(5, index)]
        assert sample.regions is not None
        assert sample.saliency is not None
        assert sample.mask is not None
        flips.add(sample.geometry.flip)
        mask = torch.from_numpy(sample.mask.copy())[None]
        for label, region in zip(sample.record.labels, sample.regions, strict=True):
            assert torch.equal(region, sample.geometry.apply(mask, "nearest")[0] == label + 1)
        again, seen = sample.geometry.to_image(sample.saliency[None])
        wrong = ((again[0] > 0.5) != (mask[0] > 0)) & seen
        assert wrong.float().mean() < 0.03
    assert flips == {True, False}


def test_randomness_belongs_to_seed_epoch_index_and_repetition() -> None:
    source = ScenesConfig(count=4, size=48).build()

    def image(key: Any, seed: int = 0, train: bool = True) -> torch.Tensor:
        return AttentionDataset(source, RANDOM, train=train, seed=seed)[key].image

    assert torch.equal(image((2, 1)), image((2, 1)))
    for other in (image((3, 1)), image((2, 1), seed=1), image((2, 1, 1))):
        assert not torch.equal(image((2, 1)), other)
    assert torch.equal(image((2, 1), train=False), image((3, 1), train=False))
    dataset = AttentionDataset(source, RANDOM, train=True)
    dataset.set_epoch(2)
    assert torch.equal(dataset[1].image, image((2, 1)))


def test_collate() -> None:
    source = ScenesConfig(count=4, size=48).build()
    dataset = AttentionDataset(source, SQUASH, train=False, supervised=[1, 2], with_masks=True)
    batch = collate([dataset[index] for index in (2, 0, 1)])
    assert batch.indices == (2, 0, 1)
    assert batch.images.shape == (3, 3, 32, 32)
    expected = [(row, label) for row, index in ((0, 2), (2, 1)) for label in source.records[index].labels]
    assert batch.region_pairs.tolist() == [list(pair) for pair in expected]
    assert batch.regions.shape == (len(expected), 32, 32)
    assert batch.regions.dtype == torch.float32
    assert batch.saliency is None
    assert batch.skipped == ()
    assert all(mask is not None for mask in batch.masks)
    moved = batch.to(torch.device("cpu"), channels_last=True)
    assert torch.equal(moved.images, batch.images)
    plain = collate([dataset[0]])
    assert plain.region_pairs.shape == (0, 2)
    assert plain.regions.shape == (0, 32, 32)


def test_inputs_of_different_sizes(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path, {"train/x/a.jpg": make.jpeg(0, (20, 30)), "train/x/b.jpg": make.jpeg(1, (30, 20))})
    dataset = AttentionDataset(folder(tmp_path).build(), InputConfig(size=24, resize="short_side"), train=False)
    assert [tuple(batch.images.shape) for batch in build_loader(dataset, shards(2, 1))] == [
        (1, 3, 24, 36),
        (1, 3, 36, 24),
    ]
    with pytest.raises(ConfigError, match=r"different sizes \(x/a 36x24, x/b 24x36\)"):
        next(iter(build_loader(dataset, [[0, 1]])))


def batches(workers: int, start: int = 0) -> list[Batch]:
    source = ScenesConfig(count=10, size=48).build()
    supervised = [1, 4, 7]
    dataset = AttentionDataset(source, RANDOM, train=True, seed=5, supervised=supervised)
    sampler = BatchSampler(10, 4, seed=5, supervised=supervised, batch_fraction=0.25)
    loader = build_loader(dataset, sampler, workers=workers, pin=False)
    results = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        if epoch == 1:
            sampler.start(start)
        results += list(loader)
    return results


@pytest.mark.slow
def test_worker_processes_give_the_same_batches() -> None:
    here, there = batches(0), batches(2)
    assert len(here) == len(there) == 8
    for one, other in zip(here, there, strict=True):
        assert one.indices == other.indices
        assert one.geometry == other.geometry
        for name in ("images", "labels", "regions", "region_pairs"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_a_masked_image_is_drawn_for_its_mask_apart() -> None:
    """Its other draw is like any image's, without regions, and another augmentation of it."""
    source = ScenesConfig(count=6, size=48).build()
    dataset = AttentionDataset(source, RANDOM, train=True, seed=5, supervised=[2, 4])
    batch = collate([dataset[key] for key in ((0, 1), (0, 2, 0, 1), (0, 2), (0, 4, 1))])
    assert batch.supervised is not None
    assert batch.supervised.tolist() == [False, False, True, True]
    assert set(batch.region_pairs[:, 0].tolist()) == {2, 3}
    assert len(batch.region_pairs) == sum(len(source.records[index].labels) for index in (2, 4))
    assert not torch.equal(batch.images[1], batch.images[2])
    assert AttentionDataset(source, RANDOM, train=True)[(0, 1)].supervised is None


@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_a_label_that_its_mask_does_not_show_carries_no_supervision(
    kind: Literal["masks", "boxes"], tmp_path: Path, make: Any
) -> None:
    """An empty region would train the map of a class to vanish where the image shows it."""
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 3:7] = 1
    rows = "image,labels,mask\na.jpg,cat|dog,a.png\nb.jpg,dog,a.png\n"
    images = {f"{name}.jpg": make.jpeg(0, mask.shape) for name in "ab"}
    make.write(tmp_path, {"t.csv": rows, "a.png": make.png(mask), **images})
    source = ManifestConfig(manifest=f"{tmp_path}/t.csv", classes=("cat", "dog")).build()
    dataset = AttentionDataset(source, SQUASH, train=False, supervised=[0, 1], region_kind=kind)
    batch = collate([dataset[0], dataset[1]])
    assert batch.region_pairs.tolist() == [[0, 0]]
    assert len(batch.regions) == 1
    assert batch.regions.any()


def test_an_unreadable_masked_image_is_not_replaced_by_one_without_mask(broken: Path) -> None:
    source = folder(broken, "skip").build()
    dataset = AttentionDataset(source, SQUASH, train=True, supervised=[1])
    with pytest.raises(DataError, match="none of the 1 images with extra supervision can be read"):
        dataset[(0, 1)]
    plain = dataset[(0, 1, 0, 1)]
    assert (plain.supervised, plain.regions, plain.skipped) == (False, None, ("x/b", "x/c"))


def test_resumption_gives_the_same_batches() -> None:
    whole, rest = batches(0), batches(0, start=2)
    assert [batch.indices for batch in rest[4:]] == [batch.indices for batch in whole[6:]]
    assert torch.equal(rest[-1].images, whole[-1].images)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_one_error_with_its_name(broken: Path, workers: int) -> None:
    dataset = AttentionDataset(folder(broken).build(), SQUASH, train=True)
    loader = build_loader(dataset, [[0, 1]], workers=workers)
    with pytest.raises(DataError) as caught:
        list(loader)
    assert str(caught.value).startswith(f"{broken}/train/x/b.jpg: is damaged")
    assert "Traceback" not in str(caught.value)


def test_a_broken_file_is_skipped(broken: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = folder(broken, "skip").build()
    dataset = AttentionDataset(source, SQUASH, train=True)
    sample = dataset[(0, 1)]
    assert (sample.index, sample.record.image_id) == (3, "x/d")
    assert sample.skipped == ("x/b", "x/c")
    assert dataset[(0, 3)].skipped == ()
    batch = next(iter(build_loader(dataset, [[(0, 0), (0, 1), (0, 2)]])))
    assert batch.image_ids == ("x/a", "x/d", "x/d")
    assert batch.skipped == ("x/b", "x/c", "x/c")
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 2
    assert "b.jpg: is damaged" in warned[0]


def test_nothing_can_be_read(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path, {"train/x/a.jpg": "text", "train/x/b.jpg": ""})
    dataset = AttentionDataset(folder(tmp_path, "skip").build(), SQUASH, train=True)
    with pytest.raises(DataError, match="none of the 2 images can be read"):
        dataset[0]


def test_missing_masks_boxes_and_saliency_are_errors(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path, {"train/x/a.jpg": make.jpeg(0)})
    source = folder(tmp_path).build()
    with pytest.raises(DataError, match=r"no saliency map; set data\.saliency"):
        AttentionDataset(source, SQUASH, train=True, with_saliency=True)[0]
    for kind, words in (("masks", "by its mask, but has none"), ("boxes", "neither boxes nor a mask")):
        with pytest.raises(DataError, match=words):
            AttentionDataset(source, SQUASH, train=True, supervised=[0], region_kind=kind)[0]  # pyright: ignore[reportArgumentType]
