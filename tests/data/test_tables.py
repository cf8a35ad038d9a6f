"""Cells of tables: the same meaning in CSV and Parquet for every type, and one error for invalid cells."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from attn.data.cells import text_of
from attn.data.label_check import constant_labels_fault
from attn.data.names import sort_class_names
from attn.data.sample import Record
from attn.data.source import FileSource, Source
from attn.data.sources import FolderConfig, ManifestConfig
from attn.data.sources.label_file import read_label_file
from attn.errors import DataError
from attn.files.locations import FileFault


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (3.0, "3"), (np.float32(3), "3"), (Decimal("3.00"), "3"), (0.5, "0.5"), (True, "True"), (b"a", "a"),
        (np.bytes_(b"a"), "a"), (" a ", "a"), (None, ""), (float("nan"), ""), ("", ""), (np.int8(0), "0"),
    ],
)  # fmt: skip
def test_values_as_names(value: Any, text: str) -> None:
    assert text_of(value) == text


def _table(folder: Path, make: Any, **columns: list[Any]) -> Path:
    """A Parquet table of as many images as there are values."""
    count = len(next(iter(columns.values())))
    make.write(folder, {f"{number}.jpg": make.jpeg(number) for number in range(count)})
    path = folder / "table.parquet"
    parquet.write_table(pa.table({"image": [f"{number}.jpg" for number in range(count)], **columns}), path)
    return path


def _labels(source: Source) -> dict[str, tuple[str, ...]]:
    return {record.image_id: tuple(source.classes[label] for label in record.labels) for record in source.records}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1, 10, 2], [("0",), ("1",), ("10",), ("2",)]),
        ([0.0, 1.0, None, 2.0], [("0",), ("1",), (), ("2",)]),
        ([[0, 2], [], None, [1]], [("0", "2"), (), (), ("1",)]),
        ([False, True, None, True], [("False",), ("True",), (), ("True",)]),
        (["a|b", "", None, " b "], [("a", "b"), (), (), ("b",)]),
    ],
)
def test_labels_and_ids_of_every_type(tmp_path: Path, make: Any, labels: list[Any], expected: list[Any]) -> None:
    path = _table(tmp_path, make, labels=labels, id=[0, 1, 2, 3])
    assert _labels(ManifestConfig(manifest=str(path)).build()) == dict(zip("0123", expected, strict=True))
    ids = _table(tmp_path, make, labels=labels, id=[0.0, 1.0, 2.0, None])  # an integer column with a null
    assert [record.image_id for record in ManifestConfig(manifest=str(ids)).build().records][:3] == ["0", "1", "2"]


def test_numeric_classes_are_sorted_numerically(tmp_path: Path, make: Any) -> None:
    path = _table(tmp_path, make, labels=[10, 9, 0])
    assert ManifestConfig(manifest=str(path)).build().classes == ("0", "9", "10")
    root = make.write(tmp_path, {f"train/{name}/a.jpg": make.jpeg(1) for name in ("10", "9", "0")})
    assert FolderConfig(root=str(root)).build().classes == ("0", "9", "10")
    assert sort_class_names(["b10", "b9", "b9"]) == ("b10", "b9")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,labels,maks\n0.jpg,a,m.png\n", "'maks' must be 'mask'"),
        ("image,labels,masks\n0.jpg,a,m.png\n", "'masks' must be 'mask'"),
        ("Image,Labels\n0.jpg,a\n", "no column image or labels; .*'Image' must be 'image'; 'Labels' must be 'labels'"),
        ("image,labels,idx\n0.jpg,a,7\n", "'idx' must be 'id'; if you meant another column, rename it"),
        ("image,labels,labels\n0.jpg,a,b\n", "two columns labels"),
        ("image,labels\n0.jpg,a,b\n", r"row 1 has 3 cells, but the header has 2"),
        ("image,labels\n0.jpg,\"['a', 'b']\"\n", r"row 1: labels: a list as text; .*separated by \|"),
        ('image,labels,boxes\n0.jpg,a,"[{""label"": ""a"", ""box"": [0, 0, NaN, 1]}]"\n', "row 1: boxes is"),
        ('image,labels,boxes\n0.jpg,a,0\n', "row 1: boxes is not valid; expected JSON"),
        ("image,labels\nC:\\img\\0.jpg,a\n", "an absolute Windows path"),
    ],
)  # fmt: skip
def test_invalid_csv_tables(tmp_path: Path, make: Any, text: str, words: str) -> None:
    root = make.write(tmp_path, {"0.jpg": make.jpeg(0), "t.csv": text})
    with pytest.raises(DataError, match=words):
        ManifestConfig(manifest=str(root / "t.csv")).build()


def test_invalid_cells(tmp_path: Path, make: Any) -> None:
    for columns, words in [
        ({"labels": ["a"], "mask": [0]}, "row 1: mask: a value of type int is not a path"),
        ({"labels": [{"a": 1}]}, "row 1: labels: .*neither text nor a number"),
        ({"labels": ["a"], "id": [[1]]}, r"row 1: id: a value of type list is neither"),
        (
            {"labels": ["a"], "mask": [{"bytes": bytes(10**6), "path": "0.png"}]},
            "mask: a value of type dict is not a path",
        ),
        ({"labels": ["x" * 10**6]}, "row 1: labels: a text of 1000000 characters; names and paths have at most 4096"),
        ({"labels": [b"\xff" * 10**6]}, "row 1: labels: bytes that are not UTF-8"),
        ({"labels": ["a"], "boxes": ["x" * 10**6]}, "row 1: boxes is not .*; expected JSON"),
        ({"labels": ["a"], "split": [[1]]}, r"table.parquet: row 1: split: a value of type list is neither"),
    ]:
        with pytest.raises(DataError, match=words) as caught:
            ManifestConfig(manifest=str(_table(tmp_path, make, **columns))).build()
        assert len(str(caught.value)) < 1000


def test_blank_cells_are_missing_values(tmp_path: Path, make: Any) -> None:
    rows = "image,labels,mask,saliency,boxes,id,split\n0.jpg, ,  ,, , ,\n1.jpg,a\n\n"
    root = make.write(tmp_path, {"t.csv": rows, "0.jpg": make.jpeg(0), "1.jpg": make.jpeg(1)})
    records = ManifestConfig(manifest=f"{root}/t.csv").build().records
    assert records == (Record("0", (), image=f"{root}/0.jpg"), Record("1", (0,), image=f"{root}/1.jpg"))
    (root / "t.csv").write_text("image,labels\n0.jpg\n1.jpg,a\n")  # the first row has fewer cells than the header
    assert ManifestConfig(manifest=f"{root}/t.csv").build().records == records


def test_integer_classes_of_boxes(tmp_path: Path, make: Any) -> None:
    boxes = [[{"label": 0, "box": [0.0, 0.0, 2.0, 2.0]}], []]
    source = ManifestConfig(manifest=str(_table(tmp_path, make, labels=[0, 1], boxes=boxes))).build()
    assert [record.boxes for record in source.records] == [((0, (0.0, 0.0, 2.0, 2.0)),), ()]


def test_label_files_of_every_type(tmp_path: Path) -> None:
    table = np.array([[1, 0], [0, 1]])
    np.savez(tmp_path / "bytes", ids=np.array([b"a", b"b"]), labels=table, classes=["y", "x"])
    (tmp_path / "json").write_bytes(b"\xef\xbb\xbf" + json.dumps(
        {"ids": ["a", "b"], "labels": table.tolist(), "classes": ["y", "x"]}).encode())  # fmt: skip
    for name in ("bytes.npz", "json"):
        assert read_label_file(str(tmp_path / name), ["b", "a"], ["x", "y"]) == [(0,), (1,)]
    np.savez(tmp_path / "numbers.npz", ids=[3.0, 0.0], labels=table, classes=["y", "x"])
    assert read_label_file(str(tmp_path / "numbers.npz"), ["0", "3"], ["x", "y"]) == [(0,), (1,)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"ids": ["a", "a"], "labels": [[1], [0]], "classes": ["x"]}, "ids has 'a' twice"),
        ({"ids": ["a"], "labels": [[1]], "classes": "x"}, "classes must be a list of non-empty names"),
        ({"ids": 3, "labels": [[1]], "classes": ["x"]}, "ids must be a list of non-empty names"),
        ({"ids": [None], "labels": [[1]], "classes": ["x"]}, "a list of non-empty names"),
        ([[[]]], "must be a mapping"),
        ({"ids": [["a"]], "labels": [[1]], "classes": ["x"]}, "neither text nor a number"),
        ({"ids": ["a"], "labels": [1], "classes": ["x"]}, r"a table of 1 ids x 1 classes, not \(1,\)"),
        ({"ids": ["b", "a"], "labels": [[1], ["0"]], "classes": ["x"]}, "0 or 1; that of 'b' for 'x' is not"),
        ({"ids": ["b", "a"], "labels": [[1], [None]], "classes": ["x"]}, "0 or 1; that of 'a' for 'x' is not"),
    ],
)
def test_invalid_label_files(tmp_path: Path, content: Any, words: str) -> None:
    (tmp_path / "l.json").write_text(json.dumps(content))
    with pytest.raises(FileFault, match=words):
        read_label_file(str(tmp_path / "l.json"), ["a"], ["x"])


def test_a_label_file_of_brackets(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text("[" * 100_000)
    with pytest.raises(FileFault, match="is not a readable NPZ or JSON file"):
        read_label_file(str(tmp_path / "l.json"), ["a"], ["x"])


def test_a_single_array_is_not_a_label_file(tmp_path: Path) -> None:
    for name, array in {"plain": np.zeros((2, 20)), "objects": np.array({"a": [1]}, dtype=object)}.items():
        np.save(tmp_path / name, array, allow_pickle=True)
        with pytest.raises(FileFault, match=r"is a single array \(NPY\).*np\.savez\(path, ids="):
            read_label_file(str(tmp_path / f"{name}.npy"), ["a"], ["x"])


def test_labels_must_differ_from_image_to_image() -> None:
    def fault(classes: str, labels: list[tuple[int, ...]], *, exclusive: bool = False) -> str | None:
        records = [Record(str(number), given, image=f"{number}.jpg") for number, given in enumerate(labels)]
        return constant_labels_fault(FileSource(classes.split(), records, exclusive=exclusive))

    assert "label cat and no other" in str(fault("cat", [(0,), (0,)], exclusive=True))
    assert "at least two classes" in str(fault("cat dog", [(0,), (0,)], exclusive=True))
    assert "with and without" in str(fault("cat", [(0,), (0,)]))
    assert "have no label" in str(fault("cat", [(), ()]))
    assert fault("cat", [(0,), ()]) is None
    assert fault("cat dog", [(0, 1), (1,)]) is None
