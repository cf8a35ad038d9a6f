"""Data sets whose annotations, tables and masks are made to break what reads them.

`DATA_SETS` has for each its layout, a change to a sound data set of that layout, and what becomes of it.
"""

from __future__ import annotations

__all__ = ["DATA_SETS", "HEAVY", "HostileData", "rows_of_nothing", "rows_of_one_long_text", "write_data_set", "zeros"]

import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from attn.data.source import SourceConfig
from tests.data.layouts import BUILDERS, SIZE, DataSet, write
from tests.hostile.images import LAUGHS, png

Change = Callable[[DataSet, np.random.Generator], None]
PIXELS = SIZE[0] * SIZE[1]
NPZ = "VOC2012/labels.npz"
XML = "VOC2012/Annotations/b.xml"


class HostileData(NamedTuple):
    """One data set: `refused` by the check and in training, or `read`."""

    layout: str
    change: Change
    verdict: Literal["refused", "read"] = "refused"


def write_data_set(entry: HostileData, root: Path, rng: np.random.Generator) -> SourceConfig:
    """Put the data set into a folder, and give the config that reads it."""
    result = BUILDERS[entry.layout]()
    entry.change(result, rng)
    return write(result, root)


def _entry(part: str, **values: Any) -> Change:
    """Of COCO, fields of the second image, annotation or category."""
    return lambda data_set, _: data_set.rows[part][1].update(values)


def _outline(outline: Any) -> Change:
    return _entry("annotations", segmentation=outline)


def _raw(data: Callable[[bytes], bytes]) -> Change:
    """Of a list file, its bytes."""

    def change(data_set: DataSet, _: np.random.Generator) -> None:
        plain = data_set.encode_rows
        data_set.encode_rows = lambda rows: data(plain(rows))

    return change


def _file(path: str, data: bytes | Callable[[], bytes], **options: Any) -> Change:
    def change(data_set: DataSet, _: np.random.Generator) -> None:
        data_set.files[path] = data if isinstance(data, bytes) else data()
        data_set.options |= options

    return change


def _many(part: str, count: int, make: Callable[[int], dict[str, Any]]) -> Change:
    return lambda data_set, _: data_set.rows[part].extend(make(number) for number in range(count))


def _annotated(number: int, outline: Any) -> dict[str, Any]:
    return {"id": 1000 + number, "image_id": 1, "category_id": 3, "bbox": [4, 4, 16, 12], "segmentation": outline}


def _of_random_polygons(data_set: DataSet, rng: np.random.Generator) -> None:
    corners = rng.uniform(0, 20, (200_000, 3, 2)).round(1)
    data_set.rows["annotations"][1]["segmentation"] = corners.reshape(-1, 6).tolist()


def _xml(name: str = "", head: str = "", left: str = "5") -> bytes:
    size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></size>"
    edges = f"<xmin>{left}</xmin><ymin>5</ymin><xmax>20</xmax><ymax>16</ymax>"
    item = f"<object><name>{name or 'dog'}</name><bndbox>{edges}</bndbox></object>"
    return f"{head}<annotation>{size}{item}</annotation>".encode()


def _attributes(count: int) -> bytes:
    return b"<annotation " + b"".join(b"a%d='' " % number for number in range(count)) + b"/>"


def _objects(count: int) -> bytes:
    return _xml().replace(b"</annotation>", b"<object/>" * count + b"</annotation>")


def _npz(names: list[str], shape: tuple[int, ...], *, fill: int = 0) -> bytes:
    """Labels of a shape that the header alone says, and some bytes of them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in (("ids", np.array(names)), ("classes", np.array(["cat", "dog"]))):
            one = io.BytesIO()
            np.save(one, values)
            archive.writestr(f"{name}.npy", one.getvalue())
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        archive.writestr("labels.npy", header.getvalue() + bytes(fill))
    return stream.getvalue()


def zeros(megabytes: int) -> bytes:
    """Labels that unpack to so much."""
    return _npz(list("abcd"), (megabytes, 1 << 20), fill=megabytes << 20)


def _pickled() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, ids=np.array([{"a": 1}], object), labels=np.zeros((1, 1)), classes=np.array(["cat"]))
    return stream.getvalue()


def _table(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def _columns(count: int) -> bytes:
    return b"image,labels," + b",".join(b"c%d" % number for number in range(count)) + b"\na,cat\n"


def rows_of_nothing(count: int) -> bytes:
    return _table({"image": pa.nulls(count), "labels": pa.nulls(count)})


def rows_of_one_long_text(count: int) -> bytes:
    index = pa.array(np.zeros(count, np.int8))
    return _table({name: pa.DictionaryArray.from_arrays(index, ["x" * 4000]) for name in ("image", "labels")})


def _coco(change: Change, verdict: Literal["refused", "read"] = "refused") -> HostileData:
    return HostileData("coco", change, verdict)


def _voc(change: Change, verdict: Literal["refused", "read"] = "refused") -> HostileData:
    return HostileData("voc", change, verdict)


def _csv(data: Callable[[bytes], bytes]) -> HostileData:
    return HostileData("csv", _raw(data))


def _parquet(data: Callable[[bytes], bytes]) -> HostileData:
    return HostileData("parquet", _raw(data))


IDS = (("images", "id"), ("categories", "id"), ("annotations", "image_id"), ("annotations", "category_id"))
NULLS = b'{"images": [null], "categories": [], "annotations": []}'
RAGGED = b'{"ids": ["a"], "classes": ["cat"], "labels": [[[1]], [2, 3]]}'
LABELS = {"labels": "labels.npz"}
SQUARE = [4, 4, 20, 4, 20, 16, 4, 16]
NESTED = json.loads("[" * 60 + "]" * 60)
DATA_SETS: dict[str, HostileData] = {
    # COCO
    **{
        f"COCO: a polygon with {value}": _coco(_outline([[value, 4, 20, 4, 20, 16]]))
        for value in (1e10, -1e10, 1e308, math.inf, -math.inf, math.nan, 10**30, "4", None, True, [4])
    },
    **{
        f"COCO: a box with {value}": _coco(_entry("annotations", bbox=[value, 4, 9, 9]))
        for value in (math.inf, math.nan, "4", None, True, [4])
    },
    "COCO: a box beyond all images": _coco(_entry("annotations", bbox=[1e308, 4, 9, 9]), "read"),
    "COCO: a box of infinite width": _coco(_entry("annotations", bbox=[4, 4, math.inf, 9])),
    "COCO: a box of a negative width": _coco(_entry("annotations", bbox=[4, 4, -9, 9])),
    "COCO: a box of three numbers": _coco(_entry("annotations", bbox=[4, 4, 9])),
    "COCO: a box of nothing": _coco(_entry("annotations", bbox=None)),
    "COCO: a polygon of text": _coco(_outline(["4 4 20 4 20 16"])),
    "COCO: polygons in polygons": _coco(_outline([[SQUARE]])),
    "COCO: polygons 60 levels deep": _coco(_outline(NESTED)),
    "COCO: an outline of text": _coco(_outline("x" * 1_000_000)),
    "COCO: an outline of a number": _coco(_outline(5)),
    "COCO: no outline": _coco(_outline(None), "read"),
    "COCO: run lengths that are too few": _coco(_outline({"size": list(SIZE), "counts": [5, 5]})),
    "COCO: negative run lengths": _coco(_outline({"size": list(SIZE), "counts": [-5, 5, PIXELS]})),
    "COCO: run lengths of 10^30": _coco(_outline({"size": list(SIZE), "counts": [10**30, -(10**30) + PIXELS]})),
    "COCO: run lengths of floats": _coco(_outline({"size": list(SIZE), "counts": [0.5, PIXELS - 0.5]})),
    "COCO: run lengths of NaN": _coco(_outline({"size": list(SIZE), "counts": [math.nan]})),
    "COCO: a million run lengths": _coco(_outline({"size": list(SIZE), "counts": [0] * 1_000_000})),
    "COCO: run lengths of another size": _coco(_outline({"size": [10**6, 10**6], "counts": [10**12]})),
    "COCO: run lengths of a negative size": _coco(_outline({"size": [-24, -32], "counts": [PIXELS]})),
    "COCO: run lengths of no size": _coco(_outline({"counts": [PIXELS]})),
    "COCO: a code of junk": _coco(_outline({"size": list(SIZE), "counts": "\x00\x7f" * 500})),
    "COCO: a code that never ends": _coco(_outline({"size": list(SIZE), "counts": "o" * 1_000_000})),
    "COCO: a code of a long number": _coco(_outline({"size": list(SIZE), "counts": "o" * 50 + "0"})),
    "COCO: a code of nothing": _coco(_outline({"size": list(SIZE), "counts": None})),
    "COCO: 200,000 polygons": _coco(_of_random_polygons, "read"),
    "COCO: 200,000 polygons around the image": _coco(_outline([[-20, -20, 60, -20, 60, 44, -20, 44]] * 200_000)),
    "COCO: a polygon of a million points": _coco(_outline([SQUARE * 125_000]), "read"),
    "COCO: a zigzag of a million points": _coco(_outline([[0, 0, 31, 23] * 250_000])),
    "COCO: 100,000 annotations of an image": _coco(_many("annotations", 100_000, lambda i: _annotated(i, [SQUARE]))),
    **{
        f"COCO: {part} {key} {value!r}": _coco(_entry(part, **{key: value}))
        for part, key in IDS
        for value in (True, 1.5, math.nan, None, [1], {"a": 1})
    },
    "COCO: a category's name of nothing": _coco(_entry("categories", name=None)),
    "COCO: a category twice": _coco(_entry("categories", id=7)),
    "COCO: a category of the same name": _coco(_entry("categories", name="cat")),
    "COCO: an image twice": _coco(_entry("images", id=0)),
    "COCO: an image of an id of text that is another's": _coco(_entry("images", id="0")),
    "COCO: an image of 10^30 pixels": _coco(_entry("images", width=10**30, height=10**30)),
    "COCO: an image of infinite size": _coco(_entry("images", width=math.inf, height=math.inf)),
    "COCO: an image out of the folder": _coco(_entry("images", file_name="../../../../etc/passwd")),
    "COCO: an image of an absolute path": _coco(_entry("images", file_name="/etc/passwd")),
    "COCO: an image of a path with a NUL": _coco(_entry("images", file_name="a\0b")),
    "COCO: an image of a long path": _coco(_entry("images", file_name="x" * 100_000)),
    "COCO: 100,000 levels": _coco(_raw(lambda data: b"[" * 100_000)),
    "COCO: 5,000 digits": _coco(_raw(lambda data: data[:-1] + b', "x": ' + b"9" * 5000 + b"}")),
    "COCO: not UTF-8": _coco(_raw(lambda data: b"\xff\xfe" + data)),
    "COCO: NULs": _coco(_raw(lambda data: bytes(1_000_000))),
    "COCO: a list": _coco(_raw(lambda data: b"[]")),
    "COCO: a number": _coco(_raw(lambda data: b"5")),
    "COCO: lists of nothing": _coco(_raw(lambda data: NULLS)),
    # VOC
    "VOC: an annotation that laughs": _voc(_file(XML, LAUGHS.replace("svg", "annotation").encode())),
    "VOC: an annotation that laughs in UTF-16": _voc(_file(XML, LAUGHS.encode("utf-16"))),
    "VOC: an entity of a file": _voc(
        _file(XML, _xml("&a;", "<!DOCTYPE annotation [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"))
    ),
    "VOC: an entity of a device": _voc(
        _file(XML, _xml("&a;", "<!DOCTYPE annotation [<!ENTITY a SYSTEM 'file:///dev/zero'>]>"))
    ),
    "VOC: a definition elsewhere": _voc(
        _file(XML, _xml("", "<!DOCTYPE annotation SYSTEM 'http://127.0.0.1:9/x.dtd'>"))
    ),
    "VOC: 500,000 levels": _voc(_file(XML, b"<a>" * 500_000)),
    "VOC: 500,000 levels, closed": _voc(_file(XML, b"<a>" * 500_000 + b"</a>" * 500_000), "read"),
    "VOC: 100,000 attributes": _voc(_file(XML, _attributes(100_000))),
    "VOC: 100,000 attributes with the end of a tag": _voc(_file(XML, _attributes(100_000).replace(b"''", b"'>'"))),
    "VOC: tags that begin and do not end": _voc(_file(XML, (b"<" * 9_999 + b">") * 800)),
    "VOC: 100,000 objects": _voc(_file(XML, _objects(100_000))),
    "VOC: an encoding that does not exist": _voc(_file(XML, _xml("", "<?xml version='1.0' encoding='junk'?>"))),
    "VOC: an encoding of several bytes": _voc(_file(XML, _xml("", "<?xml version='1.0' encoding='utf-7'?>"))),
    "VOC: not UTF-8": _voc(_file(XML, b"\xff\xfe\xff")),
    **{
        f"VOC: an edge of {edge}": _voc(_file(XML, _xml(left=edge)))
        for edge in ("nan", "inf", "-inf", "1e400", "1e308", "x", "", "9" * 5000)
    },
    **{
        f"VOC: a size of {size}": _voc(_file(XML, _xml("").replace(b"<width>32<", f"<width>{size}<".encode())))
        for size in ("inf", "nan", "1e300", "x", "9" * 400)
    },
    "VOC: a class of a megabyte": _voc(_file(XML, _xml("x" * 1_000_000))),
    "VOC: a mask of 8,000 pixels a side": _voc(_file("VOC2012/SegmentationClass/b.png", lambda: png(8000, 8000))),
    "VOC: a saliency map of 13,300 pixels a side": _voc(_file("VOC2012/Saliency/b.png", png(13_300, 13_300, data=b""))),
    "VOC: labels of 10^12 numbers": _voc(_file(NPZ, _npz(list("abcd"), (10**6, 10**6)), **LABELS)),
    "VOC: labels of 2^70 numbers": _voc(_file(NPZ, _npz(list("abcd"), (2**35, 2**35)), **LABELS)),
    "VOC: labels of a negative shape": _voc(_file(NPZ, _npz(list("abcd"), (-4, -2)), **LABELS)),
    "VOC: labels that unpack to 512 MiB": _voc(_file(NPZ, lambda: zeros(512), **LABELS)),
    "VOC: labels of Python objects": _voc(_file(NPZ, _pickled, **LABELS)),
    "VOC: labels of junk": _voc(_file(NPZ, b"PK\3\4" + bytes(500), **LABELS)),
    "VOC: labels of 100,000 levels": _voc(_file("VOC2012/labels.json", b"[" * 100_000, labels="labels.json")),
    "VOC: labels of lists in lists": _voc(_file("VOC2012/labels.json", RAGGED, labels="labels.json")),
    # tables
    "CSV: a cell of a megabyte": _csv(lambda data: data + b'\n"' + b"x" * 1_000_000 + b'",cat'),
    "CSV: 100,000 columns": _csv(lambda data: _columns(100_000)),
    "CSV: 100,000 columns of one name": _csv(lambda data: b"image,labels," + b"x," * 100_000 + b"\na,cat\n"),
    "CSV: a NUL": _csv(lambda data: data.replace(b"i/b.jpg", b"i/b\0.jpg")),
    "CSV: NULs": _csv(lambda data: bytes(1_000_000)),
    "CSV: a quote that does not end": _csv(lambda data: data + b'\n"a'),
    "CSV: UTF-16": _csv(lambda data: data.decode().encode("utf-16")),
    **{
        f"{layout}: boxes of {name}": HostileData(
            layout, lambda data_set, _, text=text: data_set.rows[1].update(boxes=text)
        )
        for layout in ("csv", "parquet")
        for name, text in {
            "NaN": '[{"label": "dog", "box": [NaN, 1, 2, 3]}]',
            "infinity": '[{"label": "dog", "box": [1, 1, Infinity, 3]}]',
            "10^400": '[{"label": "dog", "box": [1, 1, 1e400, 3]}]',
            "5,000 digits": '[{"label": "dog", "box": [1, 1, ' + "9" * 5000 + ", 3]}]",
            "100,000 levels": "[" * 100_000,
            "70 levels": "[" * 70 + "]" * 70,
            "nothing": "{}x",
            "a number": "5",
        }.items()
    },
    "Parquet: 50,000,000 rows of nothing": _parquet(lambda data: rows_of_nothing(50_000_000)),
    "Parquet: 2,000,000 rows of a long text": _parquet(lambda data: rows_of_one_long_text(2_000_000)),
    "Parquet: 10,000 columns": _parquet(lambda data: _table({f"c{number}": [1] for number in range(10_000)})),
    "Parquet: cut": _parquet(lambda data: data[:-9]),
    "Parquet: junk": _parquet(lambda data: b"PAR1" + bytes(500) + b"\xff\xff\xff\x7fPAR1"),
    "Parquet: a list of lists": _parquet(lambda data: _table({"image": [[["a"]]], "labels": ["cat"]})),
    "Parquet: bytes": _parquet(lambda data: _table({"image": [b"\xff"], "labels": [b"\xff"]})),
    "Parquet: no column": _parquet(lambda data: _table({})),
}
HEAVY = frozenset(
    {
        "COCO: 200,000 polygons", "COCO: 200,000 polygons around the image", "COCO: a polygon of a million points",
        "COCO: a zigzag of a million points", "COCO: 100,000 annotations of an image", "COCO: a million run lengths",
        "VOC: 500,000 levels, closed", "VOC: labels that unpack to 512 MiB", "Parquet: 50,000,000 rows of nothing",
        "Parquet: 2,000,000 rows of a long text", "VOC: a mask of 8,000 pixels a side", "VOC: 100,000 objects",
    }
)  # fmt: skip
"""Those that take seconds: `benchmarks.hostile` has them, the tests leave them out."""
