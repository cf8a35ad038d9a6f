"""From images to a segmentation network's scores as one run: what is done with the same inputs is not done again.

Each stage is a run of its own beside the pipeline's, `<run id>-<stage>-<hash of its inputs>`, so that a stage with
other inputs is another run, and one that was interrupted is found again and gone on with.
"""

from __future__ import annotations

__all__ = ["LONGEST_ID", "resume", "run"]

import contextlib
import hashlib
import json
import time
from typing import Any

from rich.console import Console

from attn.config.document import read_document
from attn.data.classes import check_classes
from attn.data.content import Part, content
from attn.data.source import Source, SourceConfig
from attn.errors import ConfigError, RunError, TrackingError
from attn.files.locations import list_folders
from attn.parsing import load_json
from attn.run_state import RunState
from attn.runs.pipeline import PipelineConfig, read_pipeline
from attn.tracking import children_of
from attn.training.inputs import check_inputs
from attn.training.sources import overlap_notices
from jobs.ray_cluster.session import ray_session
from jobs.runs.lifecycle import LiveRun, begin_or_continue, claim, warned
from jobs.runs.run_folder import RunFolder, new_run_id
from jobs.stages import Stage, Work, is_intact, stages_of

RECORD = "stage.json"
"""In a stage's folder, once it is done: its inputs, and what it has left."""
KEY_LENGTH = 8
LONGEST_ID = 60
WIDTH = 11


def run(
    config: PipelineConfig,
    *,
    run_id: str | None = None,
    start: str | None = None,
    address: str | None = None,
    of_others: bool = False,
) -> dict[str, Any]:
    """Run a pipeline to its end, or go on with it: stages whose inputs have not changed are reused.

    Args:
        run_id: A name of the user's own; the same again goes on. Without one: methods, time and a random part.
        start: The stage from which on all are run again, whatever there is.
        address: A Ray cluster to join; without one, Ray runs in this process's machine, once for all stages.
        of_others: Reuse stages of other pipelines under the same root too, as trials of a sweep do.

    Returns:
        `run_id`, `folder`, `scores` (of the masks, and `cue_...` of the cues), `model` (the segmentation network's
        bundle), `masks` (folder), `stages` (by name: `run_id`, `folder`, `reused`, `seconds`), `tracking_run`,
        `seconds`.

    Raises:
        ConfigError: There is no such stage.
        RunError: The id is taken by another kind of run, or the pipeline is running.
        AttnError: What a stage raises.
    """
    clock, stages = time.monotonic(), stages_of(config)
    if start is not None and start not in stages:
        raise ConfigError(f"--from {start}: this pipeline has the stages {', '.join(stages)}")
    folder = RunFolder(config.root, run_id or new_run_id(config.title))
    before = _claimed(folder)
    data = _Data()
    data.check(config)
    attempts = dict(before.attempts) if before is not None and isinstance(before.attempts, dict) else {}
    again = [name for name in (before.again or [] if before is not None else []) if name in stages]
    if start is not None:
        names = list(stages)
        again = names[names.index(start) :]
    with begin_or_continue(
        "pipeline",
        config,
        folder,
        recorded=config,
        data=data.of(config.data).fingerprint(),
        fields={"again": again},
        kept=("attempts", "stages"),
    ) as live:
        pipeline = _Pipeline(config, live, attempts, again, data, address, of_others)
        with children_of(live.tracking_run):
            pipeline.run(stages)
        scores = _scores(pipeline.made)
        live.tracker.log_metrics(scores, 0)
        live.outputs |= {"scores": scores, "metrics": scores}
    return {
        "run_id": folder.run_id,
        "folder": folder.uri,
        "scores": scores,
        "model": (pipeline.made.get("retrain") or pipeline.made["segment"])["model"],
        "masks": pipeline.made["evaluation"]["masks"],
        "stages": pipeline.told,
        "tracking_run": live.tracking_run,
        "seconds": round(time.monotonic() - clock, 1),
    }


def resume(run_id: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
    """Go on with a pipeline by the config that it began with.

    Args:
        run_id: A pipeline's id under `root`, or its folder.

    Returns:
        As `run`.
    """
    folder = RunFolder.of(run_id, root)
    text = folder.read_text("config.yaml")
    config = read_pipeline(text, folder.path("config.yaml"), [f"root={folder.root}"] if _moved(text, folder) else [])
    return run(config, run_id=folder.run_id, address=address)


class _Data:
    """Data sets, each built once, and each of their files looked at once."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._contents: dict[tuple[str, tuple[Part, ...]], str] = {}

    def of(self, config: SourceConfig) -> Source:
        name = config.model_dump_json()
        if name not in self._sources:
            self._sources[name] = config.build()
        return self._sources[name]

    def inputs(self, config: SourceConfig, parts: tuple[Part, ...]) -> dict[str, str]:
        """What a stage that reads these parts of the data depends on."""
        source, key = self.of(config), (config.model_dump_json(), parts)
        if key not in self._contents:
            self._contents[key] = content(source, parts)
        return {"fingerprint": source.fingerprint(), "content": self._contents[key]}

    def check(self, config: PipelineConfig) -> None:
        """Find before the first stage what would stop a later one: inputs, data, classes, weights of networks."""
        check_inputs(config)
        classes = tuple(self.of(config.data).classes)
        sections = {"segment": config.segment.data, "evaluation": config.evaluation.data}
        sections |= {"integral": config.integral.data} if config.integral else {}
        sections |= {"maps": config.maps.data} if config.maps else {}
        for name, section in sections.items():
            check_classes(classes, self.of(section).classes, what="train.data", of=f"{name}.data")
        for training in filter(None, (config.train, config.integral, config.segment)):
            if training.validation.split is not None:
                validated = training.data.model_copy(update={"split": training.validation.split})
                overlap_notices(training, self.of(training.data), self.of(validated))  # the stage tells them
        config.segment.model.build(classes)


class _Pipeline:
    """One pass over the stages.

    Args:
        attempts: By stage and key of its inputs, how often it has been begun anew.
        again: Stages to be begun anew, whatever there is; each leaves the list once it has begun.

    Attributes:
        made: What each stage has left.
        told: What is known of each stage, for the run's state and the result.
    """

    def __init__(
        self,
        config: PipelineConfig,
        live: LiveRun,
        attempts: dict[str, int],
        again: list[str],
        data: _Data,
        address: str | None,
        of_others: bool,
    ) -> None:
        self.config, self.live, self.data, self.address = config, live, data, address
        self.folder = live.folder
        self.attempts, self.again, self.of_others = attempts, again, of_others
        self.made: dict[str, dict[str, Any]] = {}
        self.told: dict[str, dict[str, Any]] = {}
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)

    def run(self, stages: dict[str, Stage]) -> None:
        with contextlib.ExitStack() as session:
            on_ray = False
            for name, stage in stages.items():
                work = Work(self.config, self.made, self.data.inputs, self.address)
                inputs = json.loads(json.dumps(stage.inputs(work)))
                folder, found = self._find(name, inputs)
                if found is not None:
                    self._done(name, stage, folder, found, reused=True)
                    continue
                self._say(name, f"running as {folder.run_id}")
                self.told[name] = {"run_id": folder.run_id, "folder": folder.uri, "state": "running"}
                self.folder.update(stages=self.told, attempts=self.attempts, again=self.again)
                if stage.on_ray and not on_ray:
                    session.enter_context(ray_session(self.address))
                    on_ray = True
                begun = time.monotonic()
                outputs = stage.run(work, folder)
                found = {"inputs": inputs, "outputs": outputs, "seconds": round(time.monotonic() - begun, 1)}
                folder.write(RECORD, json.dumps(found, indent=1))
                self._done(name, stage, folder, found, reused=False)

    def _find(self, name: str, inputs: dict[str, Any]) -> tuple[RunFolder, dict[str, Any] | None]:
        """A stage's folder, and its record where it is done and intact; else it is to be run there, or gone on with."""
        key = f"{name}-{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]}"
        anew = name in self.again
        if anew:
            self.again.remove(name)
            self.attempts[key] = self.attempts.get(key, 0) + 1
        while True:
            attempt = self.attempts.get(key, 0)
            folder = RunFolder(self.folder.root, f"{self.folder.run_id}-{key}" + (f"-{attempt + 1}" if attempt else ""))
            found = _record(folder)
            if found is None or (not anew and is_intact(found["outputs"])):
                break
            self.attempts[key] = attempt + 1
            if not anew:
                self._say(name, f"what {folder.run_id} has left is gone or changed")
        return self._others(folder) if found is None and self.of_others and not attempt else (folder, found)

    def _others(self, folder: RunFolder) -> tuple[RunFolder, dict[str, Any] | None]:
        """A stage of another pipeline that has done the same; else this one's folder and nothing."""
        same = folder.run_id.removeprefix(self.folder.run_id)
        for run_id in list_folders(folder.root):
            other = RunFolder(folder.root, run_id)
            if run_id.endswith(same) and (found := _record(other)) is not None and is_intact(found["outputs"]):
                return other, found
        return folder, None

    def _done(self, name: str, stage: Stage, folder: RunFolder, found: dict[str, Any], *, reused: bool) -> None:
        self.made[name] = found["outputs"]
        how = "done (reused)" if reused else f"done in {found['seconds']:.0f} s"
        self._say(name, ": ".join(filter(None, (how, stage.told(found["outputs"])))))
        fields = {"run_id": folder.run_id, "folder": folder.uri, "reused": reused, "seconds": found["seconds"]}
        self.told[name] = {**fields, "state": "done"}
        with warned("a stage could not be recorded", TrackingError):
            self.live.tracker.set_tags({f"attn.stage.{name}": folder.run_id})
        self.folder.update(stages=self.told, attempts=self.attempts, again=self.again)

    def _say(self, name: str, text: str) -> None:
        self.console.print(f"{name:<{WIDTH}} {text}", markup=False)


def _record(folder: RunFolder) -> dict[str, Any] | None:
    """What a stage has left; None where it has not ended, or what it wrote of it is damaged."""
    if not folder.exists(RECORD):
        return None
    try:
        found = load_json(folder.read(RECORD))
    except ValueError:
        return None
    whole = isinstance(found, dict) and isinstance(found.get("seconds"), int | float)
    return found if whole and isinstance(found.get("inputs"), dict) and isinstance(found.get("outputs"), dict) else None


def _claimed(folder: RunFolder) -> RunState | None:
    """The state of the pipeline as it was left; None of a new one."""
    if len(folder.run_id) > LONGEST_ID:
        raise RunError(
            f"run id {folder.run_id!r} is too long for a pipeline, whose stages add to it: {LONGEST_ID} at most"
        )
    return claim(folder, "pipeline", again=True)


def _scores(made: dict[str, dict[str, Any]]) -> dict[str, float]:
    quality = made["cues"]["quality"]
    return made["evaluation"]["scores"] | {f"cue_{name}": value for name, value in quality.items()}


def _moved(text: str, folder: RunFolder) -> bool:
    """Whether a pipeline's folder lies somewhere else than its config says."""
    root = read_document(text, "config.yaml").values.get("root")
    return root is None or RunFolder.of(folder.run_id, root).uri != folder.uri
