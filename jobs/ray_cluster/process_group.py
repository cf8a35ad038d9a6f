"""How the workers of a training find each other: by the addresses that Ray knows them by."""

from __future__ import annotations

__all__ = ["ProcessGroupConfig"]

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import Any

import ray.exceptions
import ray.train
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.constants import DEFAULT_TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S
from ray.train.v2._internal.util import TrainingFramework

from jobs.ray_cluster.interface import use_node_address


@dataclass
class ProcessGroupConfig(BackendConfig):
    """What Ray's `TorchConfig` asks for, without PyTorch in the process that drives the workers.

    That process would take two seconds more to start. In the workers, Ray's own functions do the work. Gloo listens at
    a node's address in Ray: alone it takes the address that the host's name stands for. Debian's installer writes
    127.0.1.1 for it into /etc/hosts, by which no other machine is reached.

    Args:
        backend: Of `torch.distributed.init_process_group`.
        timeout_s: Seconds that an operation of the group may take.
    """

    backend: str
    timeout_s: int

    @property
    def backend_cls(self) -> type[_ProcessGroup]:
        return _ProcessGroup

    @property
    def train_func_context(self) -> Any:
        from ray.train.torch.config import TorchConfigContextManager

        return TorchConfigContextManager

    @property
    def framework(self) -> Any:
        return TrainingFramework.TORCH

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class _ProcessGroup(Backend):
    """Starts and ends the process group of the workers; runs where Ray drives them."""

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        address, port = worker_group.execute_single(0, get_address_and_port)
        ranks = range(len(worker_group))
        ray.get([worker_group.execute_single_async(rank, _join, address, port, backend_config) for rank in ranks])

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        left = worker_group.execute_async(_leave)
        with contextlib.suppress(ray.exceptions.GetTimeoutError):  # a worker that hangs is killed next
            ray.get(left, timeout=DEFAULT_TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S)


def _join(address: str, port: int, config: ProcessGroupConfig) -> None:
    """Join the group of the worker of rank 0, which listens at the address."""
    from ray.train.torch.config import (
        _set_torch_distributed_env_vars,  # pyright: ignore[reportPrivateUsage]: has no public name
        _setup_torch_process_group,  # pyright: ignore[reportPrivateUsage]: has no public name
    )

    use_node_address()
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
    _set_torch_distributed_env_vars()
    context = ray.train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    _setup_torch_process_group(config.backend, rank, size, "env://", config.timeout_s)


def _leave() -> None:
    from ray.train.torch.config import _shutdown_torch  # pyright: ignore[reportPrivateUsage]: has no public name

    _shutdown_torch(destroy_process_group=ray.train.get_context().get_world_size() > 1)
