"""The configuration loader: strict at every depth; reports all faults, each with its location and a hint."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import yaml
from pydantic import Field, ValidationError

from attn.config.base import Config, Location, Variant
from attn.config.document import override_of, parse_override, read_document
from attn.config.resolve import dump_config, resolve
from attn.errors import ConfigError, Fault


class Source(Variant, tag="source"):
    split: str = "train"


class Folder(Source):
    source: Literal["folder"] = "folder"
    root: Location
    year: int = Field(2012, ge=2007)


class Scenes(Source):
    source: Literal["scenes"] = "scenes"
    objects: tuple[int, int] = (1, 2)
    bias: float = 1


class Steps(Config):
    lr: float = Field(0.1, gt=0)
    flip: bool = True
    name: Literal["sgd", "adam"] = "sgd"


class Top(Config):
    data: Source = Scenes()
    steps: Steps = Steps()
    limit: float | None = None
    counts: tuple[int, ...] | None = None
    weights: dict[str, float] | None = None
    note: str = ""


TEXT = """\
data:
  source: scenes
  objects: [3, 4]
  bias: 1e-3
steps:
  lr: 0.5
"""


def faults(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolve(Top, text, "r.yaml", list(overrides))
    assert caught.value.exit_status == 2
    return [str(fault) for fault in caught.value.faults]


def test_reads_values_with_yaml_1_2_scalars() -> None:
    config = resolve(Top, TEXT, "r.yaml", ["steps.lr=2E-2", "limit=1"])
    assert config == Top(data=Scenes(objects=(3, 4), bias=1e-3), steps=Steps(lr=0.02), limit=1.0)
    assert faults(TEXT, "steps.flip=no") == ["override 'steps.flip=no': steps.flip = \"no\" should be true or false"]


def test_dump_reads_back_to_an_equal_config() -> None:
    config = resolve(Top, TEXT, "r.yaml", ["data.source=folder", "data.root=somewhere"])
    again = resolve(Top, dump_config(config, "a comment\nof two lines"), "c.yaml", [])
    assert again == config
    assert isinstance(again.data, Folder)
    assert again.data.root.startswith("/"), "paths are absolute, so that they mean the same elsewhere"


def test_configs_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Top().steps.lr = 1.0  # pyright: ignore[reportAttributeAccessIssue]


def test_all_faults_at_once_with_line_and_nearest_name() -> None:
    text = TEXT + "  flop: false\n  name: sdg\nlimt: 3\nlr: 2\n"
    assert faults(text, "data.objects=[1]", "nonsense") == [
        "override 'nonsense': not of the form a.b=value",
        "override 'data.objects=[1]': data.objects.1 is missing (give it, e.g. data.objects.1=...)",
        "r.yaml:8: steps.name = 'sdg' is not available (one of sgd or adam; did you mean sgd?)",
        "r.yaml:7: steps.flop is not a known field (did you mean steps.flip?)",
        "r.yaml:9: limt is not a known field (did you mean limit?)",
        "r.yaml:10: lr is not a known field (did you mean steps.lr?)",
    ]


def test_another_member_drops_the_fields_of_the_old_but_not_those_of_the_user() -> None:
    config = resolve(Top, TEXT, "r.yaml", ["data.source=folder", "data.root=/x"])
    assert config.data == Folder(root="/x")
    assert faults(TEXT, "data.source=folder", "data.root=/x", "data.bias=1") == [
        "override 'data.bias=1': data.bias is not a known field "
        "(data.bias is a field of data.source=scenes, and data.source is folder)"
    ]


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        ("data: {source: vco}", (), "data.source = 'vco' is not available (one of folder, scenes)"),
        (TEXT, ("data.source=scens",), "did you mean scenes?"),
        ("data: {}", (), "data.source is missing (one of folder, scenes)"),
        ("data: {source: folder}", (), "r.yaml:1: data.root is missing"),
        ("steps: 5", (), "steps = 5 gives one value to a section"),
        ("steps: {lr: '1'}", (), 'steps.lr = "1" should be a number'),
        ("steps: {lr: -1}", (), "steps.lr = -1 should be greater than 0"),
        ("steps: {lr: .nan}", (), "should be a finite number"),
        ("steps: {lr: .inf}", (), "should be a finite number"),
        ("steps:\n  lr: 1\n  lr: 2", (), "r.yaml:3: steps.lr is given twice"),
        ("- a", (), "expected a mapping"),
        ("a: [", (), "not valid YAML"),
        ("a: !!python/object:os.system x", (), "has the tag tag:yaml.org,2002:python/object:os.system"),
        ("", ("steps=true",),
         "steps = true gives one value to a section that has fields of its own (write steps.lr=0.1; its fields are lr, "
         "flip, name)"),
        ("", ("steps=2",), "(write steps.lr=2; its fields are lr, flip, name)"),
        ("", ("steps=-2",), "(write steps.lr=0.1; its fields are lr, flip, name)"),
        ("", ("data=folder",), "(write data.source=folder; one of folder, scenes)"),
        ("", ("data=[1]",), "(write data.source=...; one of folder, scenes)"),
        (TEXT, ("data.objects=3,4",), 'data.objects = "3,4" should be a list (write data.objects=[3, 4])'),
        ("", ("counts=7",), "counts = 7 should be a list (write counts=[7])"),
        ("", ("counts=[a]",), 'counts.0 = "a" should be a whole number'),
        (TEXT, ("data.objects=[1]",), "data.objects.1 is missing"),
        ("", ("weights=3",), "weights = 3 should be a mapping of names to values"),
        ("", ("note=3",), "note = 3 should be text"),
        ("", ("steps.lr.x=1",), "override 'steps.lr.x=1'"),
        ("", ("=1",), "not of the form a.b=value"),
        ("", ("steps.lr=[",), "the value is not valid YAML"),
    ],
)  # fmt: skip
def test_a_fault_says_what_and_where(text: str, overrides: tuple[str, ...], expected: str) -> None:
    result = faults(text, *overrides)
    assert any(expected in fault for fault in result), result


def test_a_member_cannot_take_a_name_twice() -> None:
    with pytest.raises(TypeError, match="already taken by Scenes"):

        class Again(Source):
            source: Literal["scenes"] = "scenes"


def test_a_password_in_an_address_is_not_repeated() -> None:
    (fault,) = faults("", "limit=https://me:hunter2@host/x")
    assert "hunter2" not in fault
    assert "https://***@host/x" in fault


@pytest.mark.parametrize(
    "text", ["1e3", "1e-3", "no", "0x1f", "1_000", "0o17", "null", "", "~", ".5", "2020-01-01", "1:30"]
)
def test_a_string_that_looks_like_something_else_reads_back(text: str) -> None:
    class Named(Config):
        name: str
        rate: float = 1e-5

    dumped = dump_config(Named(name=text))
    assert resolve(Named, dumped, "config.yaml", []) == Named(name=text)
    assert yaml.safe_load(dumped) == {"name": text, "rate": 1e-5}


@pytest.mark.parametrize("query", ["?password=hunter2", "?a=b&token=hunter2", "?sslpassword=hunter2&x=y"])
def test_a_secret_in_a_query_is_not_shown(query: str) -> None:
    for override in (f"limit=http://server/{query}", f"unknown=http://server/{query}", f"limt http://server/{query}"):
        with pytest.raises(ConfigError) as caught:
            resolve(Top, "", "config.yaml", [override])
        assert "hunter2" not in str(caught.value)
        assert "server" in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 5000, "[" * 3000 + "]" * 3000, "{a: " * 3000])
def test_deep_nesting_is_one_fault(text: str) -> None:
    with pytest.raises(ConfigError, match="file.yaml.* is nested too deeply"):
        read_document(f"model: {text}", "file.yaml")
    fault = parse_override(f"model.widths={text}")
    assert isinstance(fault, Fault)
    assert "nested too deeply" in fault.message


@pytest.mark.parametrize(
    "value",
    ["x", "/d/x #y", "/d/a: b", "1", "1e-3", "true", "null", "~", "", " x ", "[a]", "{a: 1}", "'q'", "a\nb", "\u2028",
     "\x85", "😀", 1, -2, 0.1, 1e-05, 1e30, True, None, ["😀", "a, b", "1"], [1, [0.5, None]], {"k": "no", "1": [True]},
     [], {}],
)  # fmt: skip
def test_an_override_is_read_as_the_value_that_it_was_made_of(value: Any) -> None:
    assert parse_override(override_of("a.b", value)) == (("a", "b"), value)


def test_an_override_of_plain_text_is_plain() -> None:
    assert override_of("data.root", "/d/VOC 2012") == "data.root=/d/VOC 2012"
