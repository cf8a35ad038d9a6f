"""From a training step's maps to the map store: normalised, gated, put back into the image's frame (OAA, section 3.2).

Maps are sealed and committed before each checkpoint: `Accumulator.checkpoint` and `finish_epoch` commit the version
that the checkpoint names, and `begin` continues from exactly that version.

Shapes: B images, C classes, N (image, class) pairs in the order of `pairs_of`, R rows of the store, h×w map, H×W input.
"""

from __future__ import annotations

__all__ = ["Accumulator", "create_store", "in_image_frame", "map_grid"]

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attn import store as map_store
from attn.data.geometry import Geometry
from attn.data.sample import Batch
from attn.data.transforms import InputConfig
from attn.evaluation.inference import evaluating
from attn.losses import gate
from attn.maps import normalize_max
from attn.methods.base import Method, StepMaps
from attn.models.network import Network
from attn.store import DeltaRef, MapStore, Session, StoreError, Writer
from attn.store.protocol.session import Map
from attn.training.classifier import ClassifierComponents
from attn.training.config import StoreConfig
from attn.training.world import World

BUFFER_BYTES = 256 << 20
"""A worker seals its maps when it holds this many bytes."""
SHOWN = 5

# Status of a row in an epoch: the greatest over its visits and over the workers.
UNSEEN, UNREADABLE, DROPPED, ACCEPTED = range(4)


def create_store(uri: str, config: StoreConfig, input: InputConfig, components: ClassifierComponents) -> MapStore:
    """Make a run's store, with a row for every label of every training image; open it if it exists and is the same.

    Raises:
        StoreError: It cannot be made, or the existing store differs.
    """
    source = components.source
    return map_store.create(
        uri,
        rows=[(record.image_id, label) for record in source.records for label in record.labels],
        grid=config.grid or map_grid(components.network, components.method, input),
        fusion=config.fusion,
        classes=source.classes,
        fingerprint=source.fingerprint(),
        exist_ok=True,
    )


def map_grid(network: Network, method: Method, input: InputConfig) -> tuple[int, int]:
    """(h, w) of the method's maps of an input of `input.size`; square where inputs keep their aspect."""
    size = (input.size, input.size) if isinstance(input.size, int) else input.size
    device = next(network.parameters()).device
    with evaluating(network), torch.no_grad():
        features = network(torch.zeros(1, 3, *size, device=device)).features[method.layer]
    return features.shape[2], features.shape[3]


def in_image_frame(
    maps_Nhw: Tensor, pairs_N2: Tensor, geometry: Sequence[Geometry], grid: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Convert maps of inputs to maps of the whole images: undo flips, crops and resizing.

    Args:
        pairs_N2: Ordered by image; the first column indexes `geometry`.

    Returns:
        The maps (N, *grid), 0 outside the crop, and bool (N, *grid): True where the centre of a position lies in the
        crop.
    """
    framed = maps_Nhw.new_empty((len(maps_Nhw), *grid))
    seen = torch.ones((len(maps_Nhw), *grid), dtype=torch.bool, device=maps_Nhw.device)
    images, starts = np.unique(pairs_N2[:, 0].numpy(), return_index=True)
    for image, (start, stop) in zip(images.tolist(), pairwise([*starts.tolist(), len(maps_Nhw)]), strict=True):
        maps, view = maps_Nhw[start:stop], geometry[image]
        if view.is_whole and tuple(maps.shape[1:]) == grid:
            framed[start:stop] = maps.flip(-1) if view.flip else maps
        else:
            framed[start:stop], seen[start:stop] = view.to_image(maps, grid)
    return framed, seen


class Accumulator:
    """Accumulates one worker's maps; that of the first worker also commits.

    Args:
        run: The run's name in the store.
        epochs: Number of epochs of the run; the last one gives fallback maps.
        map_tasks: Applies the store's merge to each of its tasks, like the built-in `map`.
    """

    def __init__(
        self, config: StoreConfig, store: MapStore, run: str, world: World, epochs: int, map_tasks: Map = map
    ) -> None:
        self.config, self.store, self.run, self.world, self.epochs, self.map_tasks = (
            config, store, run, world, epochs, map_tasks,
        )  # fmt: skip
        self._status_R = np.zeros(len(store.rows), np.uint8)
        self._session: Session | None = None
        self._writer: Writer | None = None

    @property
    def version(self) -> int:
        """The newest committed version; before the first commit, the one it began from. Valid on the first worker."""
        return self._open()[0].version

    def wants(self, epoch: int) -> bool:
        """Return whether maps of an epoch, counted from 0, are accumulated."""
        return epoch >= self.config.start_epoch

    def begin(self, state: dict[str, Any] | None) -> None:
        """Continue from a checkpoint, or begin an empty run. Earlier attempts of the run can no longer commit.

        Args:
            state: The shared part of a checkpoint, with the fields of `state`, by any number of workers.

        Raises:
            TrainingStopped: The version is gone or damaged.
        """
        version = state["store_version"] if state else 0
        first = self.world.rank == 0
        begun = self.world.all_or_raise(lambda: self.store.begin(self.run, from_version=version) if first else None)
        session = self.world.gather(begun)[0]
        assert session is not None, "the first worker begins the session"
        self._session, self._writer = session, session.writer(self.world.rank, limit_bytes=BUFFER_BYTES)
        if state and first:
            self._status_R = state["store_status"].numpy().copy()

    def add(self, batch: Batch, maps: StepMaps, epoch: int) -> None:
        """Add a step's maps.

        Raises:
            MapError: A map is not finite.
        """
        _, writer = self._open()
        for image_id in batch.skipped:
            start, stop = self.store.rows.find(image_id)
            self._reached(np.arange(start, stop), UNREADABLE)
        labels_BC = batch.host_labels
        pairs_N2 = batch.pairs
        if len(pairs_N2) == 0:
            return
        accepted_N = gate(maps.logits.double().sigmoid().cpu(), labels_BC, rule=self.config.gate)
        rows_N = self.store.rows.numbers([(batch.records[image].image_id, label) for image, label in pairs_N2.tolist()])
        self._reached(rows_N[~accepted_N.numpy()], DROPPED)
        self._reached(rows_N[accepted_N.numpy()], ACCEPTED)
        maps_Nhw = maps.maps.to(torch.promote_types(maps.maps.dtype, torch.float32)).cpu()
        for taken_N, fallback in ((accepted_N, False), (~accepted_N, True)):
            if bool(taken_N.any()) and (not fallback or self._falls_back(epoch)):
                framed, seen = in_image_frame(
                    normalize_max(maps_Nhw[taken_N]), pairs_N2[taken_N], batch.geometry, self.store.grid
                )
                writer.add_many(rows_N[taken_N.numpy()], framed.numpy(), seen_Nhw=seen.numpy(), fallback=fallback)

    def checkpoint(self, epoch: int) -> None:
        """Within an epoch, commit a version that records the sealed maps without merging them."""
        if not self.wants(epoch):
            return
        self._status_R = self.world.maximum(self._status_R)
        refs = self._seal(epoch)
        self.world.all_or_raise(lambda: self._commit(epoch, refs, None, pending=True))

    def finish_epoch(self, epoch: int) -> dict[str, float]:
        """Merge and commit an epoch's maps.

        Returns:
            Numbers of rows: with a map accepted in this epoch, with a dropped map, and with only a fallback map in the
            store. Empty before the first accumulated epoch.

        Raises:
            TrainingStopped: No worker saw a row, an accepted map is missing, or the store fails.
        """
        if not self.wants(epoch):
            return {}
        status_R = self.world.maximum(self._status_R)
        refs = self._seal(epoch)
        fallbacks = self.world.gather(self.world.all_or_raise(lambda: self._finish(epoch, refs, status_R)))[0]
        self._status_R = np.zeros_like(status_R)
        return {
            "store/accepted": float((status_R == ACCEPTED).sum()),
            "store/dropped": float((status_R == DROPPED).sum()),
            "store/fallback": float(fallbacks),
        }

    def state(self) -> dict[str, Any]:
        """The fields that a checkpoint keeps, of types that `torch.load(weights_only=True)` accepts."""
        return {"store_version": self.version, "store_status": torch.from_numpy(self._status_R.copy())}

    def publish(self, version: int) -> None:
        """Let readers see a version, once a durable checkpoint names it; on the first worker."""
        self._open()[0].publish(version)

    def _open(self) -> tuple[Session, Writer]:
        assert self._session is not None, "begin() comes first"
        assert self._writer is not None, "begin() makes both"
        return self._session, self._writer

    def _falls_back(self, epoch: int) -> bool:
        return self.config.fallback == "last" and epoch + 1 == self.epochs

    def _reached(self, rows: NDArray[np.int64], status: int) -> None:
        self._status_R[rows] = np.maximum(self._status_R[rows], status)

    def _seal(self, epoch: int) -> list[DeltaRef]:
        _, writer = self._open()
        return self.world.gather(self.world.all_or_raise(lambda: writer.seal(epoch)))

    def _finish(self, epoch: int, refs: list[DeltaRef], status_R: NDArray[np.uint8]) -> int:
        if self.world.rank != 0:
            return 0
        unseen = np.flatnonzero(status_R == UNSEEN)
        if len(unseen):
            names = ", ".join(f"{image_id} class {label}" for image_id, label in self.store.rows.pairs(unseen[:SHOWN]))
            raise StoreError(
                f"epoch {epoch + 1}: {len(unseen)} of the store's {len(status_R)} rows were in no worker's share of "
                f"the images ({names}{', ...' if len(unseen) > SHOWN else ''}): the data has changed since the store "
                "was made, or a worker's maps are lost"
            )
        promised = np.flatnonzero(status_R >= (DROPPED if self._falls_back(epoch) else ACCEPTED))
        self._commit(epoch, refs, promised, pending=False)
        return self._open()[0].fallbacks

    def _commit(self, epoch: int, refs: list[DeltaRef], promised: NDArray[np.int64] | None, *, pending: bool) -> None:
        session, _ = self._open()
        if self.world.rank == 0:
            session.commit(epoch, refs, expected=promised, pending=pending, tentative=True, map=self.map_tasks)
