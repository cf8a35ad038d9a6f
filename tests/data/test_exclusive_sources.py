"""Sources of images of one class each: CIFAR, Caltech-256, look-alikes."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from torchvision import datasets

from attn.config.base import Config
from attn.data.sample import Record
from attn.data.scenes import CONTEXTS, FAMILIES, LOOK_ALIKES, render
from attn.data.source import FileSource, SourceConfig
from attn.data.sources import Caltech256Config, Cifar10Config, Cifar100Config, LookAlikesConfig
from attn.errors import DataError


class Holder(Config):
    data: SourceConfig


# CIFAR


def _pickled(place: Path, content: dict[str, Any]) -> str:
    """Write a CIFAR file; returns its MD5."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(pickle.dumps(content))
    return hashlib.md5(place.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both sets with a handful of images, whose checksums are taken for the published ones."""
    rng = np.random.default_rng(0)
    for kind, key, names in (
        (datasets.CIFAR10, "labels", ["cat", "dog", "ship"]),
        (datasets.CIFAR100, "fine_labels", [f"class {number}" for number in range(100)]),
    ):
        folder, split_files = tmp_path / kind.base_folder, {}
        for split, files, count in (("train", kind.train_list, 4), ("test", kind.test_list, 3)):
            split_files[split] = []
            for file, _ in files:
                pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
                labels = rng.integers(0, len(names), count).tolist()
                split_files[split].append([file, _pickled(folder / file, {"data": pixels, key: labels})])
        meta = kind.meta | {"md5": _pickled(folder / kind.meta["filename"], {kind.meta["key"]: names})}
        monkeypatch.setattr(kind, "train_list", split_files["train"])
        monkeypatch.setattr(kind, "test_list", split_files["test"])
        monkeypatch.setattr(kind, "meta", meta)
    return tmp_path


@pytest.mark.parametrize(("kind", "images", "classes"), [(Cifar10Config, 20, 3), (Cifar100Config, 4, 100)])
def test_cifar_is_what_its_files_hold(
    cifar: Path, kind: type[Cifar10Config | Cifar100Config], images: int, classes: int
) -> None:
    source = kind(root=str(cifar)).build()
    assert (len(source.records), len(source.classes), source.exclusive) == (images, classes, True)
    assert len(kind(root=str(cifar), split="test").build().records) == 3
    file = "cifar-100-python/train" if classes == 100 else "cifar-10-batches-py/data_batch_1"
    content = pickle.loads((cifar / file).read_bytes())
    labels = content["fine_labels" if classes == 100 else "labels"]
    assert [record.labels for record in source.records[:4]] == [(label,) for label in labels]
    assert source.records[3].image_id == "train-00003"
    rows = content["data"].reshape(-1, 3, 32, 32)  # red, green, blue, row by row
    copy = pickle.loads(pickle.dumps(source))
    for example in (source.load(2), copy.load(2)):
        np.testing.assert_array_equal(example.image.transpose(2, 0, 1), rows[2])
    assert len(pickle.dumps(source)) < 3000  # the pixels stay behind


def test_missing_or_changed_cifar_files(cifar: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Unpack cifar-10-python\.tar\.gz from https"):
        Cifar10Config(root=str(tmp_path / "none")).build()
    with pytest.raises(DataError, match="has train and test"):
        Cifar10Config(root=str(cifar), split="val").build()
    with pytest.raises(DataError, match="local folder"):
        Cifar10Config(root="s3://bucket/cifar").build()
    with (cifar / "cifar-100-python/test").open("ab") as file:
        file.write(b".")
    with pytest.raises(DataError, match="differs from the published one"):
        Cifar100Config(root=str(cifar), split="test").build()


# Caltech-256


@pytest.fixture
def caltech(tmp_path: Path, make: Any) -> Path:
    counts = {"001.ak47": 7, "002.american-flag": 3, "257.clutter": 4}
    files = {
        f"caltech256/256_ObjectCategories/{name}/{name[:3]}_{number:04d}.jpg": make.jpeg(number)
        for name, count in counts.items()
        for number in range(1, count + 1)
    }
    return make.write(tmp_path, files | {"caltech256/256_ObjectCategories/001.ak47/greg/notes.txt": "no image"})


def test_caltechs_random_split_is_fixed(caltech: Path) -> None:
    settings: dict[str, Any] = {"root": str(caltech), "train_per_class": 3, "test_per_class": 2}
    train, test = (Caltech256Config(split=split, **settings).build() for split in ("train", "test"))
    assert train.classes == test.classes == ("ak47", "american-flag")
    assert train.exclusive
    assert [sum(record.labels == (label,) for record in train.records) for label in (0, 1)] == [3, 1]
    assert [sum(record.labels == (label,) for record in test.records) for label in (0, 1)] == [2, 2]
    assert not {record.image_id for record in train.records} & {record.image_id for record in test.records}
    assert train.load(0).image.shape == (20, 30, 3)
    below = Caltech256Config(**settings | {"root": str(caltech / "caltech256/256_ObjectCategories")}).build()
    assert below.fingerprint() == train.fingerprint()
    drawn = {Caltech256Config(split_seed=seed, **settings).build().fingerprint() for seed in range(5)}
    assert len(drawn) > 1


def test_caltech_faults(caltech: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no 256_ObjectCategories with folders such as 001.ak47"):
        Caltech256Config(root=str(tmp_path / "none")).build()
    with pytest.raises(DataError, match="has train and test"):
        Caltech256Config(root=str(caltech), split="val").build()


def test_too_many_classes_are_refused_only_with_masks() -> None:
    names = [f"class {number}" for number in range(1000)]
    assert len(FileSource(names, [Record("a", (999,), image="a.jpg")]).classes) == 1000
    with pytest.raises(DataError, match="1000 classes; 8-bit masks allow only 254"):
        FileSource(names, [Record("a", (999,), image="a.jpg", mask="a.png")])


# look-alikes


def test_look_alikes_have_one_class_each_and_show_its_mark() -> None:
    source = LookAlikesConfig(count=60, size=48).build()
    assert source.exclusive
    assert source.classes == tuple(LOOK_ALIKES)
    assert len(source.classes) == sum(map(len, FAMILIES.values())) == 9
    assert [len(record.labels) for record in source.records] == [1] * 60
    assert {record.labels[0] for record in source.records} == set(range(9))
    marked = LookAlikesConfig(count=60, size=48, annotation="telling_parts").build()
    for index in range(10):
        mark, mask = marked.load(index).mask, source.load(index).mask
        assert mark is not None
        assert mask is not None
        assert 0 < np.count_nonzero(mark) < 0.4 * np.count_nonzero(mask)
        assert set(np.unique(mark)) == {0, source.records[index].labels[0] + 1}


def test_the_telling_part_of_a_look_alike_is_its_mark_alone() -> None:
    whole, marked = (
        LookAlikesConfig(count=20, size=48, annotation=kind).build() for kind in ("objects", "telling_parts")
    )
    for index, (record, marked_record) in enumerate(zip(whole.records, marked.records, strict=True)):
        example, marked_example = whole.load(index), marked.load(index)
        assert np.array_equal(example.image, marked_example.image)
        assert example.mask is not None
        assert marked_example.mask is not None
        assert marked_record.labels == record.labels
        ((label, (left, top, right, bottom)),) = marked_record.boxes
        rows, columns = np.nonzero(marked_example.mask == label + 1)
        assert (left, top, right, bottom) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (example.mask[rows, columns] == label + 1).all()


def test_full_bias_gives_each_look_alike_a_background_of_its_own_in_training_alone() -> None:
    pair = ("bird_crest", "bird_tail")

    def contexts(split: str, bias: float) -> dict[str, set[str]]:
        scenes = [
            render(split, index, size=32, context_bias=bias, objects=1, classes=pair, plain_share=0.0)
            for index in range(60)
        ]
        assert all(len(scene.labels) == 1 for scene in scenes)
        return {name: {scene.context for scene in scenes if scene.labels == (name,)} for name in pair}

    for split in ("train", "val"):
        first, second = contexts(split, 1.0).values()
        assert len(first) == len(second) == 1
        assert first != second
    for found in (contexts("test", 1.0), contexts("train", 0.0)):
        assert found["bird_crest"] == found["bird_tail"] == set(CONTEXTS)
    image = LookAlikesConfig(count=1, size=32, classes=pair, context_bias=1).build().load(0).image
    scene = render("train", 0, size=32, context_bias=1, objects=1, classes=pair, plain_share=0, own_hue=0)
    assert np.array_equal(image, scene.image)


def test_look_alikes_with_several_objects_are_not_exclusive() -> None:
    source = LookAlikesConfig(count=10, size=48, objects=(2, 2), classes=("fish_fin", "bird_tail")).build()
    assert not source.exclusive
    assert source.classes == ("fish_fin", "bird_tail")


def test_look_alikes_faults() -> None:
    with pytest.raises(DataError, match="there is no split 'object_without_context'"):
        LookAlikesConfig(split="object_without_context").build()
    with pytest.raises(DataError, match=r"boat are no look-alikes; there are bird_crest"):
        LookAlikesConfig(classes=("boat", "fish_fin")).build()
    with pytest.raises(ValidationError, match="look_alikes"):
        Holder.model_validate({"data": {"source": "look_alike"}})
