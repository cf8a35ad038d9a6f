"""Everything that is needed to run a run again, in one folder."""

from __future__ import annotations

__all__ = ["Recipe", "ReproResult", "run"]

import json
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn.config.base import is_remote
from attn.config.document import override_of, read_document
from attn.errors import AttnError, RunError
from attn.files import transfer
from attn.run_state import RunState
from attn.runs.result import JsonResult, RunResult
from attn.runs.table import KINDS
from jobs.runs.listing import find_run
from jobs.runs.provenance import CHANGES, ORIGIN, Origin, read_changes, read_described, read_origin
from jobs.runs.run_folder import RunFolder

NOT_INPUTS = ("root", "tracking")
"""Locations of a config that a run writes to."""


@dataclass(frozen=True)
class Recipe(JsonResult):
    """Everything that repeats a run.

    Attributes:
        command: The command that repeats it, beside its `config.yaml`.
        first_command: The command that it was begun by.
        threads: Of each worker; None: not known.
        data: Fingerprint.
        inputs: Locations that the config reads.
        weights: SHA-256 of the model's weights.
        notes: What is not known or not there.
    """

    kind: str
    command: list[str]
    first_command: list[str] | None
    commit: str | None
    attn: str | None
    python: str | None
    seed: int | None
    workers: int | list[int] | None
    threads: int | None
    data: str | None
    inputs: list[str]
    metrics: dict[str, float | None] | None
    weights: str | None
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class ReproResult(RunResult):
    """A folder with everything that is needed to run a run again."""

    files: list[str]
    recipe: Recipe

    def to_json(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "folder": self.folder, "files": self.files, **self.recipe.to_json()}


def run(name: str, *, root: str = "runs", to: str | None = None) -> ReproResult:
    """Write config, package versions, commit and changes, data fingerprint, command and a script that repeats the run.

    Args:
        name: A run's id under the root, or its folder.
        to: The folder; `repro-RUN` in the current one where it is not given.

    Raises:
        RunError: There is no such run, or the folder is there already or cannot be written.
    """
    folder = run_folder(name, root)
    state, origin = folder.state(), read_origin(folder)
    if not folder.exists("config.yaml"):
        raise RunError(f"run {folder.run_id!r} has no config.yaml: it was not begun by `attn`, and cannot be repeated")
    text = folder.read_text("config.yaml")
    config = read_document(text, folder.path("config.yaml")).values
    target = Path(to or f"repro-{folder.run_id}").absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target} is there already; give another --to FOLDER")
    base = folder.read_text("base.yaml") if state.kind == "sweep" and folder.exists("base.yaml") else None
    searched = {} if base is None else read_document(base, folder.path("base.yaml")).values
    recipe = _recipe(folder, state, origin, config, searched)
    files = {"config.yaml": text, "repro.json": json.dumps(recipe.to_json(), indent=1), "run.sh": _script(recipe)}
    if origin.pins:
        # A build's own suffix (`+cu128`) names no version of a package index.
        files["requirements.txt"] = "".join(f"{pin.partition('+')[0]}\n" for pin in origin.pins)
    if base is not None:
        files["base.yaml"] = base  # which the config of a sweep names as its recipe
    if (changes := read_changes(folder)) is not None:
        files[CHANGES] = changes
    files["README.md"] = _readme(recipe, files)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (target / file).write_text(content, encoding="utf-8")
        (target / "run.sh").chmod(0o755)
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror or type(error).__name__}") from None
    return ReproResult(run_id=folder.run_id, folder=str(target), files=sorted(files), recipe=recipe)


def run_folder(name: str, root: str) -> RunFolder:
    """The folder of a run that a user names by its id under the root, or by the folder itself.

    Raises:
        RunError: There is no such run.
    """
    folder = RunFolder.of(name, root)
    find_run(folder)
    return folder


def _recipe(
    folder: RunFolder, state: RunState, origin: Origin, config: dict[str, Any], searched: dict[str, Any]
) -> Recipe:
    """Everything that repeats a run.

    Args:
        searched: Of a sweep, the config of its trials.
    """
    notes: list[str] = []
    if not origin.values and state.number is not None:
        notes.append(
            f"packages, commit and command of a trial are in its sweep's {ORIGIN}, which is not in the folder above "
            f"{folder.path()}: copy the whole sweep to have them"
        )
    elif not origin.values:
        notes.append("the run is from before runs kept their environment: packages, commit and command are not known")
    elif origin.commit is None:
        notes.append(f"attn {origin.attn} was installed, not run from a git checkout")
    if origin.untracked:
        notes.append(f"files that git did not know are not in {CHANGES}: {', '.join(origin.untracked)}")
    inputs = list(dict.fromkeys([*_locations(config), *_locations(searched)]))
    notes += [f"{location} is not there now" for location in inputs if not _is_there(location)]
    data, weights = read_described(folder)
    cluster = config.get("cluster") or {}
    return Recipe(
        kind=state.kind or "train",
        command=_command(folder, state, config),
        first_command=origin.command,
        commit=origin.commit,
        attn=origin.attn,
        python=origin.python,
        seed=config.get("seed"),
        workers=cluster.get("workers"),
        threads=state.threads or cluster.get("threads"),
        data=origin.data or data,
        inputs=inputs,
        metrics=state.metrics,
        weights=weights,
        notes=notes,
    )


def _command(folder: RunFolder, state: RunState, config: dict[str, Any]) -> list[str]:
    """The command that repeats a run: on its config file, or on the model, store or models that its state names."""
    name = state.kind or "train"
    kind = KINDS.get(name)
    command = ["attn", *((kind and kind.command) or name).split()]
    if state.compared is not None:
        command += [*state.compared.values(), *(state.overrides or []), "--titles", ",".join(state.compared)]
    elif kind is not None and kind.config is None and (target := _target(state)) is not None:
        command += [target, *_fields(config)]
    else:
        command += ["config.yaml"]
    if kind is not None and kind.training is not None:
        command += ["--run-id", f"{folder.run_id}-again"]
        if (above := RunFolder.around(folder)) is not None:  # a trial's repetition is no trial
            command.append(override_of("root", above.root))
        if state.threads is not None and (config.get("cluster") or {}).get("threads") is None:
            command.append(override_of("cluster.threads", state.threads))
        if (config.get("tracking") or {}).get("register_as"):
            command += ["tracking.register_as=null", "tracking.alias=null"]  # a repetition is no new champion
    return command + [option for option, given in _options(state).items() if given]


def _target(state: RunState) -> str | None:
    """The model, or the map store and version, that a run worked on."""
    if isinstance(state.maps, str):
        return state.maps if state.version is None else f"{state.maps}@{state.version}"
    return state.model


def _options(state: RunState) -> dict[str, bool | None]:
    return {"--sweep": state.sweep, "--confusion": state.confusion, "--voc-submission": state.voc_submission}


def _locations(value: Any, name: str = "") -> Iterator[str]:
    """Paths and URIs that a config reads from."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if name or key not in NOT_INPUTS:
                yield from _locations(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _locations(inner, name)
    elif isinstance(value, str) and (value.startswith("/") or is_remote(value)):
        yield value


def _is_there(location: str) -> bool:
    if not is_remote(location):
        return Path(location).exists()
    from attn.files.locations import list_files, list_folders

    try:
        return transfer.exists(location) or bool(list_files(location) or list_folders(location))
    except AttnError:
        return False


def _fields(config: dict[str, Any], prefix: str = "") -> list[str]:
    """A config as `a.b=value` words."""
    words: list[str] = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            words += _fields(value, f"{prefix}{key}.")
        else:
            words.append(override_of(f"{prefix}{key}", value))
    return words


def _script(recipe: Recipe) -> str:
    return (
        "#!/bin/sh\n"
        "# Repeats the run; more fields can be given: ./run.sh root=elsewhere data.root=elsewhere\n"
        "set -eu\n"
        'cd "$(dirname "$0")"\n'
        f'{shlex.join(recipe.command)} "$@"\n'
    )


def _readme(recipe: Recipe, files: Collection[str]) -> str:
    """What to do, with the files that are there."""
    commit = recipe.commit
    code = (
        ["Check out the code and, where it had changes, apply them:", "", "```bash",
         f"git checkout {commit.removesuffix('+changes')}"]
        + ([f"git apply {CHANGES}"] if CHANGES in files else []) + ["```"]
        if commit
        else [f"Install attn {recipe.attn or 'of the version that the run had'}."]
    )  # fmt: skip
    packages = "pip install -r requirements.txt && " if "requirements.txt" in files else ""
    install = f"{packages}pip install --no-deps ." if packages else "pip install ."
    if commit:
        install += "    # the second in the checkout" if packages else "    # in the checkout"
    elif packages:
        install = packages.removesuffix(" && ")
    lines = [
        "# To run it again",
        "",
        *code,
        "",
        f"Install {'its packages' if packages else 'attn'} (Python {recipe.python or 'as it was'}) and repeat:",
        "",
        "```bash",
        "python -m venv .venv && . .venv/bin/activate",
        install,
        "./run.sh    # or: ./run.sh root=... data.root=...",
        "```",
        "",
        f"- seed: {recipe.seed}, workers: {recipe.workers}, threads: {recipe.threads or 'not known'}; the same numbers "
        "need as many workers and threads (cluster.threads=null uses all cores)",
        f"- data fingerprint: {recipe.data or 'not known'}; `attn diff` of both runs says whether it is the same",
        f"- weights (SHA-256): {recipe.weights or 'the run has no model'}",
        *(f"- reads {location}" for location in recipe.inputs),
        *(f"- {name}: {value}" for name, value in (recipe.metrics or {}).items()),
        *(f"- note: {note}" for note in recipe.notes),
    ]
    return "\n".join(lines) + "\n"
