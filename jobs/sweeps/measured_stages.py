"""How long a pipeline takes: its trainings by a few steps, its other stages by a few images and untrained networks."""

from __future__ import annotations

__all__ = ["measured_pipeline"]

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn import progress
from attn.config.resolve import dump_config
from attn.data.source import Source, SourceConfig
from attn.data.source_cache import SourceCache
from attn.data.view import SourceView
from attn.errors import AttnError, RunError
from attn.pictures.preview import evenly_spaced
from attn.runs.maps import MapsConfig
from attn.runs.pipeline import PipelineConfig
from attn.runs.table import build_components
from attn.scratch import scratch_folder
from attn.segmentation.config import SegmentConfig
from attn.tracking.config import TrackingConfig
from attn.tracking.model_lookup import ModelLookup
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from jobs import maps
from jobs.runs.run_folder import RunFolder
from jobs.segment import write_masks
from jobs.stages.order import stages_of
from jobs.stages.outputs import MapsOutputs, PipelineOutputs, StageOutputs, TrainOutputs
from jobs.stages.stage import StageContext
from jobs.sweeps.costs import Costs, SecondsByPart, run_parts
from jobs.sweeps.estimate import Estimate, load_note
from jobs.sweeps.measured_steps import STEPS, images_of, measured_costs
from jobs.sweeps.plan import epochs_of
from jobs.training.hooks import TrainingRun, hooks_of

FEW, MORE = 4, 16
"""Images that a stage is run on: twice on the fewer ones, since the first run also imports, and then on more. The
difference between the last two is the time of the further images."""
TRAININGS = ("train", "integral", "segment")
SHOWN = 120
"""Characters of the reason why a stage was not measured."""


def measured_pipeline(config: PipelineConfig, start: tuple[float, float]) -> Estimate:
    """Measure the stages of a pipeline. It leaves no files.

    A stage that cannot be run with untrained networks is left out of the sum, and named in the estimate's source.

    Args:
        start: As `measured_start` gives it.

    Raises:
        AttnError: The data cannot be read, or a training does not fit them.
    """
    with scratch_folder() as folder, progress.task("measuring the stages", timed=False):
        rehearsal = _Rehearsal(config, str(folder))
        others, trainings = rehearsal.seconds(), rehearsal.trainings()
        costs = {name: measured_costs(training, start) for name, training in trainings.items()}
    load = max(one.load for one in costs.values())
    whole = Costs((0.0, 0.0, 0.0), "", load=load)  # of what has no epochs
    parts: SecondsByPart = {"start of Ray": start[0]}
    ranges: list[tuple[float, float]] = [whole.between(start[0], 0)]
    for name in (name for name in config.stages() if name not in rehearsal.failed):
        parts[name] = others.get(name, 0.0)
        ranges.append(whole.between(parts[name], 0))
        if name in costs:
            epochs = epochs_of(trainings[name])
            tracked = trainings[name].model_copy(update={"tracking": config.tracking})
            trained = sum(run_parts(tracked, costs[name], epochs, in_session=True).values())
            parts[name] += trained
            ranges.append(costs[name].between(trained, epochs))
    parts = {name: round(seconds, 1) for name, seconds in parts.items()}
    source = f"{STEPS} steps of each training and {rehearsal.more} images of each other stage, measured here and now"
    missing = "".join(f"; {name} is not measured: {reason[:SHOWN]}" for name, reason in rehearsal.failed.items())
    between = [round(math.fsum(bounds), 1) for bounds in zip(*ranges, strict=True)]
    return Estimate(round(sum(parts.values()), 1), between, source + load_note(load) + missing, parts)


class _FewImages(SourceCache):
    """The sources of a cache, each with few of its images.

    Attributes:
        sizes: Of the data that were asked for, by config: how many images there are, and how many of them are taken.
    """

    def __init__(self, whole: SourceCache, images: int) -> None:
        super().__init__()
        self.sizes: dict[str, tuple[int, int]] = {}
        self._whole, self._images = whole, images

    def get(self, config: SourceConfig, *, labels: bool = True) -> Source:
        source = self._whole.get(config, labels=labels)
        count = len(source.records)
        chosen = evenly_spaced(source.records, self._images) or list(range(min(self._images, count)))
        self.sizes[config.model_dump_json()] = count, len(chosen)
        return SourceView(source, chosen, source.classes)


@dataclass(frozen=True)
class _Timed:
    """A stage on few images.

    Attributes:
        images: How many the pipeline has, and how many they were.
    """

    seconds: float
    images: tuple[int, int]


class _Rehearsal:
    """The stages of a pipeline in a folder of their own, where untrained networks stand in for its trainings.

    Attributes:
        more: The larger number of images that stages are run on.
        failed: Why a stage could not be run, by its name.
    """

    def __init__(self, config: PipelineConfig, root: str) -> None:
        changes: dict[str, Any] = {"root": root, "tracking": _untracked(config.tracking)}
        for name, section in config.sections().items():
            if isinstance(section, RunConfig | ModelLookup):
                update: dict[str, Any] = {"root": root, "tracking": _untracked(section.tracking)}
                changes[name] = section.model_copy(update=update)
        changes["evaluation"] = changes["evaluation"].model_copy(update={"record_in_training": False})
        if config.maps is not None:
            output = config.maps.output.model_copy(update={"location": None})
            changes["maps"] = changes["maps"].model_copy(update={"output": output})
        self.config = config.model_copy(update=changes)
        integral = config.integral
        self.more = MORE if integral is None else max(MORE, images_of(integral, integral.cluster.most_workers))
        self.failed: dict[str, str] = {}
        self._root, self._whole = root, SourceCache()
        self._networks: dict[str, TrainOutputs] = {}
        self._accumulated: MapsOutputs | TrainOutputs | None = None

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage with all of its images; of trainings what they do besides."""
        first, again, last = (self._run(number, count) for number, count in enumerate((FEW, FEW, self.more)))
        seconds: dict[str, float] = {}
        for name in (name for name in last if name not in self.failed):
            of_all, few = first[name].images
            more = max(0.0, last[name].seconds - again[name].seconds) / max(1, last[name].images[1] - few)
            seconds[name] = first[name].seconds + (of_all - few) * more
        return seconds

    def trainings(self) -> dict[str, TrainConfig | SegmentConfig]:
        """The trainings by stage, after `seconds`: those that learn from maps have them for the few images."""
        config = self.config
        trainings: dict[str, TrainConfig | SegmentConfig] = {"train": config.train}
        if (accumulated := self._accumulated) is not None and config.integral is not None:
            trainings["integral"] = _learning_from(config.integral, accumulated)
        trainings["segment"] = config.segment
        if config.segment.retrain is not None:
            again = config.segment.second_round(labels=config.segment.labels, weights="")
            trainings["retrain"] = again.model_copy(update={"model": again.model.model_copy(update={"weights": None})})
        return trainings

    def _run(self, number: int, images: int) -> dict[str, _Timed]:
        """Run the stages on so many images."""
        sources, done, timed = _FewImages(self._whole, images), dict[str, StageOutputs](), dict[str, _Timed]()
        context = StageContext(self.config, PipelineOutputs(done), lambda *_: {}, sources)
        for name, stage in stages_of(self.config).items():
            if name in self.failed:
                continue
            folder = RunFolder(self._root, f"{name}-{number}")
            try:
                if name in ("train", "integral"):
                    done[name] = self._classifier(name, context, folder)
                    continue
                if name == "segment":
                    done[name] = self._untrained(name, self.config.segment, sources)
                    continue
                if name == "cues" and not self._has_maps(done):
                    raise RunError("the maps are missing")
                begun = time.perf_counter()
                if name == "retrain":
                    _write_masks(context, folder)
                    done[name] = context.outputs.segment
                else:
                    done[name] = stage.run(context, folder)
                timed[name] = _Timed(time.perf_counter() - begun, sources.sizes[self._data(name)])
            except AttnError as error:
                if name in TRAININGS:
                    raise
                self.failed[name] = str(error)
        return timed

    def _data(self, stage: str) -> str:
        """The key of a stage's data."""
        config = self.config
        maps_of = config.segment.data if config.maps is None else config.maps.data
        data = {"refine": config.data, "maps": maps_of, "evaluation": config.evaluation.data}
        return data.get(stage, config.segment.data).model_dump_json()

    def _has_maps(self, done: Mapping[str, StageOutputs]) -> bool:
        return "maps" in done or self.config.maps is None

    def _classifier(self, name: str, context: StageContext, folder: RunFolder) -> TrainOutputs:
        """An untrained classifier, with its maps of the few images if it accumulates."""
        config = self.config.train if name == "train" else self.config.integral
        assert config is not None, "a stage only where it is given"
        if name == "integral":
            self._accumulated = context.outputs.accumulated
            config = _learning_from(config, self._accumulated)
        outputs = self._untrained(name, config, context.sources)
        if not config.accumulates:
            return outputs
        wanted = MapsConfig(root=self._root, tracking=_untracked(config.tracking), data=config.data, input=config.input)
        written = maps.run(maps.MapsJob.open(outputs.model, wanted), run_id=folder.run_id, sources=context.sources)
        return outputs.model_copy(update={"store": written.store, "store_version": written.store_version})

    def _untrained(self, name: str, config: TrainConfig | SegmentConfig, sources: SourceCache) -> TrainOutputs:
        """A network as it is before its first step, saved as a trained one is."""
        if name not in self._networks:
            config = config.model_copy(update={"model": config.model.model_copy(update={"weights": None})})
            if isinstance(config, TrainConfig):
                config = config.model_copy(update={"store": config.store.model_copy(update={"accumulate": False})})
            folder = RunFolder(self._root, name)
            folder.write("config.yaml", dump_config(config))
            network = build_components(config, rank=0, world=1, sources=sources).network
            run, model = TrainingRun(config, folder, sources), folder.path("model")
            hooks_of(config).save(run, {"model": network.state_dict()}, Path(model))
            self._networks[name] = TrainOutputs(model=model, metrics={}, weights=None)
        return self._networks[name]


def _write_masks(context: StageContext, folder: RunFolder) -> None:
    """Write the masks that the second round learns from."""
    config, model = context.config.segment, context.outputs.segment.model
    source = context.sources.get(config.data)
    write_masks(config, source, model, lambda name, data: folder.write(name, data), context.address)


def _learning_from(config: TrainConfig, maps: MapsOutputs | TrainOutputs) -> TrainConfig:
    """The config of a training on stored maps."""
    update = {"maps": maps.store, "version": maps.store_version}
    return config.model_copy(update={"method": config.method.model_copy(update=update)})


def _untracked(tracking: TrackingConfig) -> TrackingConfig:
    """Without a record, and without the fields that need one: no notice says that these have no effect."""
    return tracking.model_copy(update={"enabled": False, "register_as": None, "alias": None})
