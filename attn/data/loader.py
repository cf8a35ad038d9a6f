"""Batches, prepared in this process or in worker processes beside it."""

from __future__ import annotations

__all__ = ["Loader", "build_loader"]

import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from attn.data.dataset import AttentionDataset
from attn.data.sample import Batch, collate
from attn.data.sampler import Key
from attn.errors import AttnError


class Loader(DataLoader[Batch]):
    """A DataLoader that passes a user's error on as it was raised, without the worker's traceback around it."""

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for result in cast("Iterator[Batch | AttnError]", super().__iter__()):
            if isinstance(result, AttnError):
                raise result
            yield result


def build_loader(
    dataset: AttentionDataset,
    batches: Iterable[Sequence[Key | int]],
    *,
    workers: int = 0,
    prefetch: int = 2,
    pin: bool | None = None,
) -> Loader:
    """A loader of given batches.

    Args:
        batches: A sampler, or lists of positions; read anew at every iteration.
        workers: Processes that decode; they outlive an epoch. None: this process does it.
        prefetch: Batches that each worker prepares ahead.
        pin: Page-locked memory; where None, wherever CUDA is there.
    """
    process = {} if workers == 0 else _process_options(prefetch)
    return Loader(
        cast("Dataset[Batch]", _Batches(dataset)),
        batch_sampler=cast(Any, batches),
        num_workers=workers,
        collate_fn=cast(Any, _as_is),
        pin_memory=torch.cuda.is_available() if pin is None else pin,
        # Without one of its own, every new iteration draws from the generator that dropout draws from.
        generator=torch.Generator(),
        **process,
    )


class _Batches:
    """Fetches a whole batch at a time, so that an error can be handed over instead of raised in a worker."""

    def __init__(self, dataset: AttentionDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key | int) -> Batch | AttnError:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key | int]) -> Batch | AttnError:
        try:
            return collate([self.dataset[key] for key in keys])
        except AttnError as error:
            return error


def _process_options(prefetch: int) -> dict[str, Any]:
    # A fork copies the locked locks of Ray's and gRPC's threads, and then hangs; these two start clean processes.
    kind = "forkserver" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":
        context.set_forkserver_preload([__name__])
    return {
        "multiprocessing_context": context,
        "persistent_workers": True,
        "prefetch_factor": prefetch,
        "worker_init_fn": _start_worker,
    }


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _as_is(batch: Batch | AttnError) -> Batch | AttnError:
    return batch
