"""Trained models' folders that somebody has tampered with. `BUNDLES` has a builder for each: it writes the folder."""

from __future__ import annotations

__all__ = ["BUNDLES", "good"]

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attn.models.description import CONFIG, DESCRIPTION, WEIGHTS
from tests.bundles import tiny_bundle

Builder = Callable[[Path, np.random.Generator], None]
Act = Callable[[Path], object]
State = dict[Any, Any]


@functools.cache
def _template() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = tiny_bundle(Path(folder, "model"))
        return {name: (bundle / name).read_bytes() for name in (WEIGHTS, DESCRIPTION, CONFIG)}


def good(folder: Path, _: np.random.Generator) -> None:
    """A classifier as a run leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in _template().items():
        (folder / name).write_bytes(data)


def _then(act: Act) -> Builder:
    def build(folder: Path, rng: np.random.Generator) -> None:
        good(folder, rng)
        act(folder)

    return build


def _described(**fields: Any) -> Builder:
    """Fields of the description with other values; `...` takes one away."""

    def act(folder: Path) -> None:
        result = json.loads((folder / DESCRIPTION).read_text())
        for path, value in fields.items():
            inner = result
            *outer, last = path.split("__")
            for step in outer:
                inner = inner[step]
            inner[last] = value
            if value is ...:
                del inner[last]
        (folder / DESCRIPTION).write_text(json.dumps(result))

    return _then(act)


def _text(text: str | bytes) -> Builder:
    return _then(lambda folder: (folder / DESCRIPTION).write_bytes(text if isinstance(text, bytes) else text.encode()))


def _signed(folder: Path) -> None:
    """The hash of the weights that are there now."""
    result = json.loads((folder / DESCRIPTION).read_text())
    result["sha256"] = result["files"][WEIGHTS] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / DESCRIPTION).write_text(json.dumps(result))


def _weights(change: Callable[[State], Any]) -> Builder:
    """Other weights, with the hash that fits."""

    def act(folder: Path) -> None:
        state = torch.load(folder / WEIGHTS, weights_only=True)
        changed = change(state)
        torch.save(state if changed is None else changed, folder / WEIGHTS)
        _signed(folder)

    return _then(act)


def _bytes(data: bytes) -> Builder:
    def act(folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(data)
        _signed(folder)

    return _then(act)


def _value(number: float) -> Builder:
    return _weights(lambda state: state[_first(state)].view(-1).__setitem__(0, number))


def _first(state: State) -> str:
    return next(name for name, value in state.items() if value.is_floating_point() and value.ndim > 1)


def _replace(make: Callable[[torch.Tensor], Any]) -> Builder:
    return _weights(lambda state: state.__setitem__(_first(state), make(state[_first(state)])))


def _instead(name: str, act: Act) -> Builder:
    """Something else than a file under the name of one."""

    def build(folder: Path) -> None:
        (folder / name).unlink()
        act(folder / name)

    return _then(build)


class Runs:
    """What would run code, were it unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/attn-was-here",)


BUNDLES: dict[str, Builder] = {
    "good": good,
    "no description": _then(lambda folder: (folder / DESCRIPTION).unlink()),
    "an empty description": _text(""),
    "a description that is no JSON": _text("{"),
    "a description that is a list": _text("[]"),
    "a description that is null": _text("null"),
    "a description that is binary": _text(bytes(range(256))),
    "a description of 100,000 levels": _text('{"a":' * 100_000),
    "a description of 90 levels": _described(info=functools.reduce(lambda inner, _: {"a": inner}, range(90), {})),
    "a number of 5,000 digits": _text('{"format": ' + "9" * 5000 + "}"),
    "a description of a GiB": _then(lambda folder: os.truncate(folder / DESCRIPTION, 1 << 30)),
    "a description that is a pipe": _instead(DESCRIPTION, os.mkfifo),
    "another format": _described(format=99),
    "a format that is a text": _described(format="1"),
    "a format that is true": _described(format=True),
    "an unknown task": _described(task="translation"),
    "a task that is a list": _described(task=["classification"]),
    "another task": _described(task="segmentation"),
    "no classes": _described(classes=...),
    "classes that are none": _described(classes=[]),
    "classes that are a text": _described(classes="abc"),
    "classes that are numbers": _described(classes=[1, 2, 3]),
    "classes that are null": _described(classes=[None, None, None]),
    "a class twice": _described(classes=["a", "b", "a"]),
    "a class without name": _described(classes=["a", "b", ""]),
    "a class too many": _described(classes=["a", "b", "c", "d"]),
    "a class too few": _described(classes=["a", "b"]),
    "200,000 classes": _described(classes=[str(number) for number in range(200_000)]),
    "half a surrogate": _described(classes=["a", "b", "\ud800"]),
    "no network": _described(model=...),
    "a network that is a text": _described(model="tiny"),
    "a network that is unknown": _described(model__name="huge"),
    "a network's field that is unknown": _described(model__depth=3),
    "a network of 10^12 channels": _described(model__head="fc", model__fc_width=10**12),
    "a network of 10^9 channels": _described(model__head="fc", model__fc_width=10**9),
    "another head": _described(model__head="conv"),
    "no input": _described(input=...),
    "an input that is a list": _described(input=[]),
    "an input of a negative size": _described(input__size=-1),
    "an input of 10^9": _described(input__size=10**9),
    "an input of NaN": _described(input__flip=float("nan")),
    "layers that are a text": _described(layers="last"),
    "layers that are numbers": _described(layers=[1]),
    "a layer that is unknown": _described(layer="nowhere"),
    "a layer that is a list": _described(layer=["last"]),
    "a kind of map that is a number": _described(map_kind=3),
    "a kind of map that is unknown": _described(map_kind="guess"),
    "exclusive as a text": _described(exclusive="no"),
    "info that is a list": _described(info=[]),
    "no hash": _described(sha256=...),
    "a hash that is a number": _described(sha256=7),
    "a hash that is none": _described(sha256="x"),
    "another hash": _described(sha256="0" * 64),
    "files that are a list": _described(files=[WEIGHTS]),
    "files without the weights": _described(files={CONFIG: "0" * 64}),
    "a file out of the folder": _described(**{"files__../../etc/passwd": "0" * 64}),
    "a file by its full path": _described(**{"files__/etc/passwd": "0" * 64}),
    "a file that is not there": _described(files__extra="0" * 64),
    "another config": _then(lambda folder: (folder / CONFIG).write_text("data: {source: other}\n")),
    "no config": _then(lambda folder: (folder / CONFIG).unlink()),
    "a config that is a folder": _instead(CONFIG, Path.mkdir),
    "a config that is a pipe": _instead(CONFIG, os.mkfifo),
    "a config that is a link elsewhere": _instead(CONFIG, lambda path: path.symlink_to("/etc/passwd")),
    "no weights": _then(lambda folder: (folder / WEIGHTS).unlink()),
    "weights that are a pipe": _instead(WEIGHTS, os.mkfifo),
    "weights that are a link elsewhere": _instead(WEIGHTS, lambda path: path.symlink_to("/etc/passwd")),
    "weights of another size": _then(lambda folder: os.truncate(folder / WEIGHTS, 1000)),
    "empty weights": _bytes(b""),
    "weights that are a text": _bytes(b"hello"),
    "weights that are a pickle": _bytes(b"\x80\x04K\x07."),
    "weights of random bytes": _bytes(np.random.default_rng(0).bytes(5000)),
    "weights that are an archive of nothing": _bytes(b"PK\x05\x06" + bytes(18)),
    "weights that run code": _weights(lambda state: state | {"code": Runs()}),
    "weights that are a list": _weights(lambda state: list(state.values())),
    "weights that are one tensor": _weights(lambda _: torch.zeros(3)),
    "weights within weights": _weights(lambda state: {"model": state}),
    "weights that are texts": _weights(lambda state: dict.fromkeys(state, "x")),
    "names that are numbers": _weights(lambda state: dict(enumerate(state.values()))),
    "NaN": _value(float("nan")),
    "infinity": _value(float("inf")),
    "minus infinity": _value(float("-inf")),
    "what overflows": _replace(lambda value: value.double() * 1e300),
    "another shape": _replace(lambda value: value[:1]),
    "another order of the sides": _replace(lambda value: value.transpose(0, 1)),
    "a shape of 10^12": _replace(lambda _: torch.zeros(1).expand(10**6, 10**6)),
    "a complex tensor": _replace(lambda value: value.to(torch.complex64)),
    "a sparse tensor": _replace(lambda value: value.to_sparse()),
    "a tensor on no device": _replace(lambda value: value.to("meta")),
    "a tensor too few": _weights(lambda state: {name: value for name, value in state.items() if name != _first(state)}),
    "a tensor too many": _weights(lambda state: state.__setitem__("extra", torch.zeros(3))),
}
"""Every model by name; all but the first are to be refused."""
