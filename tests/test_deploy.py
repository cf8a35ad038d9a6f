"""Files that put the project on machines: of the form that is wanted, and without a secret."""

from __future__ import annotations

import configparser
import copy
import re
from pathlib import Path
from typing import Any

import yaml


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_local_cluster_is_one_that_ray_accepts(repository: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = read(repository / "deploy" / "ray_cluster_local.yaml")
    validate_config(prepare_config(copy.deepcopy(cluster)))
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert "--dashboard-host=127.0.0.1" in " ".join(cluster["head_start_ray_commands"])


def test_compose(repository: Path) -> None:
    folder = repository / "deploy" / "compose"
    services = read(folder / "compose.yaml")["services"]
    assert services["mlflow"]["ports"] == ["${LISTEN:-127.0.0.1}:5000:5000"], "this machine only, if nobody says more"
    assert "ports" not in services["postgres"]
    for name, service in services.items():
        assert "healthcheck" in service
        assert service["env_file"] == f"{name}.env"
        assert not any(re.search("PASSWORD|SECRET|KEY", key) for key in service.get("environment", {}))
    steps = (folder / "mlflow" / "Dockerfile").read_text().splitlines()
    assert "USER mlflow" in steps
    for step in steps:
        for name in re.findall(r"^COPY (\S+)", step):
            assert (folder / "mlflow" / name).is_file()
    log_ins = configparser.ConfigParser()
    log_ins.read(folder / "mlflow" / "basic_auth.ini")
    assert log_ins["mlflow"]["database_uri"] == "postgresql+psycopg2://mlflow@postgres/mlflow", "no password in it"
    for path in folder.glob("*.example"):
        for line in path.read_text().splitlines():
            if re.match(r"\w*(PASSWORD|SECRET|KEY)\w*=", line):
                assert line.endswith("="), f"{path.name} holds a secret"
