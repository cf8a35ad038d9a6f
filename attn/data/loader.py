"""Batches, prepared in this process or in worker processes beside it."""

# pyright: reportPrivateUsage=false
# How long PyTorch's iterator waits without end for a worker can only be seen from a class below it.

from __future__ import annotations

__all__ = ["Loader", "LoaderError", "build_loader"]

import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter

from attn.data.dataset import AttentionDataset
from attn.data.sample import Batch, collate
from attn.data.sampler import Key
from attn.data.shared_memory import MORE, PREFETCH, describe
from attn.errors import AttnError, DataError

PATIENCE_S = 300.0
"""How long no worker may hand over a batch before the loader is taken for stuck."""


class LoaderError(DataError):
    """The worker processes of a loader died, are stuck or cannot hand over what they have."""

    code = "loader"


class Loader(DataLoader[Batch]):
    """A DataLoader that passes a user's error on as it was raised, without the worker's traceback around it.

    Raises, when iterated:
        LoaderError: A worker died, or none has handed over anything for minutes.
    """

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        results = cast("Iterator[Batch | AttnError]", self._begun())
        while True:
            try:
                result = next(results)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                # What a worker itself raised comes with its traceback, and is the program's fault.
                if self.num_workers == 0 or str(error).startswith("Caught "):
                    raise
                raise _lost(f"{type(error).__name__} {error}".strip()) from error
            if isinstance(result, AttnError):
                raise result
            yield result

    def _begun(self) -> Any:
        if self.num_workers == 0:
            return super().__iter__()
        try:
            return super().__iter__()
        except (OSError, RuntimeError) as error:  # no semaphores, no processes, or dead ones of an earlier epoch
            raise _lost(f"{type(error).__name__} {error}".strip()) from error

    def _get_iterator(self) -> _BaseDataLoaderIter:
        if self.num_workers == 0:
            return super()._get_iterator()
        self.check_worker_number_rationality()
        return _Watched(self)


class _Watched(_MultiProcessingDataLoaderIter):
    """Gives up waiting where nothing comes; PyTorch's own limit would also be how late it sees that a worker died."""

    waited = 0.0

    def _try_get_data(self, timeout: float = 5.0) -> Any:
        found = super()._try_get_data(timeout)
        self.waited = 0.0 if found[0] else self.waited + timeout
        if self.waited >= PATIENCE_S:
            raise RuntimeError(f"DataLoader: no batch for {self.waited:.0f} seconds")
        return found


def _lost(reason: str) -> LoaderError:
    text = f"the worker processes that load images failed ({reason.splitlines()[0]})"
    if "seconds" in reason:
        return LoaderError(f"{text}: is the disk or object store of the images gone? Or set cluster.data_workers=0")
    return LoaderError(f"{text}: were they killed, or out of memory? {describe()}; {MORE}")


def build_loader(
    dataset: AttentionDataset,
    batches: Iterable[Sequence[Key | int]],
    *,
    workers: int = 0,
    prefetch: int = PREFETCH,
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
            batch = collate([self.dataset[key] for key in keys])
            return batch if get_worker_info() is None else _shared(batch)
        except AttnError as error:
            return error


def _shared(batch: Batch) -> Batch:
    """The batch in shared memory, whence its way out of this process copies nothing.

    PyTorch would put it there in a thread that drops what does not fit, for which the receiver then waits for ever.

    Raises:
        LoaderError: There is not enough.
    """
    try:
        for tensor in vars(batch).values():
            if isinstance(tensor, torch.Tensor) and tensor.numel():
                tensor.share_memory_()
    except RuntimeError as error:
        raise LoaderError(f"a batch of images does not fit into shared memory: {describe()}; {MORE}") from error
    return batch


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
