"""Where an export writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attn.annotations import FORMATS, AnnotationError, MaskedImage, export_masks
from attn.annotations.format import Shapes
from attn.errors import ConfigError, DataError
from tests.annotations.drawing import masked

MASK = np.eye(4, dtype=np.uint8)


def named(*files: str) -> list[MaskedImage]:
    return [MaskedImage(file, file, MASK, {1: 0}, file.encode) for file in files]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("file", ["../a.png", "/tmp/a.png", "b/../../a.png", "a\\..\\b.png", "", "b//a.png"])
def test_nothing_is_written_outside_of_the_folder(tmp_path: Path, form: str, file: str) -> None:
    with pytest.raises(AnnotationError, match="cannot be exported"):
        export_masks(named("good.png", file), ["cat"], form, str(tmp_path / "out"))
    assert not list(tmp_path.iterdir()), "nor is anything left of it"


@pytest.mark.parametrize("form", FORMATS)
def test_odd_names_are_kept_apart(tmp_path: Path, form: str) -> None:
    files = ["a.png", "a.jpg", "A.png", "x/a.png", "ü &<>'\".jpg", "a b.png", "a-2.png", "..a.png"]
    done = export_masks(named(*files), ["cat"], form, str(tmp_path / "out"))
    assert (done.images, done.regions) == (8, 8)
    contents = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    for file in files:
        assert contents.count(file.encode()) == 1, file
    stems = [
        path.with_suffix("").relative_to(tmp_path).as_posix().casefold()
        for path in (tmp_path / "out").rglob("*")
        if path.suffix in (".png", ".jpg") and "SegmentationClass" not in path.parts
    ]
    assert len(set(stems)) == len(files), "files of annotations are named by the stem"


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_masks(named("a.png"), ["cat"], "coco", str(tmp_path / "out"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AnnotationError, match="nothing is overwritten"):
        export_masks(named("b.png"), ["cat"], "coco", str(tmp_path / "out"))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises(AnnotationError, match="nothing is overwritten"):
            export_masks(named("b.png"), ["cat"], "coco", str(tmp_path / name))
    with pytest.raises(AnnotationError, match="export to one, then copy it"):
        export_masks(named("b.png"), ["cat"], "coco", "s3://bucket/out")
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name not in ("file", "link")] == before


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> bytes:
        raise DataError("the image is gone")

    image = MaskedImage("b", "b.png", MASK, {1: 0}, broken)
    with pytest.raises(DataError, match="gone"):
        export_masks([*named("a.png"), image], ["cat"], "yolo-seg", str(tmp_path / "out"))
    with pytest.raises(AnnotationError, match="no mask to export"):
        export_masks([], ["cat"], "yolo-seg", str(tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_what_a_format_cannot_hold_is_one_clear_error(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(ConfigError, match="'yolo' is not available.*yolo-seg"):
        export_masks(named("a.png"), ["cat"], "yolo", out)
    with pytest.raises(ConfigError, match="voc holds masks only"):
        export_masks(named("a.png"), ["cat"], "voc", out, shapes=Shapes(polygons=True))
    many = [f"class {number}" for number in range(300)]
    with pytest.raises(ConfigError, match=r"254 classes at most, and there are 300"):
        export_masks(named("a.png"), many, "voc", out)
    with pytest.raises(ConfigError, match=r"'a\\nb' has a control character"):
        export_masks(named("a.png"), ["a\nb"], "yolo-seg", out)


def test_classes_of_voc_have_its_numbers(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    export_masks([masked("a", mask)], ["dog", "cat"], "voc", str(tmp_path / "out"))
    from PIL import Image

    with Image.open(tmp_path / "out/SegmentationClass/a.png") as picture:
        assert np.asarray(picture).tolist() == [[0, 12], [8, 255]]
