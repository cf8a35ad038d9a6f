"""Everything on servers at once, for real: runs, maps and artifacts on radosgw, MLflow with log-ins on PostgreSQL.

    python -m benchmarks.whole_stack [FOLDER]

Starts a Ceph gateway, PostgreSQL and an MLflow server as `deploy/compose` sets them up, all on loopback, each with a
secret of its own. Then by the command line: OAA on generated scenes with two workers, registered as champion; its
evaluation; a pipeline from OAA+'s maps to masks; the model fetched without any S3 key; `attn doctor`; and mistakes
whose messages could tell a secret. At the end every byte that any of it left is searched for the secrets: what was
printed, Ray's logs, the objects in S3, the dump of the database, MLflow's log, the folders here. The exit status is 1
where one is found, or where a step does not end as it should. Takes some minutes on 2 quiet cores.

Needs `radosgw` and `initdb`, and in this environment `psycopg2-binary` and `mlflow[auth]`.
"""

from __future__ import annotations

__all__ = ["main"]

import base64
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import boto3

from tests.leaks import leaks, under
from tests.ports import free_port
from tests.s3.radosgw import missing, radosgw

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
SMALL = ["data.count=64", "data.size=32", "input.size=32", "training.epochs=3", "training.batch_size=16"]
SMALL_PIPELINE = ["data.count=64", "train.training.epochs=2", "train.store.start_epoch=0", "integral.training.epochs=1",
                  "segment.training.epochs=2", "evaluation.data.count=16", "cluster.workers=2"]  # fmt: skip


def main() -> None:
    """Start the servers, run the commands, search for the secrets."""
    lacks = [_lacks(name) for name in ("initdb", "postgres", "pg_dump")]
    lacks += [f"this environment has no {name}" for name in ("psycopg2", "flask_wtf") if find_spec(name) is None]
    absent = [reason for reason in (missing(), *lacks) if reason]
    if absent:
        sys.exit("; ".join(absent))
    kept = sys.argv[1] if len(sys.argv) > 1 else None
    folder = Path(kept or tempfile.mkdtemp(prefix="attn-stack-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    database_password, admin_password = secrets.token_hex(16), secrets.token_hex(16)
    hidden = {
        "the database's password": database_password,
        "MLflow's password": admin_password,
        "MLflow's log-in": base64.b64encode(f"admin:{admin_password}".encode()).decode(),
        "MLflow's session key": secrets.token_hex(16),
        "Ray's token": secrets.token_hex(32),
    }
    with radosgw() as s3:
        hidden |= {"the S3 secret": s3.secret_key, "the S3 key": s3.access_key}
        with boto_client(s3.environment) as client:
            for bucket in ("runs", "mlflow"):
                client.create_bucket(Bucket=bucket)
        with postgres(folder / "database", database_password) as port:
            server = {**s3.environment, "MLFLOW_S3_ENDPOINT_URL": s3.endpoint, "PGPASSWORD": database_password}
            server |= {"MLFLOW_AUTH_ADMIN_PASSWORD": admin_password}
            server |= {"MLFLOW_FLASK_SERVER_SECRET_KEY": hidden["MLflow's session key"]}
            with mlflow(folder, port, server) as uri:
                login = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": admin_password}
                wrong = _commands(folder, uri, s3.environment, login, hidden["Ray's token"])
                _dump(folder, port, database_password)
                _fetch(folder / "objects", s3.environment)
    # Of the database its dump is searched, not its own files.
    result = leaks(hidden, under(folder, exclude=folder / "database"))
    shutil.rmtree(folder / "database")
    for line in [*wrong, *result]:
        print(line)
    print("something is wrong" if wrong or result else "every step ended as it should, and no secret was left anywhere")
    if kept is None:
        shutil.rmtree(folder)
    sys.exit(1 if wrong or result else 0)


@contextlib.contextmanager
def postgres(folder: Path, password: str) -> Iterator[int]:
    """PostgreSQL on loopback with a user and a database `mlflow`; yields its port."""
    folder.mkdir()
    file = folder / "password"
    file.write_text(password)
    user = NOBODY if os.geteuid() == 0 else None  # it refuses to be run by root
    if user is not None:
        os.chown(folder, NOBODY, NOBODY)
        os.chown(file, NOBODY, NOBODY)
    data, port = folder / "data", free_port()
    _quietly(["initdb", "-D", str(data), "-U", "mlflow", "--auth=scram-sha-256", f"--pwfile={file}"], user=user)
    command = ["postgres", "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with _running([*command, "-k", str(folder)], folder / "log", os.environ, user=user):
        _until(lambda: _quietly(["pg_isready", "-h", "127.0.0.1", "-p", str(port)]))
        connection = ["-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow"]
        _quietly(["createdb", *connection], env={**os.environ, "PGPASSWORD": password})
        yield port


@contextlib.contextmanager
def mlflow(folder: Path, port: int, environment: Mapping[str, str]) -> Iterator[str]:
    """MLflow with log-ins as `deploy/compose/mlflow` has it; yields its address."""
    database = f"@127.0.0.1:{port}/"
    auth = (ROOT / "deploy/compose/mlflow/basic_auth.ini").read_text(encoding="utf-8").replace("@postgres/", database)
    (folder / "basic_auth.ini").write_text(auth, encoding="utf-8")
    here = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(here), "--artifacts-destination", "s3://mlflow/artifacts"]
    command += ["--backend-store-uri", f"postgresql+psycopg2://mlflow{database}mlflow"]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    settings |= {"MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini")}
    with _running(command, folder / "mlflow.log", {**os.environ, **settings, **environment}):
        uri = f"http://127.0.0.1:{here}"
        _until(lambda: _answers(f"{uri}/health"))
        yield uri


def _commands(folder: Path, uri: str, s3: Mapping[str, str], login: Mapping[str, str], token: str) -> list[str]:
    """Run the commands; what did not end as it should, in words."""
    wrong: list[str] = []
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_", "RAY_"))}
    # Ray's sockets lie in its folder, and their paths must be short.
    ray = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    bare |= {"OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(ray), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    every = {**bare, **s3, **login}

    def attn(name: str, environment: Mapping[str, str], status: int, *words: str) -> None:
        started = time.monotonic()
        with (folder / f"{name}.out").open("wb") as out:
            command = [str(Path(sys.executable).with_name("attn")), *words]
            done = subprocess.run(command, cwd=folder, env=dict(environment), stdout=out, stderr=subprocess.STDOUT)
        print(f"{name}: {done.returncode} after {time.monotonic() - started:.0f} s", flush=True)
        if done.returncode != status:
            wrong.append(f"{name}: ended with {done.returncode}, not {status}: {(folder / f'{name}.out').read_text()}")

    options = ["root=s3://runs/here", f"tracking.uri={uri}"]
    registered = ["tracking.register_as=oaa", "tracking.alias=champion"]
    train = ["train", "scenes_oaa", *SMALL, "cluster.workers=2", *options, *registered, "--run-id", "whole"]
    attn("doctor", every, 0, "doctor", *options)
    attn("train", every, 0, *train)
    attn("evaluate", every, 0, "evaluate", "whole", *options, "tracking.enabled=true")
    attn("pipeline", every, 0, "pipeline", "oaa_plus_segment_scenes", *SMALL_PIPELINE, *options, "--run-id", "masks")
    attn("verify", every, 0, "store", "verify", "s3://runs/here/whole/store")
    # Artifacts come through the server: whoever gets a model needs its log-in and no key.
    attn("get", {**bare, **login}, 0, "models", "get", "oaa@champion", options[1], "--to", "model")
    attn("show", {**bare, **login}, 0, "models", "show", "oaa@champion", options[1])
    picture = next((ROOT / "docs" / "images").glob("*.png"))
    attn("predict", bare, 0, "predict", str(picture), "--model", "model", "--out", "predictions")
    attn("repro", every, 0, "repro", "whole", "--root", "s3://runs/here")
    mistaken = {**every, "MLFLOW_TRACKING_PASSWORD": f"{login['MLFLOW_TRACKING_PASSWORD']}x"}
    attn("wrong-password", mistaken, 1, "models", "ls", options[1])
    attn("no-key", {**bare, **login}, 1, "train", *train[1:-1], "keyless")
    attn("unknown-bucket", every, 1, "train", *train[1:-1], "elsewhere", "root=s3://nobody/here")
    secret_uri = uri.replace("//", f"//admin:{login['MLFLOW_TRACKING_PASSWORD']}@")
    attn("password-in-uri", every, 2, "train", *train[1:-1], "written", f"tracking.uri={secret_uri}")
    shutil.copytree(ray, folder / "ray", ignore=shutil.ignore_patterns("sockets"), symlinks=True)
    shutil.rmtree(ray)
    return wrong


def _dump(folder: Path, port: int, password: str) -> None:
    connection = ["-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "-f", str(folder / "dump.sql"), "mlflow"]
    _quietly(["pg_dump", *connection], env={**os.environ, "PGPASSWORD": password})


def _fetch(folder: Path, environment: Mapping[str, str]) -> None:
    """Every object, by number: some keys are those of folders. `index.txt` has their names."""
    folder.mkdir()
    names: list[str] = []
    with boto_client(environment) as client:
        for bucket in ("runs", "mlflow"):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                for item in page.get("Contents", []):
                    client.download_file(bucket, item["Key"], str(folder / f"{len(names):05d}"))
                    names.append(f"{len(names):05d} s3://{bucket}/{item['Key']}")
    (folder / "index.txt").write_text("\n".join(names))
    print(f"{len(names)} objects in S3 are searched", flush=True)


@contextlib.contextmanager
def boto_client(environment: Mapping[str, str]) -> Iterator[Any]:
    client = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    ).client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"])
    with contextlib.closing(client):
        yield client


@contextlib.contextmanager
def _running(command: list[str], log: Path, environment: Mapping[str, str], user: int | None = None) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env=dict(environment), cwd=log.parent, start_new_session=True, user=user
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)


def _quietly(command: list[str], *, env: Mapping[str, str] | None = None, user: int | None = None) -> bool:
    done = subprocess.run(command, capture_output=True, env=None if env is None else dict(env), cwd="/", user=user)
    if done.returncode and command[0] != "pg_isready":
        raise RuntimeError(f"{command[0]}: {done.stderr.decode()}")
    return done.returncode == 0


def _until(ready: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a server did not answer within {seconds:.0f} s")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        return urlopen(url, timeout=5).status == 200
    except (URLError, OSError):
        return False


def _lacks(program: str) -> str | None:
    return None if shutil.which(program) else f"{program} is not installed"


if __name__ == "__main__":
    main()
