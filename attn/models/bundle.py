"""A trained model on disk: everything that is needed to use it, and nothing that would have to be unpickled.

A bundle is a folder with `state_dict.pt` (tensors only), `model.json` (network, classes, training input, attention map,
hash of the weights; preprocessing and outputs for programs without this library) and `config.yaml` (the run's resolved
config).
"""

from __future__ import annotations

__all__ = [
    "WEIGHTS",
    "Bundle",
    "describing",
    "find_bundle",
    "load_bundle",
    "load_weights",
    "read_bundle",
    "save_bundle",
    "task_of",
    "write_bundle",
]

import contextlib
import difflib
import json
import pickle
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import nn

from attn.data.files import sha256_of
from attn.data.transforms import InputConfig
from attn.errors import WeightsError
from attn.models.network import ModelConfig, Network
from attn.models.usage import usage
from attn.models.weights import WEIGHTS
from attn.run_state import BROKEN, parse_run_state

if TYPE_CHECKING:
    from attn.methods.base import MapKind

FORMAT = 1
SHOWN = 8


@dataclass(frozen=True)
class Bundle:
    """A trained network, ready to use, in evaluation mode.

    Attributes:
        classes: Names, in the order of the logits.
        input: How images become the network's input.
        map_kind: The attention map that the model was trained with.
        layers: Feature layers that the network exposes, besides `last`.
        layer: Whose attention map the model was trained with.
        info: Where it comes from: run, method, epochs, scores; plain values.
        path: The bundle's folder.
        sha256: Of the file with the weights.
        exclusive: Whether an image is of one class alone, so that probabilities sum to 1.
    """

    network: Network
    classes: tuple[str, ...]
    input: InputConfig
    map_kind: MapKind
    layers: tuple[str, ...]
    path: Path
    layer: str = "last"
    info: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    exclusive: bool = False

    @property
    def config_file(self) -> Path:
        """The resolved config of the run that trained it."""
        return self.path / "config.yaml"


def save_bundle(
    folder: Path,
    state_dict: dict[str, torch.Tensor],
    *,
    model: ModelConfig,
    classes: tuple[str, ...],
    input: InputConfig,
    map_kind: MapKind,
    layers: tuple[str, ...],
    config_yaml: str,
    info: dict[str, Any],
    layer: str = "last",
    exclusive: bool = False,
) -> None:
    """Write a classifier's bundle."""
    described = {
        "classes": list(classes),
        "model": json.loads(model.model_dump_json()),
        "input": json.loads(input.model_dump_json()),
        "map_kind": map_kind,
        "layers": list(layers),
        "layer": layer,
        "exclusive": exclusive,
        "info": info,
    }
    write_bundle(folder, state_dict, "classification", described, config_yaml)


def find_bundle(target: str, root: str = "runs") -> Path:
    """The bundle folder that a user means: the folder itself, a run's folder, or a run's id under `root`.

    Raises:
        WeightsError: There is none; says where it was looked for.
    """
    places = [Path(target), Path(target, "model"), Path(root, target, "model")]
    for place in places:
        if (place / "model.json").is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise WeightsError(
        f"no trained model {target!r}: looked for model.json in {looked}; give a finished run's id or folder"
        + _meant(target, root)
    )


def load_bundle(target: str | Path, root: str = "runs") -> Bundle:
    """Open a trained classifier on the CPU.

    Raises:
        WeightsError: There is none, it is damaged, it is no classifier, or it was written by a newer format.
    """
    folder = find_bundle(str(target), root)
    described = read_bundle(folder, "classification")
    with describing(folder):
        # The weights come from the bundle: nothing else must be there to build the network.
        model = ModelConfig.model_validate_json(json.dumps({**described["model"], "weights": None}), strict=True)
        input = InputConfig.model_validate_json(json.dumps(described["input"]), strict=True)
        classes, layers, kind = tuple(described["classes"]), tuple(described["layers"]), described["map_kind"]
        layer, exclusive = str(described.get("layer", "last")), bool(described.get("exclusive", False))
    network = model.build(len(classes), layers=(*layers, layer))
    load_weights(network, folder)
    info, sha256 = described.get("info", {}), described["sha256"]
    return Bundle(network.eval(), classes, input, kind, layers, folder, layer, info, sha256, exclusive)


def write_bundle(
    folder: Path, state_dict: dict[str, torch.Tensor], task: str, described: dict[str, Any], config_yaml: str
) -> None:
    """Write a bundle of any task; `model.json` comes last, so that a folder with it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS
    torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}, weights)
    (folder / "config.yaml").write_text(config_yaml, encoding="utf-8")
    whole = {"format": FORMAT, "task": task, **described, "sha256": sha256_of(weights)}
    whole |= usage(whole)
    (folder / "model.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")


def read_bundle(folder: Path, task: str) -> dict[str, Any]:
    """What `model.json` says, once its weights are known to be those that it describes.

    Raises:
        WeightsError: They are not, or the model does something else than `task`.
    """
    with describing(folder):
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        version, theirs, expected = described["format"], task_of(described), described["sha256"]
    if version != FORMAT:
        raise WeightsError(f"{folder}: format {version} is not known to this version, which reads {FORMAT}")
    if theirs != task:
        raise WeightsError(f"{folder} holds a model for {theirs}, and one for {task} is wanted")
    weights = folder / WEIGHTS
    if not weights.is_file() or sha256_of(weights) != expected:
        raise WeightsError(
            f"{weights} is not the file that model.json describes (SHA-256 differs); copy the folder again"
        )
    return described


def task_of(described: dict[str, Any]) -> str:
    """What a described model does: `classification` or `segmentation`."""
    return str(described.get("task", "classification"))


@contextlib.contextmanager
def describing(folder: Path) -> Generator[None]:
    """Within, what is read out of a bundle's `model.json` may be anything."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise WeightsError(f"{folder}/model.json is not a model description: {error}") from None


def load_weights(network: nn.Module, folder: Path) -> None:
    """Fill a network with a bundle's weights.

    Raises:
        WeightsError: They do not fit.
    """
    weights = folder / WEIGHTS
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError):
        raise WeightsError(
            f"{weights} holds something else than tensors and was not opened, since opening it may run code: a model's "
            "weights are a state dict as torch.save writes it"
        ) from None
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise WeightsError(f"{weights} does not fit the network that model.json describes: {error}") from None


def _meant(target: str, root: str) -> str:
    """For the end of a message: the state of a run without a model, its stages' or trials' models, a similar name."""
    runs = (place / "run.json" for place in (Path(target), Path(root, target)))
    states = [_state(run) for run in runs if run.is_file()]
    said = f"; that run is {states[0]}" if states else ""
    name = Path(target).name
    found = (model for depth in ("*", "*/*") for model in Path(root).glob(f"{depth}/model/model.json"))
    there = sorted(model.parents[1].relative_to(root).as_posix() for model in found)
    own = [run for run in there if run.startswith((f"{name}-", f"{name}/")) or run.endswith(f"/{name}")]
    near = own[:SHOWN] or difflib.get_close_matches(name, there, n=1)
    return f"{said} (did you mean {' or '.join(near)}?)" if near else said


def _state(run: Path) -> str:
    try:
        return str(parse_run_state(run.read_bytes()).get("state"))
    except (OSError, ValueError):
        return BROKEN
