"""Some of a data set's classes, in every layout that lists them: images, labels, masks, and the protocol of a score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from attn import progress
from attn.data.check import check_config
from attn.data.source import Source, SourceConfig, fingerprint
from attn.data.sources.coco import CocoConfig
from attn.data.sources.folder import FolderConfig
from attn.data.sources.manifest import ManifestConfig
from attn.data.sources.voc import VOC_CLASSES, VocConfig
from attn.errors import DataError
from attn.evaluation.score import Protocol
from attn.notices import print_once
from tests.data.test_sources import pycocotools_warns


def named(source: Source) -> dict[str, tuple[str, ...]]:
    """The names of each image's labels."""
    return {record.image_id: tuple(source.classes[label] for label in record.labels) for record in source.records}


def renumbered(mask: np.ndarray | None, former: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray:
    """A mask by the chosen classes' numbers: the others are background, 255 stays."""
    assert mask is not None
    result = np.zeros_like(mask)
    for value in np.unique(mask):
        name = former[value - 1] if 0 < value < 255 else None
        result[mask == value] = 255 if value == 255 else classes.index(name) + 1 if name in classes else 0
    return result


def held_against_the_whole(whole: Source, chosen: Source, *, negatives: bool) -> None:
    labels = named(whole)
    kept = {name: tuple(one for one in chosen.classes if one in own) for name, own in labels.items()}
    expected = {name: own for name, own in kept.items() if own or negatives or not labels[name]}
    assert named(chosen) == {name: tuple(sorted(own, key=chosen.classes.index)) for name, own in expected.items()}
    names = [record.image_id for record in whole.records]
    for index, record in enumerate(chosen.records):
        theirs, ours = whole.load(names.index(record.image_id)), chosen.load(index)
        np.testing.assert_array_equal(ours.image, theirs.image)
        if theirs.mask is not None:
            np.testing.assert_array_equal(ours.mask, renumbered(theirs.mask, whole.classes, chosen.classes))
        wanted = [(whole.classes[n], box) for n, box in theirs.record.boxes if whole.classes[n] in chosen.classes]
        assert [(chosen.classes[n], box) for n, box in ours.record.boxes] == wanted


@pytest.mark.parametrize("negatives", [False, True])
@pytest.mark.parametrize("classes", [("aeroplane",), ("person", "aeroplane"), ("cat",)])
def test_voc(voc: Path, classes: tuple[str, ...], negatives: bool) -> None:
    config = VocConfig(root=str(voc))
    chosen = config.model_copy(update={"classes": classes, "negatives": negatives}).build()
    assert chosen.classes == classes
    held_against_the_whole(config.build(), chosen, negatives=negatives)


def test_voc_with_annotations(voc: Path, make: Any) -> None:
    """One image has a difficult aeroplane besides a person, one a cat alone."""
    objects = {"a_1": [("person", 0, (1, 1, 9, 9)), ("aeroplane", 1, (3, 3, 9, 9))], "b_2": [("cat", 0, (1, 1, 5, 5))],
               "c_3": [("aeroplane", 0, (2, 2, 8, 8))]}  # fmt: skip
    make.write(voc / "VOC2012", {f"Annotations/{name}.xml": make.annotation(*own) for name, own in objects.items()})
    chosen = VocConfig(root=str(voc), classes=("aeroplane",)).build()
    assert named(chosen) == {"a_1": ("aeroplane",), "c_3": ("aeroplane",)}
    assert [record.difficult for record in chosen.records] == [(0,), ()]
    held_against_the_whole(VocConfig(root=str(voc)).build(), chosen, negatives=False)


@pycocotools_warns
@pytest.mark.parametrize("negatives", [False, True])
@pytest.mark.parametrize("classes", [("zebra",), ("zebra", "apple")])
def test_coco(tmp_path: Path, make: Any, classes: tuple[str, ...], negatives: bool) -> None:
    """The image without annotations has no label of any class, and stays."""
    config = CocoConfig(root=str(make.write(tmp_path, make.coco_files())), split="val")
    chosen = config.model_copy(update={"classes": classes, "negatives": negatives}).build()
    assert "12" in named(chosen)
    held_against_the_whole(config.build(), chosen, negatives=negatives)


def test_a_choice_says_once_how_many_images_it_leaves_out(
    tmp_path: Path, make: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every layout, where progress is shown; nothing if no image is left out."""
    pictures = {f"train/{name}.jpg": make.jpeg(1) for name in ("cat/a", "dog/b", "emu/c")}
    rows = ["train/cat/a.jpg,cat", "train/dog/b.jpg,dog", "train/emu/c.jpg,emu|dog"]
    make.write(tmp_path, pictures | {"list.csv": "\n".join(["image,labels", *rows])})
    folder = {"root": str(tmp_path), "source": "folder"}
    table = {"manifest": f"{tmp_path}/list.csv", "source": "manifest"}

    def said(*configs: dict[str, Any]) -> list[str]:
        print_once.cache_clear()
        with progress.shown():
            for fields in configs:
                SourceConfig.members[fields["source"]].model_validate(fields).build()
        return capsys.readouterr().err.splitlines()

    (line,) = said({**folder, "classes": ("dog", "cat")}, {**folder, "classes": ("cat", "dog")})
    assert line == "note: data.classes leaves out 1 of the split's 3 images, which shows only other classes"
    (line,) = said({**table, "classes": ("cat",)})
    assert "leaves out 2 of the split's 3 images, which show only other classes (data.negatives=true keeps" in line
    assert said({**table, "classes": ("cat",), "negatives": True}, table, folder) == []
    assert said({**table, "classes": ("dog", "cat")}) == [], "the image of an emu shows a dog, too"
    (line,) = said({**table, "single_label": True})
    assert line == "note: data.single_label leaves out 1 of the split's 3 images, which does not have exactly one class"
    ManifestConfig.model_validate({**table, "classes": ("cat",)}).build()
    assert capsys.readouterr().err == "", "as a library it says nothing"


@pytest.fixture
def table(tmp_path: Path, make: Any) -> Path:
    rows = ["a.jpg,cat|dog,a.png", "b.jpg,dog,b.png", "c.jpg,emu,c.png", "d.jpg,,"]
    files = {f"{name}.jpg": make.jpeg(1) for name in "abcd"}
    masks = {"a.png": (1, 2), "b.png": (2, 255), "c.png": (3,)}
    files |= {name: make.png(make.mask(*values)) for name, values in masks.items()}
    make.write(tmp_path, files | {"list.csv": "\n".join(["image,labels,mask", *rows])})
    return tmp_path / "list.csv"


@pytest.mark.parametrize("negatives", [False, True])
@pytest.mark.parametrize("classes", [("emu",), ("dog", "cat")])
def test_a_table(table: Path, classes: tuple[str, ...], negatives: bool) -> None:
    config = ManifestConfig(manifest=str(table))
    fields = {"classes": classes, "negatives": negatives, "mask_classes": ("cat", "dog", "emu")}
    held_against_the_whole(config.build(), config.model_copy(update=fields).build(), negatives=negatives)


@pytest.mark.parametrize("names", [("class_1", "class_2", "class_3"), ("dog", "cat", "cats"), ("10", "100", "1000")])
def test_classes_of_similar_names_may_be_left_out(tmp_path: Path, make: Any, names: tuple[str, ...]) -> None:
    rows = [f"{number}.jpg,{name}" for number, name in enumerate(names)]
    make.write(tmp_path, {f"{number}.jpg": make.jpeg(1) for number in range(3)} | {
        "list.csv": "\n".join(["image,labels", *rows])})  # fmt: skip
    chosen = ManifestConfig(manifest=f"{tmp_path}/list.csv", classes=names[:2]).build()
    assert named(chosen) == {"0": names[:1], "1": names[1:2]}


def test_all_classes_in_another_order_still_number_the_masks(table: Path) -> None:
    """As in the version before: without `mask_classes` the values are in the order of `classes`, which are all."""
    source = ManifestConfig(manifest=str(table), classes=("emu", "cat", "dog")).build()
    loaded = source.load(0).mask
    assert loaded is not None
    assert sorted(np.unique(loaded)) == [0, 1, 2]
    turned = ManifestConfig(
        manifest=str(table), classes=("emu", "cat", "dog"), mask_classes=("cat", "dog", "emu")
    ).build()
    np.testing.assert_array_equal(turned.load(0).mask, renumbered(loaded, ("cat", "dog", "emu"), turned.classes))


def test_folders(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path, {f"train/{name}.jpg": make.jpeg(2) for name in ("cat/a", "dog/b", "emu/c")})
    make.write(tmp_path, {"masks/dog/b.png": make.png(make.mask(2, 1))})
    fields = {"masks": "masks", "mask_classes": ("cat", "dog", "emu")}
    whole = FolderConfig.model_validate({"root": str(tmp_path), **fields}).build()
    chosen = FolderConfig.model_validate({"root": str(tmp_path), "classes": ("dog", "cat"), **fields}).build()
    assert chosen.exclusive
    held_against_the_whole(whole, chosen, negatives=False)


@pytest.mark.parametrize("layout", ["folder", "manifest"])
@pytest.mark.parametrize("names", [("apple", "cat", "bus", "dog"), ("dog", "apple", "cat")])
def test_names_of_masks_add_no_classes(tmp_path: Path, make: Any, layout: str, names: tuple[str, ...]) -> None:
    """As documented: the classes are those of the images, sorted; the masks' other classes are background."""
    make.write(tmp_path, {f"train/{name}.jpg": make.jpeg(2) for name in ("cat/a", "dog/b")})
    make.write(tmp_path, {"masks/dog/b.png": make.png(make.mask(*range(1, len(names) + 1)))})
    rows = ["image,labels,mask", "train/cat/a.jpg,cat,", "train/dog/b.jpg,dog,masks/dog/b.png"]
    make.write(tmp_path, {"list.csv": "\n".join(rows)})
    fields = {"folder": {"root": str(tmp_path), "masks": "masks"}, "manifest": {"manifest": f"{tmp_path}/list.csv"}}
    config = SourceConfig.members[layout].model_validate(fields[layout])
    with pytest.raises(DataError, match=r"no class; .* name the values 1, 2, \.\.\. in data\.mask_classes"):
        config.build().load(1)
    source = config.model_copy(update={"mask_classes": names}).build()
    assert source.classes == ("cat", "dog")
    assert [record.labels for record in source.records] == [(0,), (1,)]
    mask = source.load(1).mask
    assert mask is not None
    numbers = {0: 0} | {value: {"cat": 1, "dog": 2}.get(name, 0) for value, name in enumerate(names, 1)}
    expected = [numbers[value] for value in make.mask(*range(1, len(names) + 1)).ravel().tolist()]
    np.testing.assert_array_equal(mask, np.reshape(expected, mask.shape))
    make.write(tmp_path, {"train/dog/b.jpg": "no photograph"})
    errors = check_config(config.model_copy(update={"mask_classes": names})).errors
    assert [one.kind for one in errors] == ["image"], "the mask of a photograph that cannot be read is still sound"


def test_a_misspelt_class_hides_no_other_fault(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path, {"cat.jpg": "no photograph", "dog.jpg": make.jpeg(2), "dog.png": make.png(make.mask(1))})
    make.write(tmp_path, {"list.csv": "image,labels,mask\ncat.jpg,cat,\ndog.jpg,dog,dog.png"})
    report = check_config(ManifestConfig(manifest=f"{tmp_path}/list.csv", classes=("doog", "cat")))
    assert [one.kind for one in report.errors] == ["row", "image"]
    assert "did you mean dog?" in report.errors[0].message


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (("emu", "dog", "cat"), {"classes": ("emu", "dog")}),
        (("emu", "dog", "cat"), {"classes": ("emu", "dogs", "cat")}),
        (("emu", "dog", "Cat"), {"mask_classes": ("cat", "dog", "emu")}),
    ],
)
def test_masks_of_unknown_numbering_are_not_compared_with_labels(
    tmp_path: Path, make: Any, names: tuple[str, ...], fields: dict[str, Any]
) -> None:
    values = {"emu": 3, "dog": 2, "cat": 1, "Cat": 1}
    rows = ["image,labels,mask", *(f"{number}.jpg,{name},{number}.png" for number, name in enumerate(names))]
    files = {f"{number}.jpg": make.jpeg(number) for number in range(3)}
    files |= {f"{number}.png": make.png(make.mask(values[name])) for number, name in enumerate(names)}
    make.write(tmp_path, files | {"list.csv": "\n".join(rows)})
    report = check_config(ManifestConfig(manifest=f"{tmp_path}/list.csv", **fields))
    assert [one.kind for one in report.errors] == ["row"], str(report)
    assert "mask" not in {one.kind for one in report.findings}, str(report)
    right = {"classes": ("emu", "dog"), "mask_classes": ("dog", "emu", "cat", "Cat")}
    wrong = check_config(ManifestConfig(manifest=f"{tmp_path}/list.csv", **right))
    assert {one.kind for one in wrong.findings} == {"mask"}, "a numbering that is given is held against the labels"


@pytest.mark.parametrize(
    "source",
    [{"source": "voc", "root": "/x"}, {"source": "coco", "root": "/x"}, {"source": "manifest", "manifest": "/x"}],
)
def test_negatives_that_would_be_ignored_are_refused(source: dict[str, Any]) -> None:
    config = SourceConfig.members[source["source"]]
    config.model_validate({**source, "classes": ("cat",), "negatives": True})
    with pytest.raises(ValidationError, match="which is not set: set data.classes, or leave negatives out"):
        config.model_validate({**source, "negatives": True})
    with pytest.raises(ValidationError, match="single_label=true leaves them out: set one of them"):
        config.model_validate({**source, "classes": ("cat",), "negatives": True, "single_label": True})


def protocol(source: Source) -> str:
    data = {"source": "voc", "split": "train", "scored": "masks", "resize": "none"}
    return Protocol(**data, images=len(source.records), fingerprint=fingerprint(source.classes, source.records)).hash


def test_scores_of_other_classes_or_images_have_another_protocol(voc: Path) -> None:
    choices: list[dict[str, Any]] = [
        {}, {"classes": ("aeroplane",)}, {"classes": ("aeroplane",), "negatives": True},
        {"classes": ("aeroplane", "person")}, {"classes": ("person", "aeroplane")},
    ]  # fmt: skip
    hashes = [protocol(VocConfig(root=str(voc), **choice).build()) for choice in choices]
    assert len(set(hashes)) == len(choices)
    assert protocol(VocConfig(root=str(voc), classes=VOC_CLASSES).build()) == hashes[0]


@pytest.mark.parametrize(
    ("layout", "fields", "problem"),
    [
        ("voc", {"classes": ("aeroplan",)}, "aeroplan: no such class; did you mean aeroplane?"),
        ("voc", {"classes": ("cat", "cat")}, "names cat twice"),
        ("voc", {"classes": ("sheep",)}, "no image of the split shows any of data.classes = sheep"),
        ("coco", {"classes": ("emu",)}, "emu: no such class; there are apple, zebra"),
        ("table", {"classes": ("cat",)}, "leaves out dog, emu.* list the names of all values in data.mask_classes"),
        ("table", {"classes": ("cats",), "mask_classes": ("cat", "dog", "emu")}, "no class 'cats': did you mean cat?"),
        ("table", {"classes": ("cat",), "mask_classes": ("cat", "dog")}, "data.mask_classes lacks emu"),
        ("table", {"classes": ("emus", "cat")}, "no class 'emus': did you mean emu?"),
    ],
)
def test_faults(
    voc: Path, table: Path, tmp_path: Path, make: Any, layout: str, fields: dict[str, Any], problem: str
) -> None:
    configs = {
        "voc": lambda: VocConfig(root=str(voc), **fields),
        "coco": lambda: CocoConfig(root=str(make.write(tmp_path / "coco", make.coco_files())), split="val", **fields),
        "table": lambda: ManifestConfig(manifest=str(table), **fields),
    }
    with pytest.raises(DataError, match=problem):
        configs[layout]().build()
