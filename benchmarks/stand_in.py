"""A device that is not there: tensors that say they are elsewhere, and a count of operations that wait for them.

On a GPU, an operation whose result the host needs waits until the device has done all work before it. A machine without
a GPU cannot measure this, but it can count it. `StandInDevice` gives tensors whose device is `DEVICE`; their values are
in host memory, and operations compute them there at once. It counts what would wait on a GPU, by the line of the
package that asked for it, and refuses what would fail there, such as adding tensors of two devices.
"""

from __future__ import annotations

__all__ = ["DEVICE", "StandInDevice", "StandInTensor", "Wait"]

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Self
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
PACKAGE = Path(__file__).parents[1] / "attn"
HOST = torch.device("cpu")
READS = {
    "_local_scalar_dense": "item",
    "equal": "equal",
    "nonzero": "nonzero",
    "masked_select": "masked_select",
    "_unique": "unique",
    "_unique2": "unique",
    "unique_dim": "unique",
    "unique_consecutive": "unique",
    "unique_dim_consecutive": "unique",
    "bincount": "bincount",
}
"""Operations that return a value to the host, or a tensor of a size that only the device knows."""


class Wait(NamedTuple):
    """An operation that waits for the device, and the innermost line of the package that leads to it."""

    kind: str
    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}: {self.kind}"


class StandInTensor(Tensor):
    """A tensor on `DEVICE`. Operations on it need an active `StandInDevice`."""

    held: Tensor

    def __new__(cls, held: Tensor) -> StandInTensor:
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            layout=held.layout, device=DEVICE,
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} on a tensor of the stand-in device outside `with StandInDevice()`")


class StandInDevice(TorchDispatchMode):
    """In this context `DEVICE` computes, and operations that would wait for it are counted in `waits`."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[Wait] = Counter()
        self._work = 0  # operations given to the device
        self._arriving: dict[int, tuple[Tensor, int]] = {}  # copies to the host that do not wait, with the work before
        self._conversions = _Conversions(self)
        # PyTorch's optimisers know from a list which devices have fused kernels.
        listed = "torch.optim.optimizer._get_fused_kernels_supported_devices"
        self._fused = mock.patch(listed, return_value=[DEVICE.type, HOST.type])

    def __enter__(self) -> Self:
        self._fused.start()
        self._conversions.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._conversions.__exit__(*error)
        self._fused.stop()

    def upload(self, values: Tensor) -> Tensor:
        """Values of the host on the device, by a copy that waits."""
        self._add("copy to the device")
        return StandInTensor(values)

    def download(self, tensor: StandInTensor) -> Tensor:
        """Values of the device on the host, by a copy that waits."""
        self._add("copy to the host")
        return tensor.held

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        operation = func.overloadpacket.__name__
        given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        onto = kwargs.get("device")
        there = [value for value in given if isinstance(value, StandInTensor)]
        if onto is not None and torch.device(onto).type == DEVICE.type:
            kwargs["device"], to_device = HOST, True
        else:
            to_device = bool(there) and (onto is None or torch.device(onto).type != HOST.type)
        for value in given:
            self.read(value)
        if there or to_device:
            self._work += 1
            self._count(operation, args, kwargs, given, to_device=to_device)
        wrappers = {id(value.held): value for value in there}

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if id(value) in wrappers:
                return wrappers[id(value)]
            return StandInTensor(value) if to_device else value

        results = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        if operation == "_to_copy" and there and not to_device and kwargs.get("non_blocking", False):
            self._arriving[results.data_ptr()] = (results, self._work)
        return tree_map(wrapped, results)

    def read(self, tensor: Tensor) -> None:
        """Count a wait if the host uses a copy that does not wait, and the device has been given no more work since."""
        if isinstance(tensor, StandInTensor) or not self._arriving:
            return
        _, before = self._arriving.pop(tensor.data_ptr(), (None, -1))
        if before == self._work:
            self._add("copy to the host")

    def _count(
        self, operation: str, args: Any, kwargs: dict[str, Any], given: list[Tensor], *, to_device: bool
    ) -> None:
        host = [value for value in given if not isinstance(value, StandInTensor) and value.ndim > 0]
        if operation in READS:
            self._add(READS[operation])
        elif operation == "_to_copy":
            if to_device and not isinstance(args[0], StandInTensor) and not kwargs.get("non_blocking", False):
                self._add("copy to the device")
            elif not to_device and not kwargs.get("non_blocking", False):
                self._add("copy to the host")
        elif operation == "copy_":
            moves = isinstance(args[0], StandInTensor) != isinstance(args[1], StandInTensor)
            if moves and not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False)):
                self._add("copy to the device" if isinstance(args[0], StandInTensor) else "copy to the host")
        elif operation in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"):
            indices = [index for index in args[1] if index is not None]
            if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
                self._add("masked indexing")
            elif host:
                self._add("indices on the host")
        elif operation == "repeat_interleave" and kwargs.get("output_size") is None:
            self._add("repeat_interleave")
        elif host and operation not in ("_foreach_copy_", "_fused_adam_", "_fused_adamw_", "_fused_sgd_"):
            raise RuntimeError(f"{operation}: expected all tensors on one device, found {DEVICE} and {HOST}")

    def _add(self, kind: str) -> None:
        frame = next(_frames(sys._getframe(2)), None)  # pyright: ignore[reportPrivateUsage]
        if frame is None:
            self.waits[Wait(kind, "?", 0, "?")] += 1
            return
        code = frame.f_code
        file = str(Path(code.co_filename).relative_to(PACKAGE.parent))
        self.waits[Wait(kind, file, frame.f_lineno, code.co_name)] += 1


class _Conversions(TorchFunctionMode):
    """Conversions between tensors and Python's values, which PyTorch does not dispatch."""

    def __init__(self, device: StandInDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        onto = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and onto is not None and torch.device(onto).type == DEVICE.type:
            if isinstance(args[0], StandInTensor):
                return args[0]
            return self.device.upload(func(*args, **kwargs | {"device": HOST}))
        if func is Tensor.new_tensor and isinstance(args[0], StandInTensor):
            return self.device.upload(torch.tensor(*args[1:], **{"dtype": args[0].dtype} | kwargs))
        if func is Tensor.tolist and isinstance(args[0], StandInTensor):
            return self.device.download(args[0]).tolist()
        if func in (Tensor.tolist, Tensor.numpy):
            self.device.read(args[0])
        return func(*args, **kwargs)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, StandInTensor) else value


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        if frame.f_code.co_filename.startswith(f"{PACKAGE}/"):
            yield frame
        frame = frame.f_back
