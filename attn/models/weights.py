"""Reads weights for a network: torchvision's or timm's by name, or a state dict from a file or an object store."""

from __future__ import annotations

__all__ = [
    "StateDict",
    "TrainedWeights",
    "check_finite",
    "fit",
    "imagenet_file",
    "read_state_dict",
    "read_weights",
    "weights_faults",
    "weights_file",
    "with_our_names",
]

import contextlib
import hashlib
import io
import logging
import os
import pickle
import tempfile
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from attn import progress
from attn.config.base import is_remote
from attn.errors import AttnError, DataError, Fault, WeightsError
from attn.files.locations import name_of, read_bytes, require_allowed, sha256_of
from attn.files.nearest import did_you_mean, missing_path
from attn.files.transfer import exists
from attn.models.backbone import TIMM
from attn.models.description import DESCRIPTION, WEIGHTS
from attn.parsing import load_json
from attn.regular_files import UnsuitableFileError, open_regular

log = logging.getLogger(__name__)

StateDict = dict[str, Tensor]
TIMEOUT_S = 10.0
SHOWN = 4


def imagenet_file(weights: str) -> Path:
    """The local file of torchvision's weights `Enum.MEMBER`; downloads it to torch.hub's cache if necessary.

    Raises:
        WeightsError: The file is not in the cache and cannot be downloaded.
    """
    import torchvision  # slow to import

    enum, _, member = weights.partition(".")
    url: str = getattr(getattr(torchvision.models, enum), member).url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rsplit("/", 1)[-1]
    if not path.exists():
        try:
            _download(url, path)
        except OSError as error:
            raise WeightsError(
                f"torchvision's weights {weights} are not in {folder} and cannot be downloaded ({error}): "
                f"put the file {path.name} there, set model.weights to the path of a state dict, or start from random "
                "weights with model.weights=null"
            ) from error
    return path


@dataclass(frozen=True)
class TrainedWeights:
    """A state dict and its origin.

    Attributes:
        origin: The file that it was read from.
        classes: Class names in the order of the classifier's rows, from the description beside the file; None if there
            is none.
    """

    state: StateDict
    origin: str
    classes: tuple[str, ...] | None = None


def weights_file(weights: str) -> str:
    """The file of a state dict, which may be given by the folder of its trained model or of its run."""
    if is_remote(weights):
        is_folder = not weights.endswith((".pt", ".pth")) and exists(f"{weights.rstrip('/')}/{WEIGHTS}")
        return f"{weights.rstrip('/')}/{WEIGHTS}" if is_folder else weights
    candidates = (Path(weights, WEIGHTS), Path(weights, "model", WEIGHTS))
    return next((str(file) for file in candidates if file.is_file()), weights)


def weights_faults(field: str, weights: str | None, build: Callable[[], object]) -> Iterator[Fault]:
    """The fault of local weights that are not there, are no state dict, or do not fit; others are not asked for.

    Args:
        build: Makes the network with them.
    """
    if weights is None or weights == "imagenet" or is_remote(weights):
        return
    missing = list(missing_path(field, weights))
    yield from missing
    if not missing:
        try:
            build()
        except WeightsError as error:
            yield Fault(field, str(error))
        except AttnError:  # another field's, which `input_faults` names
            return


def read_weights(weights: str, imagenet: str | None) -> TrainedWeights:
    """Read a config's `weights`.

    Args:
        weights: `imagenet`; or a path or `s3://` URI of a state dict or of a trained model's folder.
        imagenet: torchvision's weights, `Enum.MEMBER`, or timm's, `timm/NAME`.

    Raises:
        WeightsError: As `read_state_dict`; or the file does not match the description beside it.
    """
    if weights == "imagenet" and (imagenet or "").startswith(TIMM):
        from attn.models.timm_networks import timm_weights  # timm is slow to import

        state = timm_weights(imagenet or "")
        check_finite(state, imagenet or "")
        return TrainedWeights(state, imagenet or "")
    if weights == "imagenet":
        location = str(imagenet_file(imagenet or ""))
        return TrainedWeights(read_state_dict(location), location)
    location = weights_file(weights)
    try:
        require_allowed(location)
    except DataError as error:
        raise WeightsError(f"{error}: correct model.weights") from None
    source = _source(location)
    state = _state_dict(source, location)
    described = f"{location.removesuffix(WEIGHTS)}{DESCRIPTION}"
    if name_of(location) != WEIGHTS or not exists(described):
        return TrainedWeights(state, location)
    try:
        values = load_json(read_bytes(described))
        classes, sha256 = values["classes"], values["sha256"]
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise TypeError("classes must be a list of names")
    except (ValueError, KeyError, TypeError, DataError) as error:
        raise WeightsError(f"{described} is not a model description: {error}") from None
    if sha256 != (sha256_of(Path(source)) if isinstance(source, str) else _sha256(source)):
        raise WeightsError(
            f"{location} is not the file that {DESCRIPTION} beside it describes (SHA-256 differs), so its classes are "
            "unknown: copy the folder again, or give the state dict without the description"
        )
    return TrainedWeights(state, location, tuple(classes))


def read_state_dict(
    location: str, *, field: str = "model.weights", observe: Callable[[bytes], object] | None = None
) -> StateDict:
    """Read a state dict from a path or an `s3://` URI, without executing code of pickles.

    Args:
        field: The config's field that names the location, for messages.
        observe: Is given the bytes that the tensors are read from, which takes memory for both.

    Raises:
        WeightsError: The file cannot be read, is not a flat dict of tensors, or contains NaN or infinity.
    """
    return _state_dict(_source(location, field), location, field, observe)


def with_our_names(state: StateDict, classifiers: Sequence[str], layers: Sequence[str], prefix: str = "") -> StateDict:
    """Rename torchvision's or timm's parameters to those of `Network`; a state dict of a `Network` stays unchanged.

    Args:
        classifiers: Their layers behind the last features.
        layers: The corresponding layers of the head, aligned at the end. Classifier layers without a counterpart are
            dropped.
        prefix: Beginning of the other parameters' names in the backbone.
    """
    if any(name.startswith("backbone.") for name in state):
        return dict(state)
    counterparts = dict(zip(reversed(classifiers), reversed(layers), strict=False))
    renamed: StateDict = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if layer not in classifiers:
            renamed[f"backbone.{prefix}{name}"] = value
        elif layer in counterparts:
            renamed[f"head.{counterparts[layer]}.{kind}"] = value
        else:
            log.info("weights: %s %s is not used; this head has no such layer", name, tuple(value.shape))
    return renamed


def fit(network: nn.Module, state: StateDict, new: Collection[str], origin: str) -> list[str]:
    """Load a state dict. Only layers that depend on the data's classes may be missing or of another size.

    Args:
        new: Names of the parameters of these layers.
        origin: Where the weights come from, for messages.

    Returns:
        A message for each layer that keeps its initial values, with the reason.

    Raises:
        WeightsError: Another parameter is missing, unknown or of another shape.
    """
    own, state = network.state_dict(), dict(state)
    for name in [name for name in state if name in new and name in own]:
        if state[name].numel() == own[name].numel() and state[name].shape[0] == own[name].shape[0]:
            state[name] = state[name].reshape(own[name].shape)
    layers = {name.rpartition(".")[0] for name in new}
    shapes = {name: (tuple(state[name].shape), tuple(own[name].shape)) for name in state if name in own}
    other = {name for name, (given, expected) in shapes.items() if given != expected}
    dropped = {layer for layer in layers if any(name.rpartition(".")[0] == layer for name in other)}
    left = list[str]()
    for layer in sorted(dropped):
        sizes = ", ".join(
            f"{name.rpartition('.')[2]} is {shapes[name][0]} there and {shapes[name][1]} here"
            for name in sorted(other)
            if name.rpartition(".")[0] == layer
        )
        left.append(f"{layer} is left at its start values: {sizes}")
    state = {name: value for name, value in state.items() if name.rpartition(".")[0] not in dropped}
    missing = [name for name in own if name not in state and name not in new and "num_batches_tracked" not in name]
    extra = [name for name in state if name not in own]
    wrong = [f"{name} is {shapes[name][0]}, not {shapes[name][1]}" for name in sorted(other) if name in state]
    faults = [("missing", missing), ("not in this network", extra), ("of another shape", wrong)]
    if missing or extra or wrong:
        listed = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in faults if names)
        raise WeightsError(f"{origin} does not fit the network. {listed}. Choose model.name and model.head to match it")
    absent = sorted({name.rpartition(".")[0] for name in new if name not in state} - dropped)
    left += [f"{layer} is left at its start values: it is not among the weights" for layer in absent]
    network.load_state_dict(state, strict=False)
    for text in left:
        log.info("%s: %s", origin, text)
    return left


def _source(location: str, field: str = "model.weights") -> io.BytesIO | str:
    return _fetch(location, field) if is_remote(location) else location


def _sha256(source: io.BytesIO) -> str:
    return hashlib.sha256(source.getbuffer()).hexdigest()


def _state_dict(
    source: io.BytesIO | str,
    location: str,
    field: str = "model.weights",
    observe: Callable[[bytes], object] | None = None,
) -> StateDict:
    try:
        with open_regular(source) if isinstance(source, str) else contextlib.nullcontext(source) as stream:
            if observe is not None:
                observe(read := stream.read())
                stream = io.BytesIO(read)
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except UnsuitableFileError as error:
        raise WeightsError(f"{location} cannot be read: it {error.strerror}; correct {field}") from None
    except FileNotFoundError as error:
        near = did_you_mean(location)
        raise WeightsError(f"there is no weights file {location}: {near}correct {field}") from error
    except Exception as error:  # torch's readers can raise anything for other files
        # torch's own message about a refused pickle recommends to read it unsafely.
        reason = "" if isinstance(error, pickle.UnpicklingError) else f" ({str(error).partition(chr(10))[0]})"
        raise WeightsError(
            f"{location} cannot be read as weights{reason}: expected a state dict of tensors only, saved by "
            "torch.save(model.state_dict(), …); pickles that would execute code are refused"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        result = f"the keys {_some(list(map(str, content)))}" if isinstance(content, dict) else type(content).__name__
        raise WeightsError(
            f"{location} is not a state dict (names to tensors) but contains {result}: "
            f"save the state dict in it to a file of its own, and set {field} to that file"
        )
    check_finite(content, location)
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def check_finite(state: Mapping[str, torch.Tensor], where: str) -> None:
    """Check that all weights are finite.

    Raises:
        WeightsError: A value is NaN or infinite; the message names its tensor.
    """
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{where}: {name} contains NaN or infinity; use weights from before it diverged")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _download(url: str, path: Path) -> None:
    """Download a file and check it: torchvision's file names end with the first digits of the SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            digest, total = hashlib.sha256(), int(answer.headers.get("Content-Length") or 0) or None
            with progress.task(f"download {path.name}", total, "bytes") as reported:
                while block := answer.read(1 << 20):
                    file.write(block)
                    digest.update(block)
                    reported.advance(len(block))
        if not digest.hexdigest().startswith(path.stem.rpartition("-")[2]):
            raise OSError("the downloaded file does not have the expected SHA-256")
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _fetch(uri: str, field: str) -> io.BytesIO:
    try:
        return io.BytesIO(read_bytes(uri))
    except DataError as error:
        raise WeightsError(f"{error}: correct {field}, or check the object store") from None
