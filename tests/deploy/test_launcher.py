"""What Ray's cluster launcher runs in the containers of the image."""

from __future__ import annotations

import copy
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.command_runner import DockerCommandRunner
from ray.autoscaler._private.util import prepare_config

from tests.deploy.dockerfile import Image, laid_out
from tests.namespaces import skip_if_refused

FILES = ("ray_cluster.yaml", "deploy/ray_cluster_local.yaml")
PROGRAMS = ["attn", "mlflow", "pip", "python", "ray"]


class Host:
    """A node that the launcher reached by SSH; its only container runs the image."""

    def __init__(self, image: Image, folder: Path) -> None:
        docker = folder / "docker"
        # docker exec [-it] NAME COMMAND
        docker.write_text(f'#!/bin/bash\n[ "$2" = -it ] && shift\nshift 2\nexec {shlex.join(image.entry)} "$@"\n')
        docker.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C"}

    def run(self, command: str, **_: Any) -> bytes:
        done = subprocess.run(["bash", "-c", command], env=self.environment, capture_output=True, check=False)
        assert done.returncode == 0, f"{command}\nended with {done.returncode}: {done.stderr.decode()}"
        return done.stdout


@pytest.fixture(scope="module")
def image(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    allowed = Image(Path("/"), {}).entry
    tried = subprocess.run([*allowed[: allowed.index("sh")], "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        skip_if_refused(tried.stderr)
        pytest.fail(tried.stderr)
    return laid_out(repository / "Dockerfile", tmp_path_factory.mktemp("image"), programs=PROGRAMS)


@pytest.fixture
def runner(image: Image, tmp_path: Path) -> DockerCommandRunner:
    runner = DockerCommandRunner(
        {"container_name": "attn"},
        log_prefix="",
        node_id="1",
        provider=None,
        auth_config={"ssh_user": "ubuntu"},
        cluster_name="attn",
        process_runner=subprocess,
        use_internal_ip=False,
    )
    runner.ssh_command_runner = Host(image, tmp_path)
    return runner


@pytest.mark.parametrize("name", FILES)
def test_every_command_of_a_node_finds_its_program(repository: Path, runner: DockerCommandRunner, name: str) -> None:
    cluster = prepare_config(copy.deepcopy(yaml.safe_load((repository / name).read_text())))
    said = {
        part: [
            runner.run(command, environment_variables={"RAY_OVERRIDE_RESOURCES": {"CPU": 0}}).decode().strip()
            for command in cluster[part]
        ]
        for part in ("head_start_ray_commands", "worker_start_ray_commands")
    }
    for stop, start in said.values():
        assert stop == "/opt/attn/bin/ray stop"
        assert start.startswith("/opt/attn/bin/ray start ")
    # Only a head with this file starts workers, on machines of one's own too.
    assert " --autoscaling-config=/home/attn/ray_bootstrap_config.yaml" in said["head_start_ray_commands"][1]


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_installed_when_a_node_starts(repository: Path, name: str) -> None:
    cluster = prepare_config(copy.deepcopy(yaml.safe_load((repository / name).read_text())))
    for part in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert cluster[part] == [], f"{part}: Ray's defaults install a Ray of their own"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_command_of_a_user_finds_the_programs_of_the_image(runner: DockerCommandRunner, program: str) -> None:
    assert runner.run(f"{program} --version").decode().strip() == f"/opt/attn/bin/{program} --version"
    host = runner.ssh_command_runner
    assert host.run(f"docker exec attn {program} --version").decode().strip() == f"/opt/attn/bin/{program} --version"
