"""The commands that go on from a run, by its kind and state."""

from __future__ import annotations

__all__ = ["TRAINING", "NextCommand", "TrainedModel", "export_command", "next_commands"]

import shlex
from dataclasses import dataclass

from attn.run_state import BROKEN, RunState
from attn.runs.result import JsonResult
from attn.segmentation.masks import CLASSES_TABLE
from jobs.runs.listing import RunEntry
from jobs.runs.run_folder import RunFolder

TRAINING = ("train", "segment")
"""Kinds whose run's name stands for their model."""


@dataclass(frozen=True)
class TrainedModel(JsonResult):
    """The model that the run has trained; None stands for what is not known."""

    folder: str
    weights: str | None
    classes: list[str] | None
    registered: str | None


@dataclass(frozen=True)
class NextCommand(JsonResult):
    """A command that goes on from the run."""

    purpose: str
    command: str


def next_commands(
    folder: RunFolder,
    entry: RunEntry,
    trained_kind: str,
    model: TrainedModel | None,
    files: list[str],
    parent: RunFolder | None = None,
) -> list[NextCommand]:
    """What a person would do now, by the state and kind of the run.

    Args:
        trained_kind: Kind of the run, or of a sweep's trials.
        parent: The sweep or pipeline that the run is a trial or stage of: it alone ends and continues the run.
    """
    state, name = entry.state, shlex.quote(folder.reference)
    kind = state.kind or "train"
    if state.state == BROKEN:
        again = folder.path("config.yaml") if "config.yaml" in files else None
        begin = [NextCommand("begin anew by its config", f"attn train {shlex.quote(again)}")] if again else []
        return [*begin, NextCommand("list the runs", "attn ls")]
    if entry.driver in ("here", "elsewhere"):
        return _of_running(entry, name, parent)
    if state.state != "done":
        go_on = NextCommand("go on", f"attn resume {name}")
        if parent is not None:
            go_on = NextCommand(f"go on with {_whole(state)}", f"attn resume {shlex.quote(parent.reference)}")
        return [go_on, NextCommand("repeat it elsewhere", f"attn repro {name}")]
    commands: list[NextCommand] = []
    if kind == "sweep" and "best.yaml" in files:
        best = shlex.quote(folder.path("best.yaml"))
        commands.append(NextCommand("repeat the best trial", f"attn {trained_kind} {best}"))
    commands += _of_store(folder, state.store) if kind == "maps" and state.store else []
    commands += _of_cues(folder) if kind == "cues" else []
    commands += (
        [NextCommand("write its masks as annotations", export_command(folder))] if _has_masks(folder, state) else []
    )
    commands += _of_model(folder, trained_kind, model, own=kind in TRAINING)
    commands.append(NextCommand("repeat it", f"attn repro {name}"))
    return [*commands, NextCommand("compare it with another run", f"attn diff {name} OTHER")]


def _of_running(entry: RunEntry, name: str, parent: RunFolder | None) -> list[NextCommand]:
    ending = "end it, and keep its last checkpoint"
    if parent is not None:
        name, ending = shlex.quote(parent.reference), f"end {_whole(entry.state)}, and keep the last checkpoints"
    if entry.driver == "elsewhere":
        ending += f"; on {entry.state.host or 'the machine that runs it'}"
    return [NextCommand("see how far it is", f"attn status {name}"), NextCommand(ending, f"attn cancel {name}")]


def _whole(state: RunState) -> str:
    """What a trial or stage belongs to."""
    return "its sweep" if state.number is not None else "its pipeline"


def _of_store(folder: RunFolder, location: str) -> list[NextCommand]:
    """Commands on the map store that the run has written."""
    store, name = shlex.quote(location), shlex.quote(folder.reference)
    root = "" if folder.in_default_root else f" --root {shlex.quote(folder.root)}"
    return [  # a store elsewhere does not say which data its maps are of; the run does
        NextCommand("score the maps", f"attn evaluate {name}{root}"),
        NextCommand("refine them", f"attn maps {name} maps.refine.name=pamr{root}"),
        NextCommand("write them as PNGs", f"attn store export {store} FOLDER --format png"),
    ]


def _of_cues(folder: RunFolder) -> list[NextCommand]:
    """Commands on the cues that the run has made."""
    labels = shlex.quote(f"labels.path={folder.path('cues')}")
    return [
        NextCommand("train a network on them", f"attn segment RECIPE labels.source=files {labels}"),
        NextCommand("write them as annotations", export_command(folder)),
    ]


def export_command(folder: RunFolder) -> str:
    """The command that writes a run's masks or cues for annotation tools."""
    root = "" if folder.in_default_root else f" --root {shlex.quote(folder.root)}"
    return f"attn export {shlex.quote(folder.reference)} --format coco --to FOLDER{root}"


def _has_masks(folder: RunFolder, state: RunState) -> bool:
    """Whether there are masks to export, of a pipeline those of its evaluation."""
    if state.kind == "pipeline" and (stage := (state.stages or {}).get("evaluation")) is not None:
        folder = RunFolder(folder.root, stage.run_id)
    return state.kind in ("masks", "pipeline") and folder.exists(f"masks/{CLASSES_TABLE}")


def _of_model(folder: RunFolder, kind: str, model: TrainedModel | None, *, own: bool) -> list[NextCommand]:
    """Commands on the trained model.

    Args:
        own: The model lies in the run's own folder.
    """
    if model is None:
        return []
    name = shlex.quote(folder.reference if own else model.folder)
    root = "" if folder.in_default_root else f" --root {shlex.quote(folder.root)}"
    predict = NextCommand("look at other images", f"attn predict IMAGE... --model {name}")
    register = NextCommand("register it", f"attn models register {shlex.quote(folder.reference)} NAME")
    if kind == "train":
        return [
            NextCommand("score it", f"attn evaluate {name}{root}"),
            predict,
            NextCommand("write its attention maps", f"attn maps {name}{root}"),
            register,
        ]
    return [NextCommand("make and score masks", f"attn segment predict {name}{root}"), predict, register]
