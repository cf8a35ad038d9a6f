"""COCO, folders, manifests and generated scenes."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from pydantic import ValidationError

from attn.config.base import Config
from attn.data.decode import FORMATS
from attn.data.scenes import CLASSES, SPLITS, render
from attn.data.source import FileSource, SourceConfig
from attn.data.sources import CocoConfig, FolderConfig, ManifestConfig, ScenesConfig
from attn.errors import DataError
from attn.files.locations import name_of


class Holder(Config):
    data: SourceConfig


def test_the_family_is_chosen_by_its_tag() -> None:
    files = {"voc", "coco", "folder", "manifest", "cifar10", "cifar100", "caltech256"}
    assert set(SourceConfig.members) == files | {"scenes", "look_alikes"}
    assert isinstance(Holder.model_validate({"data": {"source": "scenes"}}).data, ScenesConfig)
    with pytest.raises(ValidationError, match="voc"):
        Holder.model_validate({"data": {"source": "none"}})


@pytest.mark.parametrize("source", ["voc", "coco", "folder"])
def test_a_root_that_is_not_there(tmp_path: Path, source: str) -> None:
    config = Holder.model_validate({"data": {"source": source, "root": str(tmp_path / "nosuch")}}).data
    with pytest.raises(DataError, match=r"nosuch.*\(there is no such folder\).* data\.root"):
        config.build()
    (tmp_path / "nosuch" / "annotations").mkdir(parents=True)
    with pytest.raises(DataError, match=r"nosuch") as caught:
        config.build()
    assert "no such folder" not in str(caught.value)


# COCO

pycocotools_warns = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of NumPy 2, in it


@pytest.fixture
def coco(tmp_path: Path, make: Any) -> Path:
    return make.write(tmp_path / "coco", make.coco_files())


@pycocotools_warns
def test_coco(coco: Path) -> None:
    source = CocoConfig(root=str(coco), split="val").build()
    assert source.classes == ("apple", "zebra")
    assert [record.image_id for record in source.records] == ["12", "3", "7"]
    assert [record.labels for record in source.records] == [(), (0, 1), (0,)]
    assert source.records[1].boxes == ((0, (4.0, 4.0, 8.0, 8.0)), (1, (2.0, 2.0, 9.0, 9.0)))
    expected = np.zeros((20, 30), np.uint8)
    expected[2:9, 2:9] = 2
    expected[4:8, 4:8] = 1  # the smaller lies in front
    for name, mask in {"3": expected, "12": np.zeros((20, 30))}.items():
        index = [record.image_id for record in source.records].index(name)
        got = source.load(index).mask
        np.testing.assert_array_equal(got, mask)
    crowd = source.load(2).mask
    assert crowd is not None
    assert (crowd[:, 20:] == 255).all()
    assert (crowd[:5, :5] == 1).all()
    assert np.count_nonzero(crowd) == 200 + 25
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.load(2).mask, crowd)


@pycocotools_warns
@pytest.mark.parametrize("outline", [{}, {"segmentation": []}, {"segmentation": None}])
def test_coco_objects_without_outlines(coco: Path, make: Any, outline: dict[str, Any]) -> None:
    content = make.coco()
    bare = {"id": 99, "image_id": 3, "category_id": content["categories"][0]["id"], "bbox": [20, 1, 5, 5]} | outline
    make.write(
        coco, {"annotations/instances_val.json": json.dumps(content | {"annotations": [*content["annotations"], bare]})}
    )
    source = CocoConfig(root=str(coco), split="val").build()
    masks = {record.image_id: source.load(index).mask is None for index, record in enumerate(source.records)}
    assert masks == {"12": False, "3": True, "7": False}, "its pixels would be background"
    assert len(source.records[1].boxes) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"annotations": [{"image_id": 5, "category_id": 2}]}, r"annotations\[0\] is for image 5"),
        ({"annotations": [{"image_id": 3, "category_id": 4}]}, r"annotations\[0\] has category 4"),
        ({"annotations": [{"image_id": 3, "category_id": 2, "bbox": [1]}]}, "has an invalid bbox"),
        ({"images": [{"id": 3, "file_name": "../../x.jpg"}], "annotations": []}, "leads out of"),
        ({"images": [{"id": 3}]}, r"images\[0\] lacks"),
        ({"images": None}, "no list 'images'"),
        ({"images": [{"id": 3, "file_name": "3.jpg"}] * 2, "annotations": []}, "is used for both"),
        ({"images": [{"id": 3, "file_name": "4.jpg"}], "annotations": []}, "1 of 1 images is missing"),
    ],
)
def test_inconsistent_coco_annotations(coco: Path, make: Any, change: dict[str, Any], words: str) -> None:
    make.write(coco, {"annotations/instances_val.json": json.dumps(make.coco() | change)})
    with pytest.raises(DataError, match=words):
        CocoConfig(root=str(coco), split="val").build()


@pycocotools_warns
def test_coco_without_annotations(coco: Path, make: Any) -> None:
    """As COCO's own test split is given away."""
    images = {name: part for name, part in make.coco().items() if name != "annotations"}
    make.write(coco, {"image_info.json": json.dumps(images)})
    config = CocoConfig(root=str(coco), split="train", annotations=f"{coco}/image_info.json", images=f"{coco}/val")
    with pytest.raises(DataError, match="no list 'annotations'"):
        config.build()
    source = config.build(labels=False)
    assert source.classes == ("apple", "zebra")
    assert [(record.labels, record.mask) for record in source.records] == [((), None)] * 3
    assert source.load(1).mask is None
    make.write(coco, {"image_info.json": json.dumps(images | {"annotations": None})})
    with pytest.raises(DataError, match="no list 'annotations'"):
        config.build(labels=False)
    known = CocoConfig(root=str(coco), split="val")
    assert known.build(labels=False).records == known.build().records


def test_coco_paths_follow_the_split(coco: Path, make: Any) -> None:
    own, images = f"{coco}/own_{{split}}.json", f"{coco}/{{split}}"
    make.write(coco, {"own_val.json": json.dumps(make.coco())})
    elsewhere = CocoConfig(root="/nowhere", annotations=own, images=images, split="val").build()
    assert [record.image for record in elsewhere.records] == [f"{coco}/val/{name}.jpg" for name in ("12", "3", "7")]
    fixed = CocoConfig(root="/nowhere", annotations=f"{coco}/own_val.json", images=f"{coco}/val")
    assert len(fixed.build().records) == 3
    with pytest.raises(DataError, match=r"\{split\} in the path.*validation\.split=null"):
        fixed.model_copy(update={"split": "val2017"}).build()
    relative = CocoConfig(root=str(coco), annotations="own_{split}.json", images="./{split}", split="val")
    assert relative.build().records == elsewhere.records
    for field in ("annotations", "images"):
        with pytest.raises(DataError, match=rf"coco/nosuch: no such f.*data\.{field}=nosuch names it"):
            CocoConfig.model_validate(
                {"root": str(coco), "split": "train", "annotations": "own_val.json", field: "nosuch"}
            ).build()


@pycocotools_warns
def test_coco_files_that_are_not_there(coco: Path, make: Any) -> None:
    with pytest.raises(DataError, match=r"there is no split 'train2017'; .* has val"):
        CocoConfig(root=str(coco)).build()
    make.write(coco, {"annotations/instances_val.json": "{"})
    with pytest.raises(DataError, match="is not JSON"):
        CocoConfig(root=str(coco), split="val").build()
    content = make.coco()
    content["annotations"][3]["segmentation"]["size"] = [5, 5]
    content["annotations"][0]["segmentation"] = [["x"]]
    make.write(coco, {"annotations/instances_val.json": json.dumps(content)})
    source = CocoConfig(root=str(coco), split="val").build()
    with pytest.raises(DataError, match="5x5 image, but the image is 30x20"):
        source.load(2)
    with pytest.raises(DataError, match=r"val\.json#3: has a broken outline"):
        source.load(1)


# folders


@pytest.fixture
def folder(tmp_path: Path, make: Any) -> Path:
    files: dict[str, bytes | str] = {f"train/{name}.jpg": make.jpeg(0) for name in ("dog/b", "dog/a", "cat/a")}
    files |= {"val/cat/z.PNG": make.png(make.mask(1)), "val/cat/notes.txt": "no image", "val/cat/.hidden.jpg": ""}
    files |= {"masks/dog/a.png": make.png(make.mask(2))}
    return make.write(tmp_path / "folder", files)


def test_folder(folder: Path, make: Any) -> None:
    source = FolderConfig(root=str(folder), masks=str(folder / "masks")).build()
    assert source.classes == ("cat", "dog")
    assert [(record.image_id, record.labels) for record in source.records] == [
        ("cat/a", (0,)),
        ("dog/a", (1,)),
        ("dog/b", (1,)),
    ]
    assert source.load(0).mask is None
    np.testing.assert_array_equal(source.load(1).mask, make.mask(2))
    assert len(FolderConfig(root=str(folder / "val"), split=".").build().records) == 1
    assert FolderConfig(root=str(folder), split="val", classes=("dog", "cat")).build().records[0].labels == (1,)


def test_folder_faults(folder: Path, make: Any) -> None:
    with pytest.raises(DataError, match=r"no class folders in it; .* has masks, train, val"):
        FolderConfig(root=str(folder), split="test").build()
    with pytest.raises(DataError, match=r"no class 'dogs': did you mean dog\?"):
        FolderConfig(root=str(folder), classes=("cat", "dogs")).build()
    make.write(folder, {"train/dog/a.png": b""})
    with pytest.raises(DataError, match=r"'dog/a' is used for both .*a\.jpg and .*a\.png"):
        FolderConfig(root=str(folder)).build()
    make.write(folder, {"empty/cat/notes.txt": ""})
    with pytest.raises(DataError, match=r"no images in cat; known suffixes are .*\.jpg"):
        FolderConfig(root=str(folder), split="empty").build()
    for field in ("masks", "saliency"):
        with pytest.raises(DataError, match=rf"folder/nosuch: no such folder.*data\.{field}=nosuch names it"):
            FolderConfig.model_validate({"root": str(folder), "split": "val", field: "nosuch"}).build()
    make.write(folder, {"saliency/cat/y.png": b"", "other/cat/q.png": b""})
    saliency = FolderConfig(root=str(folder), split="val", saliency="saliency").build()
    with pytest.raises(DataError, match=r"saliency/cat/z\.png: no such file"):
        saliency.load(0)
    with pytest.raises(DataError, match=r"other: has no mask of any image .*such as cat/z\.png"):
        FolderConfig(root=str(folder), split="val", masks="other").build()


def test_masks_and_saliency_of_folders_with_and_without_the_split(tmp_path: Path, make: Any) -> None:
    plain, mask = make.jpeg(0), make.png(make.mask(1))
    files = {f"{split}/{name}.jpg": plain for split in ("train", "val") for name in ("train/a", "cat/a", "cat/b")}
    root = make.write(tmp_path, files | {"split/train/train/a.png": mask, "flat/train/a.png": mask})
    results = {
        (masks, split): [
            name_of(record.mask) if record.mask else None
            for record in FolderConfig(root=str(root), split=split, masks=masks).build().records
        ]
        for masks in ("split", "flat")
        for split in ("train", "val")
    }
    one = [None, None, "a.png"]
    assert results == {
        ("split", "train"): one,
        ("split", "val"): [None] * 3,
        ("flat", "train"): one,
        ("flat", "val"): one,
    }
    beside = FolderConfig(root=str(root / "val"), split=".", masks="own", saliency="own").build
    make.write(root, {"val/own/cat/b.png": mask})
    assert beside().classes == ("cat", "train"), "what holds masks is no class"
    assert beside().records[1].mask == beside().records[1].saliency == f"{root}/val/own/cat/b.png"
    make.write(root, {"val/more/masks/cat/b.png": mask})
    deeper = FolderConfig(root=str(root / "val"), split=".", masks="more/masks", saliency="own").build()
    assert deeper.classes == ("cat", "train"), "nor is what leads to them"
    assert deeper.records[1].mask == f"{root}/val/more/masks/cat/b.png"


def test_folders_hold_files_of_every_format_that_is_read(tmp_path: Path, make: Any) -> None:
    names = {kind: kind.lower() for kind in FORMATS} | {"JPEG": "JPG", "PPM": "pgm", "JPEG2000": "jp2"}
    names |= {"MPO": "jfif"}  # of a telephone: a JPEG with a second image behind the first
    picture = Image.open(io.BytesIO(make.jpeg(0))).convert("L")
    files = {f"train/cat/{kind}.{suffix}": make.encode(picture, kind) for kind, suffix in names.items()}
    source = FolderConfig(root=str(make.write(tmp_path, files))).build()
    assert [record.image_id for record in source.records] == sorted(f"cat/{kind}" for kind in names)
    assert {source.load(index).image.shape for index in range(len(names))} == {(20, 30, 3)}


# manifests

HEADER = "image,labels,mask,boxes,saliency,id,split\n"


@pytest.fixture
def manifest(tmp_path: Path, make: Any) -> Path:
    boxes = json.dumps([{"label": "cat", "box": [1, 2, 3, 4]}]).replace('"', '""')
    return make.write(
        tmp_path / "table",
        {
            "list.csv": HEADER + f'pictures/b.jpg,dog|cat,masks/b.png,"{boxes}",,second,train\n'
            f"{tmp_path}/table/pictures/a.jpg,,,,,007,train\n"
            "pictures/c.jpg,ant,,,,,val\n",
            "masks/b.png": make.png(make.mask(2, 3)),
            **{f"pictures/{name}.jpg": make.jpeg(1) for name in "abc"},
        },
    )


def test_manifest(manifest: Path, make: Any) -> None:
    source = ManifestConfig(manifest=str(manifest / "list.csv"), split="train").build()
    assert source.classes == ("ant", "cat", "dog")  # of the whole table, so that every split counts alike
    assert [record.image_id for record in source.records] == ["007", "second"]
    assert [record.labels for record in source.records] == [(), (1, 2)]
    assert source.records[1].boxes == ((1, (1.0, 2.0, 3.0, 4.0)),)
    np.testing.assert_array_equal(source.load(1).mask, make.mask(2, 3))
    whole = ManifestConfig(manifest=str(manifest / "list.csv"), split="all", classes=("dog", "cat", "ant")).build()
    assert [(record.image_id, record.labels) for record in whole.records] == [
        ("007", ()),
        ("pictures/c", (2,)),
        ("second", (0, 1)),
    ]


def test_parquet_manifest_with_objects(s3_server: str, tmp_path: Path, make: Any) -> None:
    client = boto3.client("s3")
    client.put_object(Bucket="attn-test", Key="x/a.jpg", Body=make.jpeg(1))
    table = pa.table(
        {
            "image": [f"{s3_server}/x/a.jpg", "a.jpg"],
            "labels": [["cat", "dog"], []],
            "boxes": [[{"label": "dog", "box": [0.0, 0.0, 2.0, 2.0]}], None],
            "id": ["one", "two"],
        }
    )
    parquet.write_table(table, tmp_path / "m.parquet")
    client.upload_file(str(tmp_path / "m.parquet"), "attn-test", "x/m.parquet")
    client.close()
    source = ManifestConfig(manifest=f"{s3_server}/x/m.parquet").build()
    assert isinstance(source, FileSource)
    assert [record.labels for record in source.records] == [(0, 1), ()]
    assert source.records[0].boxes == ((1, (0.0, 0.0, 2.0, 2.0)),)
    np.testing.assert_array_equal(source.load(0).image, source.load(1).image)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER, "has no rows"),
        ("picture,labels\nx,y\n", "has no column image; of its 2 columns these are known: labels;"),
        ("image;labels;mask\nx;y;z\n", "no column image or labels; .*parted by semicolons there: save .* with commas"),
        ("image\tlabels\nx\ty\n", "parted by tabs there: save the table with commas"),
        (HEADER + "pictures/a.jpg,cow,,,,,\n", "leaves out cow, .*data.mask_classes"),
        (HEADER + "../a.jpg,,,,,,\n", r"list\.csv: row 1: .*leads out of"),
        (HEADER + "gs://x/a.jpg,,,,,,\n", "expected a path relative to .* or an s3"),
        (HEADER + ",cat,,,,,\n", "row 1: the column 'image' is empty"),
        (HEADER + "pictures/a.jpg,cat,,{broken,,,\n", "expected JSON such as"),
        (HEADER + 'pictures/a.jpg,cat,,"[{""label"": ""cow"", ""box"": [0,0,1,1]}]",,,\n', "a box has the unknown"),
        (
            HEADER + "pictures/a.jpg,cat,,,,1,\npictures/b.jpg,cat,,,,1,\n",
            r"'1' is used for both .*a\.jpg.*b\.jpg",
        ),
        (HEADER + "pictures/z.jpg,cat,,,,,\n", r"1 of 1 images is missing: .*z\.jpg"),
        ("\x00\ud800", "is not a readable"),
    ],
)
def test_manifest_faults(manifest: Path, text: str, words: str) -> None:
    (manifest / "list.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=words):
        ManifestConfig(manifest=str(manifest / "list.csv"), classes=("cat", "dog")).build()


def test_manifest_without_labels(manifest: Path) -> None:
    (manifest / "test.csv").write_text("image,id\npictures/a.jpg,a\npictures/b.jpg,b\n")
    config = ManifestConfig(manifest=str(manifest / "test.csv"), classes=("cat", "dog"))
    with pytest.raises(DataError, match="has no column labels"):
        config.build()
    source = config.build(labels=False)
    assert (source.classes, [record.labels for record in source.records]) == (("cat", "dog"), [(), ()])
    with pytest.raises(DataError, match=r"no column 'labels'.*data\.classes"):
        config.model_copy(update={"classes": None}).build(labels=False)


def test_manifest_split_that_is_not_there(manifest: Path) -> None:
    with pytest.raises(DataError, match="no row of split 'test'; it has train, val"):
        ManifestConfig(manifest=str(manifest / "list.csv"), split="test").build()


# generated scenes


def test_scenes() -> None:
    config = ScenesConfig(count=6, size=48, seed=3)
    source = config.build()
    assert source.classes == CLASSES
    scene = render("train", 4, seed=3, size=48)
    copy = pickle.loads(pickle.dumps(source))
    for example in (source.load(4), copy.load(4)):
        assert example.record.image_id == scene.image_id
        assert [CLASSES[label] for label in example.record.labels] == list(scene.labels)
        np.testing.assert_array_equal(example.image, scene.image)
        np.testing.assert_array_equal(example.mask, scene.mask)
        np.testing.assert_array_equal(example.saliency, scene.saliency)
        assert {CLASSES[label] for label, _ in example.record.boxes} == set(scene.labels)
    assert source.load(4, mask=False, saliency=False).mask is None
    assert config.build().fingerprint() == source.fingerprint()
    assert config.model_copy(update={"seed": 4}).build().fingerprint() != source.fingerprint()
    assert config.model_copy(update={"split": "test"}).build().records[0].image_id.startswith("test")


def test_scenes_faults() -> None:
    with pytest.raises(DataError, match=f"there is no split 'dev'; scenes have {', '.join(SPLITS)}"):
        ScenesConfig(split="dev").build()
    with pytest.raises(DataError, match="classes are"):
        ScenesConfig(classes=("unicorn",), count=1).build()


@pytest.mark.parametrize(
    "changed",
    [{"seed": 1}, {"size": 48}, {"context_bias": 0.0}, {"objects": (2, 2)}, {"plain_share": 1.0}, {"own_hue": 0.0}],
)
def test_every_field_of_the_scenes_changes_them(changed: dict[str, Any]) -> None:
    plain, other = (ScenesConfig(count=6, **more).build() for more in ({}, changed))
    images = [[source.load(index).image for index in range(6)] for source in (plain, other)]
    assert any(a.shape != b.shape or (a != b).any() for a, b in zip(*images, strict=True))
