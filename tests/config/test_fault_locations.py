"""A fault is that of the override or file which the user can change, and not of a recipe that is right."""

from __future__ import annotations

import time
from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, model_validator

from attn.config.base import Config, FieldError, Variant
from attn.config.document import Document, read_document
from attn.config.faults import location_of
from attn.config.resolve import resolve_document
from attn.errors import ConfigError
from attn.runs.recipes import load_any_config

RECIPE = "network: {name: vgg16, depth: 2}\nbatch: 8\nshards: 2\nsize: 32\n"


class Network(Config):
    name: str = "vgg16"
    depth: int = 2
    width: int = 1

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.name != "vgg16":
            raise ValueError(f"there is no architecture {self.name.removeprefix('hub/')!r}")
        if self.depth * self.width > 4:
            raise ValueError("it has too many parameters")
        return self


class Layout(Variant, tag="source"):
    split: str = "train"


class Table(Layout):
    source: Literal["table"] = "table"
    file: str


class Tree(Layout):
    source: Literal["tree"] = "tree"
    root: str = "."


class Run(Config):
    network: Network = Network()
    data: Layout = Tree()
    batch: int = 8
    shards: int = 2
    size: Annotated[int, Field(ge=1)] | tuple[int, int] = 32
    weights: Literal["imagenet"] | str | None = "imagenet"
    views: tuple[Annotated[int, Field(ge=1)] | Literal["all"], ...] = (1,)

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if self.batch % self.shards:
            raise FieldError(f"batch={self.batch} is no multiple of shards={self.shards}", "e.g. batch=9")
        return self


def faults(*overrides: str, own: str = "") -> list[str]:
    documents = [read_document(RECIPE, "recipe base"), *([read_document(own, "my.yaml")] if own else [])]
    with pytest.raises(ConfigError) as caught:
        resolve_document(Run, documents, list(overrides))
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("overrides", "own", "where"),
    [
        (("network.name=vgg",), "", "override 'network.name=vgg': network: there is no architecture 'vgg'"),
        (("network.depth=1", "network.name=vgg"), "", "override 'network.name=vgg': network"),
        (("network.depth=9",), "", "override 'network.depth=9': network: it has too many parameters"),
        (("network.depth=3", "network.width=3"), "", "override 'network.depth=3', override 'network.width=3': network"),
        (("shards=3",), "", "override 'shards=3': batch=8 is no multiple of shards=3 (e.g. batch=9)"),
        (("batch=7",), "", "override 'batch=7': batch=7 is no multiple of shards=2"),
        (("batch=7",), "shards: 3", "override 'batch=7': batch=7 is no multiple of shards=3"),
        (("data.source=table",), "", "override 'data.source=table': data.file is missing"),
        ((), "size: 3\nnetwork: {name: vgg}", "my.yaml:2: network: there is no architecture 'vgg'"),
        (("network.name=hub/vgg",), "network: {name: vgg16}", "override 'network.name=hub/vgg': network: there is no"),
        (("network.depth=1",), "network: {name: hub/vgg}", "my.yaml:1: network: there is no architecture 'vgg'"),
        (("network.depth=1",), "network: {name: vgg}", "my.yaml:1: network: there is no architecture 'vgg'"),
    ],
)  # fmt: skip
def test_what_the_user_gave_is_named(overrides: tuple[str, ...], own: str, where: str) -> None:
    (fault,) = faults(*overrides, own=own)
    assert fault.startswith(where)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("size=0", "size = 0 should be greater than or equal to 1"),
        ("size=5.5", "size = 5.5 should be a whole number or a list"),
        ("size=[1, x]", 'size.1 = "x" should be a whole number'),
        ("size=[1]", "size.1 is missing (give it, e.g. size.1=...)"),
        ("weights=5", "weights = 5 should be 'imagenet' or text"),
        ("views=[1, 0]", "views.1 = 0 should be greater than or equal to 1"),
        ("views=[some]", "views.0 = \"some\" should be a whole number or 'all'"),
    ],
)
def test_a_value_that_may_be_of_several_types_has_one_fault(override: str, expected: str) -> None:
    assert faults(override) == [f"override '{override}': {expected}"]


@pytest.mark.parametrize(
    ("recipe", "overrides", "expected"),
    [
        ("scenes_gain", ["training.batch_size=15", "cluster.workers=2"],
         "override 'training.batch_size=15': .* = 2 .e.g. training.batch_size=16"),
        ("scenes_gain", ["training.batch_size=16", "cluster.workers=3"], "= 3 .e.g. training.batch_size=18"),
        ("scenes_attnbn", ["method.source_batch_size=3", "cluster.workers=2"], "e.g. method.source_batch_size=4"),
        ("segment_scenes", ["retrain.training.batch_size=5", "cluster.workers=2"],
         "e.g. retrain.training.batch_size=6"),
        ("gain_segment_scenes", ["train.model.name=vgg"], "^ *override 'train.model.name=vgg': train.model: there is"),
        ("gain_segment_scenes", ["segment.training.batch_size=15", "cluster.workers=2"],
         "override 'segment.training.batch_size=15': .*e.g. training.batch_size=16"),
    ],
)  # fmt: skip
def test_faults_of_recipes_that_overrides_change(recipe: str, overrides: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=f"(?m){expected}"):
        load_any_config(recipe, overrides)


@pytest.mark.parametrize("piece", ["a", "a.", "a ="])
def test_a_message_that_quotes_a_long_text_takes_no_time(piece: str) -> None:
    began = time.process_time()
    location_of(Document(), ("network",), f"there is no architecture '{piece * 100_000}'")
    assert time.process_time() - began < 5, "in proportion to the text; by its square it would be minutes"
