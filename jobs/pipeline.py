"""From images to a segmentation network's scores as one run; a stage with the same inputs is not run twice.

Each stage is a run of its own beside the pipeline's, `<run id>-<stage>-<hash of its inputs>`. A stage with other inputs
is therefore another run, and an interrupted stage is found by its inputs and continued.
"""

from __future__ import annotations

__all__ = ["PipelineResult", "resume", "run"]

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

from attn import progress
from attn.config.document import override_of, read_document
from attn.errors import ConfigError, RunError, TrackingError
from attn.files.locations import list_folders
from attn.run_state import RunState, StageState
from attn.runs.pipeline import PipelineConfig, read_pipeline
from attn.runs.result import ComposedResult
from attn.runs.table import KINDS
from attn.tracking import DataUsed, children_of
from jobs.ray_cluster.session import ray_session
from jobs.runs.claim import claim
from jobs.runs.lifecycle import LiveRun, begin_or_continue, warned
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.runs.starting import starting
from jobs.stages.cues import CuesStage
from jobs.stages.data import PipelineData
from jobs.stages.order import stages_of
from jobs.stages.outputs import PipelineOutputs, StageOutputs
from jobs.stages.record import StageRecord
from jobs.stages.stage import Stage, StageContext

KEY_LENGTH = 8
WIDTH = 11


@dataclass(frozen=True, kw_only=True)
class PipelineResult(ComposedResult):
    """A pipeline that is done.

    Attributes:
        scores: Of the masks, and `cue_...` of the cues.
        model: The segmentation network.
        masks: Folder of the masks; None where they were not kept.
        cues: Where saliency and threshold of the cues are from, in words, by name.
        notes: What to know of the scores, such as images that do not count.
    """

    masks: str | None
    cues: dict[str, str]
    notes: list[str]
    stages: dict[str, StageState]
    tracking_run: str | None
    seconds: float


def run(
    config: PipelineConfig,
    *,
    run_id: str | None = None,
    start: str | None = None,
    address: str | None = None,
    of_others: bool = False,
) -> PipelineResult:
    """Run a pipeline to its end, or continue it. Stages with unchanged inputs are reused.

    Args:
        run_id: A pipeline of this name is continued. If left out: methods, time and a random part.
        start: This stage and all after it are run again.
        address: A Ray cluster to join; without one, Ray runs on this machine, once for all stages.
        of_others: Reuse stages of other pipelines under the same root too, as trials of a sweep do.

    Raises:
        ConfigError: There is no such stage.
        RunError: The id is taken by another kind of run, or the pipeline is running.
        AttnError: Raised by a stage.
    """
    clock, stages = time.monotonic(), stages_of(config)
    if start is not None and start not in stages:
        raise ConfigError(f"--from {start}: this pipeline has the stages {', '.join(stages)}")
    folder = RunFolder(config.root, run_id or new_run_id(config.title))
    before = _claimed(folder)
    attempts = dict(before.attempts) if before is not None and isinstance(before.attempts, dict) else {}
    again = [name for name in (before.again or [] if before is not None else []) if name in stages]
    if start is not None:
        names = list(stages)
        again = names[names.index(start) :]
    data = PipelineData()
    with contextlib.ExitStack() as begun:
        begun.enter_context(starting(folder, "pipeline"))
        data.check(config, cues_there="cues" not in again and _has_cues(before, config.root))
        live = begun.enter_context(
            begin_or_continue(
                "pipeline",
                config,
                folder,
                recorded=config,
                data=DataUsed.of(config.data, data.sources.get(config.data)),
                fields={"again": again, "stage_names": list(stages)},
                kept=("attempts", "stages"),
            )
        )
        pipeline = _Pipeline(config, live, attempts, again, data, address, of_others)
        with children_of(live.tracking_run):
            pipeline.run(stages)
        scores = _scores(pipeline.outputs)
        live.tracker.log_metrics(scores, 0)
        cues, notes = pipeline.outputs.cues.origin(), _notes(pipeline.outputs)
        live.outputs |= {"scores": scores, "metrics": scores, "cues": cues, "notes": notes}
    return PipelineResult(
        run_id=folder.run_id,
        folder=folder.uri,
        scores=scores,
        model=pipeline.outputs.segmenter.model,
        masks=pipeline.outputs.evaluation.masks,
        cues=cues,
        notes=notes,
        stages=pipeline.states,
        tracking_run=live.tracking_run,
        seconds=round(time.monotonic() - clock, 1),
    )


def resume(run_id: str, *, root: str = "runs", address: str | None = None) -> PipelineResult:
    """Continue a pipeline by the config that it began with.

    Args:
        run_id: A pipeline's id under `root`, or its folder.
    """
    folder = RunFolder.of(run_id, root)
    text = folder.read_text("config.yaml")
    moved = [override_of("root", folder.root)] if _moved(text, folder) else []
    config = read_pipeline(text, folder.path("config.yaml"), moved)
    return run(config, run_id=folder.run_id, address=address)


class _Pipeline:
    """One pass over the stages.

    Args:
        attempts: By stage and key of its inputs, how often it has been begun anew.
        again: Stages to be begun anew, whatever there is; each leaves the list once it has begun.

    Attributes:
        states: Of the stages so far, for the run's state and the result.
    """

    def __init__(
        self,
        config: PipelineConfig,
        live: LiveRun,
        attempts: dict[str, int],
        again: list[str],
        data: PipelineData,
        address: str | None,
        of_others: bool,
    ) -> None:
        self.config, self.live, self.data, self.address = config, live, data, address
        self.folder = live.folder
        self.attempts, self.again, self.of_others = attempts, again, of_others
        self.done: dict[str, StageOutputs] = {}
        self.states: dict[str, StageState] = {}

    @property
    def outputs(self) -> PipelineOutputs:
        return PipelineOutputs(self.done)

    def run(self, stages: dict[str, Stage]) -> None:
        with contextlib.ExitStack() as session, progress.task("pipeline", len(stages), "stages", timed=False) as shown:
            on_ray = False
            for number, (name, stage) in enumerate(stages.items()):
                shown.update(number, detail=name)
                context = StageContext(self.config, self.outputs, self.data.inputs, self.data.sources, self.address)
                inputs = json.loads(json.dumps(stage.inputs(context)))
                folder, done = self._find(name, stage, inputs)
                if done is not None:
                    self._end(name, folder, *done, reused=True)
                    continue
                self._say(name, f"running as {folder.run_id}")
                self.states[name] = StageState(run_id=folder.run_id, folder=folder.uri, state="running")
                self._note()
                if stage.on_ray and not on_ray:
                    session.enter_context(ray_session(self.address))
                    on_ray = True
                before, begun = _seconds_before(folder), time.monotonic()
                outputs = stage.run(context, folder)
                record = StageRecord(inputs, outputs.to_json(), round(before + time.monotonic() - begun, 1))
                record.write(folder)
                self._end(name, folder, outputs, record.seconds, reused=False)
            shown.update(len(stages), detail="")

    def _find(
        self, name: str, stage: Stage, inputs: dict[str, Any]
    ) -> tuple[RunFolder, tuple[StageOutputs, float] | None]:
        """A stage's folder, and its outputs and seconds where it is done and intact; else it is to be run there."""
        key = f"{name}-{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]}"
        anew = name in self.again
        if anew:
            self.again.remove(name)
            self.attempts[key] = self.attempts.get(key, 0) + 1
        while True:
            attempt = self.attempts.get(key, 0)
            folder = RunFolder(self.folder.root, f"{self.folder.run_id}-{key}" + (f"-{attempt + 1}" if attempt else ""))
            if (record := StageRecord.read(folder)) is None:
                break
            if not anew and (outputs := stage.outputs.read(record.outputs)) is not None:
                return folder, (outputs, record.seconds)
            self.attempts[key] = attempt + 1
            if not anew:
                self._say(name, f"the results of {folder.run_id} are gone or changed")
        return self._others(stage, folder) if self.of_others and not attempt else (folder, None)

    def _others(self, stage: Stage, folder: RunFolder) -> tuple[RunFolder, tuple[StageOutputs, float] | None]:
        """A stage of another pipeline that has done the same; else this one's folder and nothing."""
        same = folder.run_id.removeprefix(self.folder.run_id)
        for run_id in filter(lambda name: name.endswith(same), list_folders(folder.root)):
            other = RunFolder(folder.root, run_id)
            record = StageRecord.read(other)
            if record is not None and (outputs := stage.outputs.read(record.outputs)) is not None:
                return other, (outputs, record.seconds)
        return folder, None

    def _end(self, name: str, folder: RunFolder, outputs: StageOutputs, seconds: float, *, reused: bool) -> None:
        self.done[name] = outputs
        how = "done (reused)" if reused else f"done in {seconds:.0f} s"
        self._say(name, ": ".join(filter(None, (how, outputs.summary()))))
        self.states[name] = StageState(
            run_id=folder.run_id, folder=folder.uri, reused=reused, seconds=seconds, state="done"
        )
        with warned("a stage could not be recorded", TrackingError):
            self.live.tracker.set_tags({f"attn.stage.{name}": folder.run_id})
        self._note()

    def _note(self) -> None:
        stages = {name: state.to_json() for name, state in self.states.items()}
        self.folder.update(stages=stages, attempts=self.attempts, again=self.again)

    def _say(self, name: str, text: str) -> None:
        progress.say(f"{name:<{WIDTH}} {text}")


def _has_cues(before: RunState | None, root: str) -> bool:
    """Whether the pipeline has made its cues, and they are intact."""
    state = (before.stages or {}).get("cues") if before is not None else None
    record = None if state is None or state.state != "done" else StageRecord.read(RunFolder(root, state.run_id))
    return record is not None and CuesStage.outputs.read(record.outputs) is not None


def _seconds_before(folder: RunFolder) -> float:
    """How long earlier attempts at a stage took."""
    return (folder.state().seconds or 0.0) if folder.exists() else 0.0


def _claimed(folder: RunFolder) -> RunState | None:
    """The state of the pipeline as it was left; None of a new one."""
    longest = KINDS["pipeline"].longest_id
    if len(folder.run_id) > longest:
        raise RunError(
            f"run id {folder.run_id!r} is too long for a pipeline, whose stages add to it: {longest} at most"
        )
    return claim(folder, "pipeline", again=True)


def _scores(outputs: PipelineOutputs) -> dict[str, float]:
    return outputs.evaluation.scores | {f"cue_{name}": value for name, value in outputs.cues.quality.items()}


def _notes(outputs: PipelineOutputs) -> list[str]:
    return [f"cues: {note}" for note in outputs.cues.notes] + [f"masks: {note}" for note in outputs.evaluation.notes]


def _moved(text: str, folder: RunFolder) -> bool:
    """Return whether a pipeline's folder lies somewhere else than its config says."""
    root = read_document(text, "config.yaml").values.get("root")
    return root is None or RunFolder.of(folder.run_id, root).uri != folder.uri
