"""How the workers of a training find each other: by the addresses that Ray knows them by."""

from __future__ import annotations

__all__ = ["NodeAddressConfig"]

from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend  # pyright: ignore[reportPrivateUsage]: has no public name

from jobs.ray_cluster.interface import use_node_address


class NodeAddressConfig(TorchConfig):
    """A `TorchConfig` whose Gloo listens at a node's address in Ray.

    Gloo alone takes the address that the host's name stands for. Debian's installer writes 127.0.1.1 for it into
    /etc/hosts, by which no other machine is reached.
    """

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        return _NodeAddressBackend


class _NodeAddressBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(use_node_address)
        super().on_start(worker_group, backend_config)
