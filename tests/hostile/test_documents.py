"""Configs, overrides and JSON files that are written to break what reads them: one fault each, soon."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from attn.config.document import layered, parse_override, read_document
from attn.data.classes import read_class_names
from attn.errors import ConfigError, Fault
from attn.files.locations import FileFault, read_bytes
from attn.parsing import load_json
from attn.regular_files import UnsuitableFileError, read_regular
from attn.runs.recipes import config_text, load_config
from attn.runs.sweep.load import read_sweep
from attn.training.train_config import TrainConfig
from tests.hostile.documents import DOCUMENTS
from tests.hostile.images import unix_socket

SOON = 5.0
"""Seconds of CPU time: what is refused takes hundredths, what was expanded took 42."""


SWEEP = "kind: sweep\nrecipe: scenes_grad_cam\nsearch: {name: grid}\nobjective: {metric: train/loss, mode: min}\n"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_text_is_one_fault(name: str) -> None:
    text, words = DOCUMENTS[name]
    began = time.process_time()
    with pytest.raises(ConfigError, match=words) as caught:
        read_document(text, "f.yaml")
    assert len(caught.value.faults) == 1
    assert len(str(caught.value)) < 500
    assert time.process_time() - began < SOON


@pytest.mark.parametrize(
    "name",
    ["a list in itself", "levels of brackets", "a NUL", "a surrogate", "a tag of Python", "a tag that is wrong",
     "5,000 digits", "a list as a key"],
)  # fmt: skip
def test_so_is_an_override(name: str) -> None:
    began = time.process_time()
    fault = parse_override(f"x.y={DOCUMENTS[name][0].removeprefix('a: ')}")
    assert isinstance(fault, Fault)
    assert len(str(fault)) < 700
    assert time.process_time() - began < SOON


def test_what_is_allowed_is_read() -> None:
    text = (
        "a: &a {b: 1, c: [x]}\nd: *a\ne: [*a, *a]\nf: !!str 5\ng: 010\nh: 9223372036854775807\n<<: x\n1: y\ni: 08\n"
        "j: -0x1\nk: .inf\nl: 1e-3"
    )
    same = {"b": 1, "c": ["x"]}
    assert read_document(text, "f.yaml").values == {
        "a": same, "d": same, "e": [same, same], "f": "5", "g": 10, "h": 2**63 - 1, "<<": "x", "1": "y", "i": 8,
        "j": "-0x1", "k": float("inf"), "l": 0.001,
    }  # fmt: skip
    assert read_document("a: " + "[" * 63 + "]" * 63, "f").values["a"]
    assert read_document("", "f").values == {}
    assert parse_override("a.b=") == (("a", "b"), None)


def test_joining_and_changing_large_documents_takes_no_square_of_their_size() -> None:
    began = time.process_time()
    keys = "\n".join(f"  k{i}: {i}" for i in range(9_000))
    first, second = (read_document(f"data:\n  source: {source}\n{keys}", "f") for source in ("voc", "coco"))
    joined = layered(first, second)
    assert joined.values == second.values
    joined.change_source(("data", "source"), "folder")
    assert joined.values["data"] == {"source": "coco"}
    assert set(joined.locations) == {(), ("data",), ("data", "source")}
    with pytest.raises(ConfigError) as caught:
        load_config(TrainConfig, "scenes_grad_cam", [f"training.k{i}=1" for i in range(300)])
    assert "and 200 more" in str(caught.value)
    assert time.process_time() - began < 4 * SOON


@pytest.mark.parametrize("number", ["1000000000000000000000000000000", "9223372036854775807", "1e300", "-1", ".inf"])
@pytest.mark.parametrize(
    "field",
    ["training.epochs", "training.steps", "training.batch_size", "training.accumulate_steps", "cluster.workers",
     "cluster.data_workers", "cluster.threads", "data.count", "data.size", "input.size", "data.max_pixels"],
)  # fmt: skip
def test_a_number_that_would_fill_the_memory_or_never_end_is_refused(field: str, number: str) -> None:
    with pytest.raises(ConfigError, match=f"{field.rpartition('.')[2]}|too large: the maximum"):
        load_config(TrainConfig, "scenes_grad_cam", [f"{field}={number}"])


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("optimizer.lr: {low: 0.1, high: 0.2, count: 100000000}", "less than or equal to 10000"),
        ("optimizer.lr: {low: 1, high: 2, count: 10000}\n  seed: {low: 0, high: 20000, integer: true, count: 10000}",
         "the grid has 100000000 points, and a sweep at most 10000"),
        ("\n".join(f"  f{i}: [1, 2]" for i in range(64)).strip(), "the grid has 18446744073709551616 points"),
        ("optimizer.lr: {low: 0.1, high: 0.2, count: 1" + "0" * 30 + "}", "too large: the maximum"),
        ("optimizer.lr: [[[[" + "1" + "]]]]", "choices"),
    ],
)  # fmt: skip
def test_a_sweep_of_too_many_points_is_refused_before_any_is_made(space: str, words: str) -> None:
    began = time.process_time()
    with pytest.raises(ConfigError, match=words):
        read_sweep(f"{SWEEP}space:\n  {space}\n", "f.yaml")
    assert time.process_time() - began < SOON


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_pipe, "is a pipe, socket or device"),
        (unix_socket, "is a pipe, socket or device"),
        (lambda path: path.symlink_to("/dev/zero"), "is a pipe, socket or device"),
        (lambda path: path.symlink_to("/dev/tty"), "is a pipe, socket or device"),
        (lambda path: path.symlink_to(path), "cannot be read|too many levels|Too many levels"),
        (Path.mkdir, "is a folder, not a file"),
        (lambda path: path.write_bytes(b"\xff\xfe\0a"), "is not UTF-8 text"),
        (lambda path: path.open("wb").truncate(1 << 40), "has more than 4 MiB"),
    ],
    ids=["pipe", "socket", "zero", "tty", "loop", "folder", "UTF-16", "a terabyte"],
)  # fmt: skip
def test_a_config_is_a_regular_file_of_text(make: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    location = tmp_path / "f.yaml"
    make(location)
    with pytest.raises(ConfigError, match=words):
        config_text(str(location))
    if "UTF" not in words:
        with pytest.raises(FileFault):
            read_bytes(str(location))


def test_a_file_without_a_size_is_read_as_far_as_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_regular("/proc/self/status", 1 << 20).startswith(b"Name:")
    with pytest.raises(UnsuitableFileError, match="more than 100 bytes"):
        read_regular("/proc/self/status", 100)
    with Path("/dev/zero").open("rb") as endless:
        monkeypatch.setattr("attn.regular_files.open_regular", lambda path: endless)
        with pytest.raises(UnsuitableFileError, match="more than 1 MiB"):
            read_regular("a file of /proc that has no end", 1 << 20)


def test_json_of_others_is_bounded_as_yaml_is(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "[" * 70 + "]" * 70, '{"a":' * 70 + "1" + "}" * 70, "9" * 5000, "{", "\ufeff"):
        with pytest.raises(ValueError, match=r".") as caught:
            load_json(text)
        assert len(str(caught.value)) < 200
    assert load_json("[" * 64 + "]" * 64)
    for text in ("[" * 100_000, "9" * 5000, "[[]]", "{}", "\0"):
        (tmp_path / "classes.json").write_text(text)
        with pytest.raises(FileFault, match="is not a JSON list of class names"):
            read_class_names(str(tmp_path), {"classes.json"})
