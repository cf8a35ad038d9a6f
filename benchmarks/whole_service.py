"""The jobs service from first to last, as a person uses it by the command line.

    python -m benchmarks.whole_service [FOLDER]

Starts `attn serve` on a free port. Submits a GAIN run on generated scenes, twice under one name, which is one job, and
follows its log. Cancels another in mid-epoch and goes on with it, to the same weights. Sweeps sigma and omega by ASHA,
12 trials on the cores that there are, and looks for one parent and 12 children in MLflow. Fetches the best model by its
alias, and lets it look at a photograph. Every command is printed as it could be typed, and all that must hold; the exit
status is 1 where something does not. Takes some minutes.
"""

from __future__ import annotations

__all__ = [
    "Person",
    "cancel_in_mid_epoch",
    "check_record",
    "fetch_and_predict",
    "follow",
    "go_on",
    "main",
    "photograph",
    "same_weights",
    "serving",
    "follow_sweep",
    "submit",
    "submit_sweep",
    "submit_twice",
]

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from services.local_runner import MARK
from tests.environment import without_ray
from tests.services.server import Server

ROOT = Path(__file__).resolve().parent.parent
EPOCHS, STEPS, BATCH = 3, 64, 2
SMALL = {
    "data.count": BATCH * STEPS,
    "data.size": 32,
    "input.size": 32,
    "model.widths": [8, 8, 8],
    "training.batch_size": BATCH,
    "training.epochs": EPOCHS,
    "method.warmup_epochs": 1,
    "cluster.workers": 1,
    "cluster.threads": 1,
}
RUN = [f"{name}={value}" for name, value in {**SMALL, "tracking.preview_images": 0}.items()]
MODEL, ALIAS = "whole", "champion"
SWEEP = """kind: sweep
recipe: scenes_gain
set: {{{set}}}
space:
  method.mask_threshold: {sigma}
  method.mask_scale: {omega}
search: {{name: grid}}
parallel: {parallel}
scheduler: {{name: asha}}
objective: {{metric: seed_miou}}
tracking: {{register_as: {model}, alias: {alias}}}
"""


def main() -> None:
    """Do all of it, in a folder that is kept where one is given."""
    with contextlib.ExitStack() as stack:
        kept = sys.argv[1] if len(sys.argv) > 1 else None
        parent = kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="attn-service-"))
        folder, begun = Path(parent).resolve(), time.monotonic()
        person = stack.enter_context(serving(folder / "runs"))
        try:
            submit_twice(person, "gain")
            follow(person, "gain")
            submit(person, "train", "scenes_gain", *RUN, name="cancelled")
            cancel_in_mid_epoch(person, "cancelled")
            go_on(person, "cancelled")
            same_weights(person.run("gain"), person.run("cancelled"))
            submit_sweep(person, "sweep", sigma=[0.1, 0.2, 0.35, 0.5], omega=[5, 10, 20])
            follow_sweep(person, "sweep", 12)
            check_record(person, "sweep", 12)
            fetch_and_predict(person, folder, photograph(folder))
        except NotSoError as error:
            sys.exit(f"DOES NOT HOLD: {error}")
        print(f"all of it holds; {time.monotonic() - begun:.0f} s", flush=True)


class NotSoError(Exception):
    """Something that must hold does not."""


def holds(what: str, so: bool, seen: object = "") -> None:
    """Say that something holds.

    Raises:
        NotSoError: It does not.
    """
    require(what, so, seen)
    print(f"  holds: {what}", flush=True)


def require(what: str, so: bool, seen: object = "") -> None:
    """See that something holds, without a word.

    Raises:
        NotSoError: It does not.
    """
    if not so:
        raise NotSoError(f"{what}: {seen}" if seen != "" else what)


class Person:
    """Somebody at a terminal, with a service running beside them."""

    def __init__(self, server: Server) -> None:
        self.server, self.root = server, server.root
        self.here = ["--root", str(server.root)]

    def run(self, name: str) -> Path:
        """A run's folder."""
        return self.root / name

    def attn(self, *words: str, status: int = 0, shown: bool = False) -> dict[str, Any]:
        """Run a command; gives its result, and prints what else it says where that is asked for.

        Raises:
            NotSoError: It ends with another exit status.
        """
        print(f"$ attn {shlex.join(words)}", flush=True)
        status_seen, lines, said = self.call(*words, "--json", shown=shown)
        if status_seen != status:
            raise NotSoError(f"attn {words[0]} ends with {status_seen}, not {status}: {said}")
        return {"log": "".join(lines[:-1]), **json.loads(lines[-1])}

    def call(self, *words: str, shown: bool) -> tuple[int, list[str], str]:
        """Run a command as a process; gives its exit status, the lines it printed, and its messages."""
        call = [sys.executable, "-c", "from services.cli.main import main; main()", *words]
        with subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=without_ray()
        ) as done:
            assert done.stdout is not None
            assert done.stderr is not None
            lines: list[str] = []
            for line in done.stdout:
                if shown and not line.startswith("{"):
                    print(f"  | {line}", end="", flush=True)
                lines.append(line)
            said = done.stderr.read()
        return done.returncode, lines, said


@contextlib.contextmanager
def serving(root: Path, *arguments: str, person: type[Person] = Person) -> Iterator[Person]:
    """A service over a root, and somebody to use it."""
    server = Server(root, *arguments)
    print(f"$ attn serve --root {root}    # {server.url}", flush=True)
    try:
        yield person(server)
    finally:
        for job in server.call("GET", "/jobs")[1]["jobs"]:
            if job["state"] == "running":
                server.call("POST", f"/jobs/{job['id']}/cancel?now=true")
                server.until(job["id"], "cancelled", "done", "failed")
        server.stop()


def submit(person: Person, kind: str, target: str, *overrides: str, name: str, status: int = 0) -> dict[str, Any]:
    return person.attn("submit", kind, target, *overrides, "--run-id", name, "-y", *person.here, status=status)


def submit_twice(person: Person, name: str) -> None:
    """Submit a GAIN run twice under one name."""
    first, second = (submit(person, "train", "scenes_gain", *RUN, name=name) for _ in range(2))
    jobs = [job["id"] for job in person.attn("ls", "--service", person.server.url, *person.here)["runs"]]
    holds("submitted twice under one name, it is one job", jobs.count(name) == 1, jobs)
    holds("the second answer is of the same job", first["submitted"] == second["submitted"], second)
    submit(person, "train", "scenes_gain", *RUN, "seed=1", name=name, status=1)
    holds("the same name for something else is refused", True)


def follow(person: Person, name: str) -> None:
    """Follow a job's log to its end."""
    result = person.attn("logs", "-f", name, *person.here, shown=True)
    missing = [epoch for epoch in range(1, EPOCHS + 1) if f"epoch {epoch}/{EPOCHS} done" not in result["log"]]
    holds("its log has every epoch", not missing, result["log"])
    holds("it is done", result["job"]["state"] == "done", result["job"])


def cancel_in_mid_epoch(person: Person, name: str) -> None:
    """Cancel a run after its first steps; it is held still until it has heard of that, however busy the machine is."""
    folder = person.run(name)
    wait_for_step(person, name)
    held = training_workers(name)
    for worker in held:
        worker.suspend()
    holds("it is under way", bool(held), person.server.call("GET", f"/jobs/{name}")[1])
    print(f"$ attn cancel {name}", flush=True)
    person.server.call("POST", f"/jobs/{name}/cancel")
    while b"saving a checkpoint" not in (folder / "job.log").read_bytes():
        seen = person.server.call("GET", f"/jobs/{name}")[1]
        require("it is asked to end", seen["state"] == "running", seen)
        time.sleep(0.1)
    for worker in held:
        worker.resume()
    ended = person.attn("status", name, "--wait", *person.here, status=3)
    state = json.loads((person.run(name) / "run.json").read_text())
    holds("it is cancelled, in its run's folder too", ended["state"] == state["state"] == "cancelled", ended)
    step = state["step"]
    holds(f"it ended after step {step}, of {STEPS} an epoch and {EPOCHS} epochs", 0 < step < EPOCHS * STEPS, state)
    saved = [path.name for path in (person.run(name) / "checkpoints").glob("epoch-*")]
    here = f"epoch-{step // STEPS:04d}-batch-{step % STEPS:06d}"
    holds(f"it saved a checkpoint there: {here}", here in saved, saved)


def wait_for_step(person: Person, name: str) -> None:
    """Wait for a run's first step by its folder: the service gives way to what is computed, and may be slow to tell."""
    folder = person.run(name)
    while not (folder / "progress.json").exists():
        if (folder / "run.json").exists():
            seen = json.loads((folder / "run.json").read_text())
        else:
            seen = person.server.call("GET", f"/jobs/{name}")[1]
        require("it makes a step", seen.get("state") in ("queued", "running"), seen)
        time.sleep(0.02)


def training_workers(job: str) -> list[psutil.Process]:
    """The processes that train for a job of a service of this machine."""
    results: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "RayTrainWorker" in " ".join(process.cmdline()) and process.environ().get(MARK, "").endswith(f":{job}"):
                results.append(process)
    return results


def go_on(person: Person, name: str) -> None:
    """Go on with a cancelled run from there, to its end."""
    done = person.attn("resume", name, "--wait", "--service", person.server.url, *person.here)
    holds("gone on with, it is done at its second attempt", (done["state"], done["attempt"]) == ("done", 2), done)


def same_weights(one: Path, other: Path) -> None:
    """Hold two runs' models against each other, bit by bit."""
    import torch

    first, second = (
        torch.load(run / "model" / "state_dict.pt", map_location="cpu", weights_only=True) for run in (one, other)
    )
    differing = [name for name in first.keys() | second.keys() if not torch.equal(first[name], second[name])]
    holds(f"{one.name} and {other.name} have the same weights", not differing, differing)


def submit_sweep(
    person: Person, name: str, *, sigma: list[float], omega: list[float], parallel: int | None = None
) -> None:
    """Submit a sweep of sigma and omega by ASHA that registers the best."""
    fields = ", ".join(f"{field}: {value}" for field, value in SMALL.items())
    wide = "null" if parallel is None else parallel
    text = SWEEP.format(set=fields, sigma=sigma, omega=omega, parallel=wide, model=MODEL, alias=ALIAS)
    file = person.root.parent / "sweep.yaml"
    file.write_text(text)
    print(text, end="")
    submit(person, "sweep", str(file), name=name)


def follow_sweep(person: Person, name: str, trials: int) -> None:
    """Follow a sweep to its end."""
    result = person.attn("logs", "-f", name, *person.here, shown=True)["job"]
    holds("the sweep is done", result["state"] == "done", result)
    rows = json.loads((person.run(name) / "trials.json").read_text())
    states = Counter(row["state"] for row in rows)
    holds(f"it has {trials} trials: {dict(states)}", len(rows) == trials and states["done"] > 0, rows)
    holds("none of them failed", set(states) <= {"done", "stopped"}, rows)
    holds("its status has the best score", result["metrics"]["best/seed_miou"] > 0, result["metrics"])


def check_record(person: Person, name: str, trials: int) -> None:
    """Look for a sweep's parent and children in MLflow."""
    from attn.tracking.mlflow_children import children

    parent = json.loads((person.run(name) / "run.json").read_text())["tracking_run"]
    result = children(f"sqlite:///{person.root}/mlflow.db", parent)
    holds(f"MLflow has one parent and {trials} children", len(result) == trials, result)
    holds("no child looks as if it ran still", "RUNNING" not in result.values(), result)


def fetch_and_predict(person: Person, folder: Path, picture: Path) -> None:
    """Fetch the best model by its alias, and let it look at a picture."""
    root = f"root={person.root}"
    model, out = str(folder / MODEL), folder / "predictions"
    person.attn("models", "get", f"{MODEL}@{ALIAS}", root, "--to", model)
    seen = person.attn("predict", str(picture), "--model", model, "--out", str(out))["images"]
    files = sorted(path.name for path in out.rglob("*") if path.is_file())
    print(f"  {picture.name}: {seen[0]['labels']}; {', '.join(files)}")
    pictures = [name for name in files if name.endswith(".png")]
    holds("the fetched model says what it sees, as JSON and PNG", len(seen) == 1 and bool(pictures), files)


def photograph(folder: Path) -> Path:
    """A photograph of the shared folder; a generated scene where there is none."""
    shared = Path(os.environ.get("ATTN_SHARED", ROOT.parent / "shared"))
    if (result := next(shared.glob("data/voc/VOCdevkit/*/JPEGImages/*.jpg"), None)) is not None:
        return result
    from PIL import Image

    from attn.data.sources.generated import ScenesConfig

    file = folder / "scene.png"
    Image.fromarray(ScenesConfig(split="test", count=1).open().load(0).image).save(file)
    return file


if __name__ == "__main__":
    main()
