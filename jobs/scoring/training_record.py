"""Scores of a trained model, added to the record of its training."""

from __future__ import annotations

__all__ = ["TrainingRecord", "add_to_training", "find_training"]

import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from attn.config.document import dump_values, read_document
from attn.config.resolve import resolve
from attn.errors import AttnError, TrackingError
from attn.evaluation.score import Score
from attn.files.locations import stem_of
from attn.registry.lookup import is_registered_name
from attn.tracking.address import display_uri, registry_uri, tracking_uri
from attn.tracking.buffered_tracker import BufferedTracker
from attn.tracking.model_lookup import ModelLookup
from jobs.runs.lifecycle import LiveRun, Tracked, warned
from jobs.runs.run_folder import RunFolder
from jobs.scoring.plain_scores import PlainScores


@dataclass(frozen=True)
class TrainingRecord:
    """Where the training of a model is recorded.

    Attributes:
        run: MLflow's id of the run.
        uri: The server or database.
    """

    run: str
    uri: str


def find_training(model: str, lookup: Tracked) -> TrainingRecord | None:
    """The record of a model's training; None if it is unknown or was not recorded.

    Args:
        model: As the user names it.
        lookup: Says where models are looked up by name.
    """
    try:
        if is_registered_name(model):
            from attn.registry.mlflow_registry import Registry

            uri = registry_uri(lookup.tracking, lookup.root)
            return TrainingRecord(Registry(uri).find(model).tracking_run, uri)
        folder = RunFolder.of(model.rstrip("/").removesuffix("/model"), lookup.root)
        run = folder.state().tracking_run if folder.exists() else None
        if run is None or not folder.exists("config.yaml"):
            return None
        section = read_document(folder.read_text("config.yaml"), folder.path("config.yaml")).values.get("tracking")
        text = dump_values({"tracking": section or {}})
        return TrainingRecord(run, tracking_uri(resolve(ModelLookup, text, "config.yaml", []).tracking, folder.root))
    except AttnError:  # a damaged folder, or a model that is no run's
        return None


def add_to_training(
    live: LiveRun, config: Tracked, model: str, scores: Mapping[str, Score], plain: PlainScores
) -> None:
    """Add scores to the record of a model's training, as `scores/SPLIT/NAME`, each with its protocol's hash as a tag.

    A score that was taken another way than the plain one is `scores/SPLIT/WAY/NAME`, and replaces no plain one.
    They are sent only to the server of the config. If the record is not there, a notice says so.
    """
    training = find_training(model, config) if scores else None
    if training is None:
        return
    with warned("the scores could not be added to the record of the training", TrackingError):
        uri = tracking_uri(config.tracking, config.root)
        if uri != training.uri:
            _notice(f"it is in {display_uri(training.uri)}, not in {display_uri(uri)}: set tracking.uri")
            return
        own = live.tracker
        tracker = own if isinstance(own, BufferedTracker) else BufferedTracker(uri, "", live.folder.uri)
        with contextlib.suppress(TrackingError):  # a server that does not answer now may have it
            if not tracker.has_run(training.run):
                _notice(f"{display_uri(uri)} has it no more")
                return
        split = re.sub(r"[^\w.-]", "_", stem_of(next(iter(scores.values())).protocol.split))
        ways = {name: plain.variant(score.protocol) for name, score in scores.items()}
        full = {name: "/".join(filter(None, (split, way, name))) for name, way in ways.items()}
        measured = {"/".join(filter(None, (split, way))) for way in ways.values()}
        began = live.folder.state().started or 0.0  # the same when the run is continued: nothing is recorded twice
        tracker.log_scores(
            training.run,
            {f"scores/{full[name]}": score.value for name, score in scores.items()},
            {f"attn.protocol.{full[name]}": score.hash for name, score in scores.items()}
            | {f"attn.evaluation.{way}": live.folder.run_id for way in measured},
            at=int(1000 * began),
        )
        if tracker is not own:
            tracker.send_pending()


def _notice(reason: str) -> None:
    print(f"the scores were not added to the record of the training: {reason}", file=sys.stderr)
