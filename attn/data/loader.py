"""A DataLoader for batches, with or without worker processes, that reports errors of workers."""

# pyright: reportPrivateUsage=false
# PyTorch's iterator can wait for a worker forever; only a subclass of it can detect that.

from __future__ import annotations

__all__ = ["Loader", "LoaderError", "PositionLoader", "build_loader"]

import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter

from attn.config.base import is_remote
from attn.data.dataset import AttentionDataset
from attn.data.sample import Batch, collate
from attn.data.sampler import Key
from attn.data.shared_memory import HINT, PREFETCH, describe_shared_memory
from attn.data.source import map_in_threads
from attn.errors import AttnError, DataError
from attn.files.patience import longest_wait

STUCK_SECONDS = 300.0
"""The loader is considered stuck after this time without a batch."""


class LoaderError(DataError):
    """A loader's worker processes died, are stuck, or cannot transfer a batch."""

    code = "loader"


class Loader(DataLoader[Batch]):
    """A DataLoader that re-raises an `AttnError` of a worker without the worker's traceback.

    Raises, when iterated:
        LoaderError: A worker died, or no batch arrived for minutes.
    """

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        results = cast("Iterator[Batch | AttnError]", self._start_iterator())
        while True:
            try:
                result = next(results)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                # An exception from a worker's own code ("Caught ...") is a programming error.
                if self.num_workers == 0 or str(error).startswith("Caught "):
                    raise
                raise _workers_failed(f"{type(error).__name__} {error}".strip()) from error
            if isinstance(result, AttnError):
                raise result
            yield result

    def _start_iterator(self) -> Any:
        if self.num_workers == 0:
            return super().__iter__()
        try:
            return super().__iter__()
        except (OSError, RuntimeError) as error:  # no semaphores or processes left, or workers died in an earlier epoch
            raise _workers_failed(f"{type(error).__name__} {error}".strip()) from error

    def _get_iterator(self) -> _BaseDataLoaderIter:
        if self.num_workers == 0:
            return super()._get_iterator()
        self.check_worker_number_rationality()
        return _WatchedIterator(self)


class _WatchedIterator(_MultiProcessingDataLoaderIter):
    """Gives up waiting after `STUCK_SECONDS` beyond the longest wait for storage.

    PyTorch's own timeout would also delay noticing dead workers.
    """

    waited = 0.0

    def _try_get_data(self, timeout: float = 5.0) -> Any:
        result = super()._try_get_data(timeout)
        self.waited = 0.0 if result[0] else self.waited + timeout
        if self.waited >= STUCK_SECONDS + longest_wait():
            raise RuntimeError(f"DataLoader: no batch for {self.waited:.0f} seconds")
        return result


def _workers_failed(reason: str) -> LoaderError:
    text = f"the worker processes that load images failed ({reason.splitlines()[0]})"
    if "seconds" in reason:
        return LoaderError(f"{text}: check the disk or object store of the images, or set cluster.data_workers=0")
    return LoaderError(f"{text}: were they killed, or out of memory? {describe_shared_memory()}; {HINT}")


def build_loader(
    dataset: AttentionDataset,
    batches: Iterable[Sequence[Key | int]],
    *,
    workers: int = 0,
    prefetch: int = PREFETCH,
    pin: bool | None = None,
) -> Loader:
    """Build a loader.

    Args:
        batches: A sampler, or lists of indices; iterated again for every epoch.
        workers: Number of worker processes, which are kept between epochs; 0: load in this process.
        prefetch: Number of batches that each worker prepares ahead.
        pin: Use page-locked memory; None: if CUDA is available.
    """
    process = {} if workers == 0 else _process_options(prefetch)
    return Loader(
        cast("Dataset[Batch]", _Batches(dataset)),
        batch_sampler=cast(Any, batches),
        num_workers=workers,
        collate_fn=cast(Any, _identity),
        pin_memory=torch.cuda.is_available() if pin is None else pin,
        # Without a generator of its own, each iteration would draw from the global one and so change dropout.
        generator=torch.Generator(),
        **process,
    )


class PositionLoader:
    """Loads images by their positions in the data, in batches; its worker processes are kept between calls.

    Args:
        size: Images of a batch.
        workers: As for `build_loader`.
    """

    def __init__(self, dataset: AttentionDataset, size: int, workers: int = 0) -> None:
        self._size, self._batches = size, list[range]()
        self._loader = build_loader(dataset, self._batches, workers=workers)

    def __call__(self, positions: range) -> Iterator[Batch]:
        """The batches of some images, in order; those of an earlier call must have been read to their end."""
        starts = range(0, len(positions), self._size)
        self._batches[:] = [positions[start : start + self._size] for start in starts]
        return iter(self._loader)


class _Batches:
    """Loads a whole batch at a time; returns an `AttnError` as the batch instead of raising it in the worker."""

    def __init__(self, dataset: AttentionDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key | int) -> Batch | AttnError:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key | int]) -> Batch | AttnError:
        try:
            # An image of an object store takes many times longer to arrive than to decode.
            load = map_in_threads if any(map(self._is_remote, keys)) else map
            batch = collate(list(load(self.dataset.__getitem__, keys)))
            return batch if get_worker_info() is None else _shared(batch)
        except AttnError as error:
            return error

    def _is_remote(self, key: Key | int) -> bool:
        image = self.dataset.source.records[key if isinstance(key, int) else key[1]].image
        return image is not None and is_remote(image)


def _shared(batch: Batch) -> Batch:
    """Move a batch to shared memory, so that it is transferred without a copy.

    PyTorch would do this in a thread that ignores errors; the receiver would then wait forever.

    Raises:
        LoaderError: There is not enough shared memory.
    """
    try:
        for tensor in (*vars(batch).values(), *batch.scaled):
            if isinstance(tensor, torch.Tensor) and tensor.numel():
                tensor.share_memory_()
    except RuntimeError as error:
        raise LoaderError(
            f"a batch of images does not fit into shared memory: {describe_shared_memory()}; {HINT}"
        ) from error
    return batch


def _process_options(prefetch: int) -> dict[str, Any]:
    # fork copies locked locks of Ray's and gRPC's threads and may hang; these two methods start clean processes.
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


def _identity(batch: Batch | AttnError) -> Batch | AttnError:
    return batch
