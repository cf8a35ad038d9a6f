"""Copies of tensors to the host that run while the device works on."""

from __future__ import annotations

__all__ = ["HostCopy"]

import torch
from torch import Tensor


class HostCopy:
    """A tensor's values on their way to the host.

    The copy waits on the device for the work that computes the values, and the host waits in `read` alone. If the
    device has been given more work before that, it does not stand idle.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values.detach().to("cpu", non_blocking=True)
        self._arrival = torch.cuda.current_stream(values.device).record_event() if values.is_cuda else None

    def read(self) -> Tensor:
        """The values, on the host; waits until they have arrived."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._values
