"""Exports a trained model for programs without this library: as ONNX or `torch.export`, compared with the original.

Shapes: B images, C classes, K channels, h×w feature map, H×W input.
"""

from __future__ import annotations

__all__ = ["FORMATS", "ExportError", "Exported", "export_model", "silenced"]

import contextlib
import importlib.util
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from attn import progress
from attn.errors import AttnError, ConfigError, Fault
from attn.evaluation.inference import evaluating
from attn.maps import attention
from attn.models.backbone import architecture
from attn.models.backbone_network import BackboneNetwork
from attn.models.bundle import Bundle
from attn.prediction.usage import usage_of
from attn.wording import shorten

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from attn.segmentation.bundle import Segmenter

FORMATS = {"onnx": ".onnx", "torch_export": ".pt2"}
EXPORTERS = ("torch.onnx", "onnxscript", "onnx_ir")
NEEDED = ("onnx", "onnxscript", "onnxruntime")
KINDS = ("cam", "integral", "grad_cam", "channel", "pixel")
"""Kinds of map that are known in closed form, if only average pooling and one linear layer follow the features."""
METADATA = "attn.json"
AXES = {0: "batch", 2: "height", 3: "width"}
"""Names of the input's dynamic axes."""
TOLERANCE = 1e-4
"""Largest accepted difference, relative to the output's largest value: single precision, summed in another order."""

Run = Callable[[Tensor], tuple[Tensor, ...]]


class ExportError(AttnError):
    """A model cannot be exported, or the exported file gives other results."""

    code = "export"


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        outputs: Names of the outputs: `logits`, and `maps` (B, C, h, w), not normalised, if they are known in closed
            form.
        dynamic: Axes of the input with any size: `batch`, `height`, `width`.
        inputs: Shapes of the random inputs for which the file was compared with the original network.
        differences: Largest absolute difference of each output.
        notes: Messages about what is not in the file.
    """

    file: str
    format: str
    outputs: tuple[str, ...]
    dynamic: tuple[str, ...]
    inputs: tuple[tuple[int, ...], ...]
    differences: dict[str, float]
    notes: tuple[str, ...] = ()


def export_model(model: Bundle | Segmenter, file: Path, form: str) -> Exported:
    """Export a model's network to a file, after comparing the file's outputs with the network's.

    Args:
        form: `onnx` or `torch_export`.

    Raises:
        ConfigError: The format is unknown.
        ExportError: A package is missing, the network cannot be exported, the file's outputs differ from the network's,
            or the file cannot be written.
    """
    if form not in FORMATS:
        raise ConfigError([Fault("format", f"format = {form!r} is not available", f"one of {', '.join(FORMATS)}")])
    if form == "onnx":
        _check_packages()
    try:
        return _export(model, file, form)
    except OSError as error:
        raise ExportError(f"{file} cannot be written: {error.strerror or type(error).__name__}") from None


def _export(model: Bundle | Segmenter, file: Path, form: str) -> Exported:
    module, notes = _module(model)
    size = (model.input.size, model.input.size) if isinstance(model.input.size, int) else model.input.size
    with torch.no_grad(), evaluating(model.network), silenced(*EXPORTERS):
        with progress.task("tracing the network"):
            program, free_size = _traced(module, size)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as scratch:
            part = Path(scratch, f"model{FORMATS[form]}")
            described = json.dumps(_described(model, module), ensure_ascii=False)
            with progress.task(f"writing {'ONNX' if form == 'onnx' else 'the traced network'}"):
                if form == "onnx":
                    run = _write_onnx(program, module, part, described, AXES if free_size else {0: AXES[0]})
                else:
                    run = _write_program(program, part, described)
            step = architecture(model.network.config.name).multiple
            other = (size[0] + -(-32 // step) * step, size[1] + -(-64 // step) * step)
            shapes = [(2, 3, *size), (1, 3, *other) if free_size else (1, 3, *size)]
            with progress.task("comparing the file with the network"):
                differences = _compared(model, module, run, shapes)
            part.replace(file)
    return Exported(
        file=str(file),
        format=form,
        outputs=module.outputs,
        dynamic=("batch", "height", "width") if free_size else ("batch",),
        inputs=tuple(shapes),
        differences=differences,
        notes=notes,
    )


class _Outputs(nn.Module):
    """A network that returns a plain tuple of tensors."""

    outputs: tuple[str, ...] = ("logits",)

    def __init__(self, network: BackboneNetwork[Any]) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self.network(images).logits,)


class _WithMaps(_Outputs):
    """Also returns the maps of all classes: those of `attn.maps.attention`, computed in closed form."""

    outputs = ("logits", "maps")

    def __init__(self, network: BackboneNetwork[Any], kind: str) -> None:
        super().__init__(network)
        self.kind = kind

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network(images)
        if output.class_maps is not None and self.kind in ("cam", "integral"):
            maps = output.class_maps.relu() if self.kind == "cam" else output.class_maps.sigmoid()
            return output.logits, maps
        features, weight_CK = output.features["last"], output.linear_weight
        if self.kind == "channel":
            weight_CK = weight_CK.relu()
        maps_BChw = functional.conv2d(features, weight_CK[:, :, None, None]).relu()
        if self.kind in ("grad_cam", "channel", "pixel"):
            maps_BChw = maps_BChw / (features.shape[2] * features.shape[3])
        return output.logits, maps_BChw / features.shape[1] if self.kind == "pixel" else maps_BChw


def _module(model: Bundle | Segmenter) -> tuple[_Outputs, tuple[str, ...]]:
    if not isinstance(model, Bundle):
        return _Outputs(model.network), ()
    closed_form = model.layer == "last" and model.network.config.head in ("gap", "conv")
    if closed_form and model.map_kind in KINDS:
        return _WithMaps(model.network, model.map_kind), ()
    why = f"layer {model.layer}, head {model.network.config.head}"
    note = f"without maps: {model.map_kind} of {why} needs gradients, which an exported network cannot compute"
    return _Outputs(model.network), (note,)


def _described(model: Bundle | Segmenter, module: _Outputs) -> dict[str, Any]:
    use = usage_of(model)
    if isinstance(module, _WithMaps):
        use["output"]["maps"] = {"axes": ["batch", "class", "height", "width"], "normalized": False}
    described: dict[str, Any] = {
        "task": "classification" if isinstance(model, Bundle) else "segmentation",
        "classes": list(model.classes),
        **use,
        "outputs": list(module.outputs),
        "weights": model.sha256,
    }
    return described | ({"map_kind": model.map_kind, "layer": model.layer} if isinstance(model, Bundle) else {})


def _traced(module: _Outputs, size: tuple[int, int]) -> tuple[ExportedProgram, bool]:
    """Trace the network, with dynamic height and width if it permits; returns whether it does."""
    from torch.export import Dim, export

    images = torch.zeros(2, 3, *size)  # a size of one would become a constant
    fault: Exception | None = None
    ways: list[dict[int, Any]] = [{2: Dim.DYNAMIC, 3: Dim.DYNAMIC}, {}]
    for free in ways if module.network.backbone.traced_at_any_size else ways[1:]:
        try:
            return export(module, (images,), dynamic_shapes={"images": {0: Dim("batch"), **free}}), bool(free)
        except Exception as error:  # torch.export has no common error class
            fault = error
    assert fault is not None
    reason = shorten((str(fault).strip().splitlines() or [type(fault).__name__])[0], 300)
    raise ExportError(f"this network cannot be exported by torch {torch.__version__}: {reason}") from fault


def _write_program(program: ExportedProgram, file: Path, described: str) -> Run:
    written = io.BytesIO()  # PyTorch's own writer ends the process if the disk is full
    torch.export.save(program, written, extra_files={METADATA: described})
    file.write_bytes(written.getbuffer())
    loaded = torch.export.load(file).module()
    return lambda images: tuple(loaded(images))


def _write_onnx(program: ExportedProgram, module: _Outputs, file: Path, described: str, free: Mapping[int, str]) -> Run:
    """Write the graph with named dynamic axes, and return a function that runs the file."""
    import onnxruntime

    exported = torch.onnx.export(
        program,
        dynamo=True,
        input_names=["images"],
        output_names=list(module.outputs),
        dynamic_shapes={"images": dict(free)},
        verbose=False,
    )
    assert exported is not None, "without a file name the exporter returns a program"
    exported.model.metadata_props["attn"] = described
    exported.save(file, external_data=False)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(values) for values in session.run(None, {"images": images.numpy()}))

    return run


def _compared(model: Bundle | Segmenter, module: _Outputs, run: Run, shapes: list[tuple[int, ...]]) -> dict[str, float]:
    """The largest difference of each output for random inputs.

    Raises:
        ExportError: A difference is too large.
    """
    worst = dict.fromkeys(module.outputs, 0.0)
    generator = torch.Generator().manual_seed(0)
    for shape in shapes:
        images = torch.randn(*shape, generator=generator)
        expected = _expected(model, module, images)
        for name, ours, theirs in zip(module.outputs, expected, run(images), strict=True):
            if ours.shape != theirs.shape:
                shapes_of_both = f"{tuple(theirs.shape)}, the network's {tuple(ours.shape)}"
                raise ExportError(f"the file's {name} have the shape {shapes_of_both}. Nothing was written")
            difference = float((ours - theirs).abs().max())
            worst[name] = max(worst[name], difference)
            if not difference <= TOLERANCE * float(ours.abs().max()) + 1e-8:  # also refuses NaN
                raise ExportError(
                    f"the file's {name} differ from the network's by {difference:.3g} for random input {shape}; "
                    f"the largest value is {float(ours.abs().max()):.3g}, and {TOLERANCE:g} of it is permitted. "
                    "Nothing was written"
                )
    return worst


def _expected(model: Bundle | Segmenter, module: _Outputs, images: Tensor) -> tuple[Tensor, ...]:
    output = model.network(images)
    if not isinstance(module, _WithMaps) or not isinstance(model, Bundle):
        return (output.logits,)
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(len(model.classes))).reshape(-1, 2)
    maps_Nhw = attention(output, pairs, kind=model.map_kind)
    return output.logits, maps_Nhw.unflatten(0, (len(images), len(model.classes)))


def _check_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"export to ONNX needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "pip install 'attn[export]'"
        )


@contextlib.contextmanager
def silenced(*names: str) -> Generator[None]:
    """Hide warnings, and messages of these loggers below errors, in this context."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
