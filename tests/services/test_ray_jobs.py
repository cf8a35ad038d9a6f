"""Jobs that the service hands to a Ray cluster, which is told apart from the service and killed at the end.

The service runs a checkout with a method that the cluster's installation lacks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from attn.own_code import code_digest, code_files, code_folder
from services.client import Client
from tests.bundles import tiny_bundle
from tests.environment import without_ray
from tests.s3.proxy import Action, Fault, Proxy, proxy
from tests.services.cluster import ACCESS, TOKEN, Cluster
from tests.services.server import Server

NO_RECORD = ["tracking.enabled=false"]
TRAIN: dict[str, Any] = {
    "kind": "train",
    "target": "scenes_grad_cam",
    "overrides": [
        "data.count=64", "data.size=32", "input.size=32", "training.epochs=999", "training.batch_size=16",
        "method.name=novel", "cluster.workers=1", *NO_RECORD,
    ],
}  # fmt: skip

METHOD = '''"""A method."""

from typing import Literal

from attn.methods.grad_cam import GradCamConfig


class NovelConfig(GradCamConfig):
    """Train the classifier alone."""

    name: Literal["novel"] = "novel"
'''

SCENES = ["data.source=scenes", "data.size=48", "data.split=val", *NO_RECORD]
LONG: dict[str, Any] = {"kind": "evaluate", "target": "tiny", "overrides": [*SCENES, "data.count=99999"]}


@dataclass
class Stage:
    """A cluster, a network before its job server that tests disturb, and a service that knows only the latter."""

    cluster: Cluster
    network: Proxy
    server: Server
    checkout: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of processes that run the checkout and may use the cluster."""
        path = os.pathsep.join([str(self.checkout), os.environ["PYTHONPATH"]])
        return without_ray() | ACCESS | {"PYTHONPATH": path}


@pytest.fixture(scope="module")
def checkout(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, with one more method."""
    folder = tmp_path_factory.mktemp("checkout")
    for name, path in code_files(repository).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    (folder / "attn/methods/novel.py").write_text(METHOD)
    return folder


@pytest.fixture(scope="module")
def stage(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("shared") / "runs"
    tiny_bundle(root / "tiny" / "model")
    cluster = Cluster()
    try:
        with proxy(cluster.url) as network:
            # What RAY_ADDRESS says is not meant for the service's jobs, which Ray's own client would have it.
            path = os.pathsep.join([str(checkout), os.environ["PYTHONPATH"]])
            environment = ACCESS | {"RAY_ADDRESS": "http://127.0.0.1:9", "PYTHONPATH": path}
            server = Server(root, "--slots", "3", "--ray-jobs", network.endpoint, environment=environment)
            try:
                cluster.wait()
                yield Stage(cluster, network, server, checkout)
            finally:
                if server.process.poll() is None:
                    server.kill()
    finally:
        cluster.kill()


def test_a_job_runs_on_the_cluster_once_and_its_log_comes_home(stage: Stage) -> None:
    server, cluster = stage.server, stage.cluster
    stage.network.faults.append(Fault("POST", "^/api/jobs/$", Action.LOSE))  # taken, but nobody is told
    few = [*SCENES, "data.count=4"]
    server.call("POST", "/jobs", {"id": "good", "kind": "evaluate", "target": "tiny", "overrides": few})
    server.call("POST", "/jobs", {"id": "bad", "kind": "evaluate", "target": "tiny; touch x", "overrides": []})
    layer = [*few, "evaluation.layer=nowhere"]
    server.call("POST", "/jobs", {"id": "wrong", "kind": "evaluate", "target": "tiny", "overrides": layer})
    done = server.until("good", "done", "failed", "lost")
    assert done["state"] == "done", server.call("GET", "/jobs/good/log")[1]
    wrong = server.until("wrong", "done", "failed", "lost")
    assert (wrong["state"], "nowhere" in wrong["error"]) == ("failed", True)  # its words, not Ray's
    assert server.call("GET", "/jobs/bad")[0] == 404
    (job,) = cluster.jobs("good")
    assert (job["status"], job["driver_exit_code"]) == ("SUCCEEDED", 0)
    assert cluster.jobs("wrong")[0]["driver_exit_code"] == 2
    assert [path.name for path in (server.root / ".service" / "jobs").glob("good*")]
    shown = json.dumps(cluster.jobs())
    assert TOKEN not in shown
    assert "data.count" not in shown  # nothing that a submitter wrote
    log = server.call("GET", "/jobs/good/log")[1]
    assert log.count(b"/good` has its scores") == 1
    assert stage.network.count("PUT", "/api/packages/") == 1  # the second job found the code there


def test_workers_of_a_cluster_run_the_drivers_code_and_know_what_object_stores_refuse(
    stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").touch()  # Ray would put the working directory before the driver's packages
    code = f"""
import json, os, ray
from attn.health.node import inspect_node
from attn.own_code import code_digest, code_folder
from jobs.ray_cluster.session import ray_session
from pathlib import Path

def seen():
    import attn.methods.novel
    return attn.methods.novel.__file__, os.getcwd(), os.getenv("AWS_REQUEST_CHECKSUM_CALCULATION")

with ray_session({stage.cluster.address!r}):
    method, here, checksums = ray.get(ray.remote(num_cpus=0)(seen).remote())
    facts = ray.get(ray.remote(num_cpus=0)(inspect_node).remote({str(tmp_path)!r}))
print(json.dumps([method, here, checksums, code_digest(code_folder()), facts.code, facts.installed]))
"""
    said = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=stage.environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    method, here, checksums, ours, code_there, installed = json.loads(said.stdout.splitlines()[-1])
    assert method == f"{here}/attn/methods/novel.py"
    assert Path(method).is_relative_to(stage.cluster.folder)
    assert checksums == "when_required"
    assert (code_there, code_there == installed) == (ours, False)
    assert installed == code_digest(code_folder())  # of this process, whose installation the cluster has


def test_contact_is_lost_and_found_and_a_cancelled_run_is_closed(stage: Stage) -> None:
    server = stage.server
    answer = server.call("POST", "/jobs", {"id": "long", **TRAIN})
    assert answer[0] == 201, answer[1]
    server.until("long", "running")
    while not (status := server.call("GET", "/jobs/long")[1])["epoch"]:  # it trains by the method that is new
        assert status["state"] == "running", server.call("GET", "/jobs/long/log")[1]
        time.sleep(0.3)
    stage.network.faults += [Fault(method, "", Action.REFUSE, times=10**6) for method in ("GET", "POST")]
    away = server.until("long", "unreachable", "failed", "lost", "cancelled")
    assert (away["state"], "lost contact" in away["error"]) == ("unreachable", True)
    server.kill()
    server.start()
    assert server.call("GET", "/jobs/long")[1]["state"] == "unreachable"
    stage.network.faults.clear()
    result = server.until("long", "running", "failed", "lost", "cancelled")
    assert (result["state"], result["error"], result["attempt"]) == ("running", None, 1)
    server.call("POST", "/jobs/long/cancel")
    ended = server.until("long", "cancelled", "failed", "lost", "done")
    assert (ended["state"], ended["error"]) == ("cancelled", "cancelled"), server.call("GET", "/jobs/long/log")[1]
    assert json.loads((server.root / "long" / "run.json").read_text())["state"] == "cancelled"
    assert len(stage.cluster.jobs("long")) == 1


def test_a_killed_job_is_gone_at_once_and_a_killed_cluster_is_out_of_contact(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stage.server
    for name in ("stuck", "left"):
        server.call("POST", "/jobs", {"id": name, **LONG})
    drivers = {name: _driver(server, name) for name in ("stuck", "left")}
    drivers["stuck"].suspend()  # it could not close its run
    server.call("POST", "/jobs/stuck/cancel?now=true")
    ended = server.until("stuck", "cancelled", "failed", "lost", "done")
    assert (ended["state"], "before it could close" in ended["error"]) == ("cancelled", True)
    assert not drivers["stuck"].is_running()
    stage.cluster.kill()
    assert server.until("left", "unreachable", "failed", "lost", "done")["state"] == "unreachable"
    monkeypatch.setattr("services.client.PATIENCE_SECONDS", 0.0)
    assert (
        Client(server.url, str(server.root)).wait("left")["state"] == "unreachable"
    )  # nor does `--wait` wait for ever
    server.call("POST", "/jobs", {"id": "next", **LONG})
    while "lost contact" not in (waiting := server.until("next", "queued")["waiting"]):
        assert "about to start" in waiting
        time.sleep(0.3)
    server.call("POST", "/jobs/next/cancel")
    server.call("POST", "/jobs/left/cancel?now=true")
    assert server.until("left", "cancelled", "failed", "lost", "done")["state"] == "lost"


def _driver(server: Server, job: str) -> psutil.Process:
    """A job's driver, once it is there."""
    while True:
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if line[-2:-1] == ["services.driver"] and f"/{job}.1.json" in line[-1] and str(server.root) in line[-1]:
                return process
        assert server.call("GET", f"/jobs/{job}")[1]["state"] in ("queued", "running")
        time.sleep(0.2)
