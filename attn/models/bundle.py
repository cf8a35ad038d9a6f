"""A trained model on disk (a bundle): everything needed to use it, without pickled code.

A bundle is a folder with `state_dict.pt` (tensors only), `model.json` (network, classes, training input, attention map,
hashes of the other files; preprocessing and outputs for programs without this library) and `config.yaml` (the run's
resolved config).
"""

from __future__ import annotations

__all__ = [
    "Bundle",
    "build_with_weights",
    "find_bundle",
    "load_bundle",
    "pipeline_network",
    "refuse_exported",
    "read_bundle",
    "save_bundle",
    "write_bundle",
]

import difflib
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from torch import nn

from attn.data.transforms import InputConfig
from attn.driver_process import INTERRUPTED, driver_of, shown_state
from attn.errors import WeightsError
from attn.files.locations import sha256_of
from attn.files.tensors import save_tensors
from attn.models.description import (
    CONFIG,
    DESCRIPTION,
    FORMAT,
    WEIGHTS,
    check_files,
    describing,
    read_description,
    task_of,
)
from attn.models.network import ModelConfig, Network
from attn.models.output import MapKind
from attn.models.shapes import shapes_only
from attn.models.usage import classifier_usage
from attn.models.weights import check_finite
from attn.run_state import BROKEN, RunState, sweep_of_trial
from attn.wording import shorten

N = TypeVar("N", bound=nn.Module)
SHOWN = 8
COMMANDS = {
    "classification": "`attn evaluate` and `attn maps` take classifiers, `attn predict` any model",
    "segmentation": "`attn segment predict` makes and scores masks of a network, `attn predict` takes any model",
}
"""Commands for models of a task, for who gave one to a command for another task."""
EXPORTED = (".onnx", ".pt2")
"""Suffixes of the files of `attn models export`."""


@dataclass(frozen=True)
class Bundle:
    """A trained classifier, ready to use, in evaluation mode.

    Attributes:
        network: The network.
        classes: Names, in the order of the logits.
        input: How images become the network's input.
        map_kind: Kind of attention map that the model was trained with.
        layers: Feature layers that the network exposes, besides `last`.
        layer: Feature layer of that attention map.
        info: Origin of the model: run, method, epochs, scores; JSON values.
        path: The bundle's folder.
        sha256: Hash of the file with the weights.
        exclusive: Whether an image has exactly one class, so that probabilities sum to 1.
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
    usage = classifier_usage(classes, input, exclusive=exclusive)
    write_bundle(folder, state_dict, "classification", described, usage, config_yaml)


def find_bundle(target: str, root: str = "runs") -> Path:
    """Find a bundle's folder, given as itself, as a run's folder, or as the id of a run under `root` or of a trial.

    Raises:
        WeightsError: There is none; the message lists the folders that were searched. Or it is an exported file.
    """
    refuse_exported(target)
    folders = [Path(target), Path(target, "model"), Path(root, target, "model")]
    if "/" not in target and (sweep := sweep_of_trial(target)) is not None:
        folders.append(Path(root, sweep, target, "model"))
    for folder in folders:
        if (folder / "model.json").is_file():
            return folder
    searched = ", ".join(str(folder) for folder in folders)
    raise WeightsError(
        f"no trained model {target!r}: looked for model.json in {searched}; give a finished run's id or folder"
        + _suggestion(target, root)
    )


def pipeline_network(target: str, root: str = "runs") -> Path | None:
    """The folder of the segmentation network of a pipeline that is done; None for anything else.

    Args:
        target: A pipeline's folder, or its id under `root`.
    """
    for run in (Path(target), Path(root, target)):
        state = _read_state(run / "run.json") if (run / "run.json").is_file() else None
        if state is not None and state.kind == "pipeline" and state.state == "done" and state.stages:
            last = state.stages.get("retrain") or state.stages.get("segment")
            return None if last is None else run.parent / last.run_id / "model"
    return None


def refuse_exported(target: str) -> None:
    """Refuse a file that `attn models export` writes.

    Raises:
        WeightsError: It is one, by its suffix, and no folder.
    """
    if target.endswith(EXPORTED) and not Path(target).is_dir():
        raise WeightsError(
            f"{target} is an exported file, which is for other programs: give the run's id, the model's folder "
            "(with model.json and state_dict.pt), or NAME@ALIAS of the registry"
        )


def load_bundle(target: str | Path, root: str = "runs") -> Bundle:
    """Open a trained classifier on the CPU.

    Raises:
        WeightsError: There is none, it is damaged, it is not a classifier, or its format is newer.
    """
    folder = find_bundle(str(target), root)
    described = read_bundle(folder, "classification")
    with describing(folder):
        # The weights are in the bundle, so the network is built without any others.
        model = ModelConfig.model_validate_json(json.dumps({**described["model"], "weights": None}), strict=True)
        input = InputConfig.model_validate_json(json.dumps(described["input"]), strict=True)
        classes, layers, kind = tuple(described["classes"]), tuple(described["layers"]), described["map_kind"]
        if kind not in get_args(MapKind):
            raise ValueError(f"map_kind is {kind!r}; it must be one of {', '.join(get_args(MapKind))}")
        layer, exclusive = str(described.get("layer", "last")), bool(described.get("exclusive", False))
    network = build_with_weights(lambda: model.build(len(classes), layers=(*layers, layer)), folder)
    info, sha256 = described.get("info", {}), described["sha256"]
    return Bundle(network, classes, input, kind, layers, folder, layer, info, sha256, exclusive)


def write_bundle(
    folder: Path,
    state_dict: dict[str, torch.Tensor],
    task: str,
    described: dict[str, Any],
    usage: dict[str, Any],
    config_yaml: str,
) -> None:
    """Write a bundle of any task. `model.json` is written last, so a folder with it is complete.

    Args:
        described: What is needed to build the network again.
        usage: Preprocessing and outputs, for programs without this library.

    Raises:
        WeightsError: A weight is NaN or infinite.
    """
    check_finite(state_dict, str(folder / WEIGHTS))
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS
    save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}, weights)
    (folder / CONFIG).write_text(config_yaml, encoding="utf-8")
    files = {name: sha256_of(folder / name) for name in (WEIGHTS, CONFIG)}
    whole = {"format": FORMAT, "task": task, **described, "sha256": files[WEIGHTS], "files": files}
    whole |= usage
    (folder / DESCRIPTION).write_text(json.dumps(whole, indent=1), encoding="utf-8")


def read_bundle(folder: Path, task: str) -> dict[str, Any]:
    """Read `model.json` and check the model's files against it.

    Raises:
        WeightsError: A file does not match, or the model is of another task.
    """
    described = read_description(folder)
    version, theirs = described["format"], task_of(described)
    if version != FORMAT:
        raise WeightsError(f"{folder}: format {version} is unknown; this version of attn reads format {FORMAT}")
    if theirs != task:
        advice = f"; {COMMANDS[theirs]}" if theirs in COMMANDS else ""
        raise WeightsError(f"{folder}: expected a {task} model, found a {theirs} model{advice}")
    check_files(folder, described)
    return described


def build_with_weights(build: Callable[[], N], folder: Path) -> N:
    """Build a bundle's network with its weights, in evaluation mode, after checking that the weights fit.

    Raises:
        WeightsError: The file does not contain tensors only, they do not fit, or one contains NaN or infinity.
    """
    weights = folder / WEIGHTS
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception:  # torch's readers can raise anything for other files
        raise WeightsError(
            f"{weights} does not contain tensors only and was not opened, as opening it may execute code: expected a "
            "state dict saved by torch.save"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{weights} does not contain tensors only: expected a state dict")
    with describing(folder), shapes_only():
        shapes = {name: value.shape for name, value in build().state_dict().items()}
    wrong = [f"{name} is missing" for name in shapes if name not in state]
    wrong += [f"{name!r} is unknown" for name in state if name not in shapes]
    wrong += [
        f"{name} has the shape {tuple(state[name].shape)}, not {tuple(shape)}"
        for name, shape in shapes.items()
        if name in state and state[name].shape != shape
    ]
    wrong += [
        f"{name} is of an unsupported type: {value.dtype}, {value.layout}"
        for name, value in state.items()
        if value.is_complex() or value.is_quantized or value.is_meta or value.layout != torch.strided
    ]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        first = shorten(wrong[0], 300)
        raise WeightsError(f"{weights} does not fit the network that {DESCRIPTION} describes: {first}{more}")
    network = build()
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{weights} does not fit the network that {DESCRIPTION} describes: {reason}") from None
    check_finite(network.state_dict(), str(weights))  # after conversion, which may overflow
    return network.eval()


def _suggestion(target: str, root: str) -> str:
    """The end of an error: the state of a run without a model, models of its stages or trials, similar names."""
    runs = (folder / "run.json" for folder in (Path(target), Path(root, target)))
    states = [_state(run) for run in runs if run.is_file()]
    state = f"; that run is {states[0]}" if states else ""
    name = Path(target).name
    result = (model for depth in ("*", "*/*") for model in Path(root).glob(f"{depth}/model/model.json"))
    done = (model.parents[1] for model in result if _is_done(model.parents[1] / "run.json"))
    there = sorted(folder.relative_to(root).as_posix() for folder in done)
    own = [run for run in there if run.startswith((f"{name}-", f"{name}/")) or run.endswith(f"/{name}")]
    near = own[:SHOWN] or difflib.get_close_matches(name, there, n=1)
    return f"{state} (did you mean {' or '.join(near)}?)" if near else state


def _is_done(run: Path) -> bool:
    """Whether a folder with a model is of a run that is done, or of none: models of other runs may be parts of one."""
    return not run.is_file() or ((state := _read_state(run)) is not None and state.state == "done")


def _state(run: Path) -> str:
    """A run's state for people; of an interrupted one, also how it goes on."""
    if (state := _read_state(run)) is None:
        return BROKEN
    shown = shown_state(state, driver_of(state))
    return f"{shown}: `attn resume {_resumed(run.parent.absolute(), state)}` goes on" if shown == INTERRUPTED else shown


def _resumed(folder: Path, state: RunState) -> str:
    """The run that a user resumes to go on with an interrupted one: itself, or the sweep or pipeline of it."""
    root = folder.parent
    if state.number is not None:  # a trial lies in its sweep
        folder, root = root, root.parent
    else:
        for other in sorted(root.glob("*/run.json")):
            whole = _read_state(other)
            stages = (whole.stages or {}).values() if whole is not None and whole.state != "done" else ()
            if any(stage.run_id == folder.name and not stage.reused for stage in stages):
                folder = other.parent
                break
    return shlex.quote(folder.name if root == Path("runs").absolute() else str(folder))


def _read_state(run: Path) -> RunState | None:
    try:
        return RunState.parse(run.read_bytes())
    except (OSError, ValueError):
        return None
