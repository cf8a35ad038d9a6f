"""Counts what the scores of a data set are computed from, by this process or a pool of others.

The images are counted in chunks, whose boundaries do not depend on the processes: nor do the scores.
"""

from __future__ import annotations

__all__ = ["Counted", "ModelCounting", "Observe", "StoreCounting", "count_images"]

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from attn import progress
from attn.data.dataset import AttentionDataset
from attn.data.loader import PositionLoader
from attn.data.source import Source
from attn.evaluation.accumulator import ScoreAccumulator
from attn.evaluation.evaluate import count
from attn.evaluation.faithfulness import Faithfulness
from attn.evaluation.inference import ImageMaps
from attn.evaluation.refined import MapRefinement
from attn.evaluation.stored import count_stored
from attn.maps.refine import Refiner
from attn.models.bundle import Bundle
from attn.models.device import choose_device
from attn.pictures.preview import evenly_spaced
from attn.runs.evaluate import EvaluateModelConfig, EvaluateStoreConfig
from attn.saliency.source import SaliencySource
from attn.store import Snapshot
from jobs.ray_cluster.worker_pool import Report, worker_pool

CHUNK = 64
"""Images of a chunk, at least."""
Observe = Callable[[ImageMaps], Any]
"""Is called with an image's maps, by the process that has counted it."""


@dataclass
class Counted:
    """What was counted of some images.

    Attributes:
        skipped: Ids of images that could not be read.
        observed: What the observer returned, but None, in the images' order.
        faithfulness: Insertion and deletion, where they are scored.
    """

    scores: ScoreAccumulator
    skipped: set[str]
    observed: list[Any] = field(default_factory=list)
    faithfulness: Faithfulness | None = None

    def merge(self, other: Counted) -> None:
        """Add the images of another one, which has none of this one's, after this one's."""
        self.scores.merge(other.scores)
        self.skipped |= other.skipped
        self.observed += other.observed
        if self.faithfulness is not None and other.faithfulness is not None:
            self.faithfulness.merge(other.faithfulness)


class Counting(Protocol):
    """Images to count; a copy goes to each process."""

    @property
    def images(self) -> int: ...

    @property
    def config(self) -> EvaluateModelConfig | EvaluateStoreConfig: ...

    def open(self) -> Callable[[range, Observe], Counted]:
        """What counts the images at some positions, with all that it needs on its device."""
        ...


@dataclass(frozen=True)
class ModelCounting:
    """Images that a classifier and its maps are scored on.

    Attributes:
        refiner: Of its maps.
        saliency: The same images with saliency.
    """

    bundle: Bundle
    config: EvaluateModelConfig
    source: Source
    refiner: Refiner | None = None
    saliency: SaliencySource | None = None

    @property
    def images(self) -> int:
        return len(self.source.records)

    def open(self) -> Callable[[range, Observe], Counted]:
        config, scored, source = self.config, self.config.evaluation, self.source
        device = choose_device(config.device)
        network = self.bundle.network.to(device)
        refinement = None if self.refiner is None else MapRefinement(self.refiner.to(device), source)
        dataset = AttentionDataset(
            source,
            config.input,
            train=False,
            with_masks=scored.maps,
            scales=config.maps.other_scales if scored.maps else (),
            crops=scored.crops == "ten",
            stride=self.bundle.network.config.output_stride,
        )
        load, inputs = PositionLoader(dataset, self.batch_size, config.data_workers), None
        chosen: Sequence[int] = ()
        if scored.faithfulness is not None:
            chosen = evenly_spaced(source.records, scored.faithfulness.images)
            inputs = AttentionDataset(source, config.input, train=False)

        def counted(positions: range, observe: Observe) -> Counted:
            faithfulness = None
            if scored.faithfulness is not None and inputs is not None:
                own = [position for position in chosen if position in positions]
                faithfulness = Faithfulness(network, inputs, own, scored.faithfulness)

            def observe_all(maps: ImageMaps) -> None:
                if faithfulness is not None:
                    faithfulness.add(maps)
                observe(maps)

            scores, skipped = count(
                network,
                load(positions),
                len(self.bundle.classes),
                scored,
                config.map_kind or self.bundle.map_kind,
                device,
                settings=config.maps,
                refinement=refinement,
                observe=observe_all,
                own=positions,
                saliency=self.saliency,
            )
            return Counted(scores, skipped, faithfulness=faithfulness)

        return counted

    @property
    def batch_size(self) -> int:
        return 1 if self.config.input.resize == "short_side" else self.config.batch_size  # only equal inputs batch


@dataclass(frozen=True)
class StoreCounting:
    """Images that stored maps are scored on.

    Attributes:
        before: Refinement that the stored maps have had already.
        given: Score maps of the given labels.
        probabilities: float64 (C,) by image id.
    """

    snapshot: Snapshot
    config: EvaluateStoreConfig
    source: Source
    refiner: Refiner | None
    before: dict[str, Any] | None
    given: bool
    probabilities: dict[str, NDArray[np.float64]] | None
    saliency: SaliencySource | None

    @property
    def images(self) -> int:
        return len(self.source.records)

    def open(self) -> Callable[[range, Observe], Counted]:
        device = choose_device("auto")
        refinement = None if self.refiner is None else MapRefinement(self.refiner.to(device), self.source)

        def counted(positions: range, observe: Observe) -> Counted:
            scores, skipped = count_stored(
                self.snapshot,
                self.source,
                positions,
                self.config.evaluation,
                refinement=refinement,
                before=self.before,
                given=self.given,
                probabilities=self.probabilities,
                observe=observe,
                saliency=self.saliency,
            )
            return Counted(scores, set(skipped))

        return counted


@dataclass(frozen=True)
class _Chunk:
    positions: range


class _Counter:
    """A process of the pool."""

    def __init__(self, job: tuple[Counting, Observe]) -> None:
        counting, self.observe = job
        self.count = counting.open()

    def __call__(self, chunk: _Chunk, report: Report) -> Counted:
        observed, images = list[Any](), 0

        def observe(maps: ImageMaps) -> None:
            nonlocal images
            if (result := self.observe(maps)) is not None:
                observed.append(result)
            images += 1
            report(images)

        counted = self.count(chunk.positions, observe)
        counted.observed = observed
        return counted


def count_images(
    counting: Counting, observe: Observe, address: str | None, *, gpu: bool, batch: int = 1, data_workers: int = 0
) -> Counted:
    """Count all images, each once.

    Args:
        address: A Ray cluster that does it; without one, this process or as many of this machine as the config says.
        batch: Chunks hold whole batches of so many images.
        gpu: As for `worker_pool`.
        data_workers: Processes that load data, for each that scores.
    """
    size = -(-CHUNK // batch) * batch
    chunks = [_Chunk(range(start, min(start + size, counting.images))) for start in range(0, counting.images, size)]
    whole: Counted | None = None
    with (
        progress.task("scoring", counting.images, "images") as reported,
        worker_pool(
            _Counter,
            (counting, observe),
            address=address,
            tasks=counting.config.tasks,
            gpu=gpu,
            helpers=data_workers,
        ) as pool,
    ):
        for counted in pool.run(chunks, reported.update):
            if whole is None:
                whole = copy.deepcopy(counted) if pool.on_ray else counted  # Ray's arrays may not be written to
            else:
                whole.merge(counted)
    assert whole is not None, "there are images"
    return whole
