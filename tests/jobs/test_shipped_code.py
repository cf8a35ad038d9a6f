"""The code that is sent to a cluster. `tests/services/test_ray_jobs.py` sends it to one."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ray.runtime_env import RuntimeEnv
from ray.runtime_env.runtime_env import _merge_runtime_env

from attn.errors import RunError
from attn.own_code import code_digest, code_folder
from attn.source_tree import ORIGIN_FILE, origin_file
from jobs.ray_cluster import shipped_code
from jobs.ray_cluster.session import ray_session
from jobs.ray_cluster.shipped_code import WRITES_BYTECODE, job_environment, read_code


def test_the_package_holds_this_code_and_what_it_requires(tmp_path: Path) -> None:
    code = read_code()
    with zipfile.ZipFile(io.BytesIO(code.zipped())) as archive:
        archive.extractall(tmp_path / "zip")
    code.write(tmp_path / "folder")
    assert code_digest(tmp_path / "zip") == code_digest(tmp_path / "folder") == code_digest(code_folder())
    (described,) = (tmp_path / "folder").glob("attn-*.dist-info/METADATA")
    assert "\nRequires-Dist: torch" in described.read_text()
    assert code.contents.get(ORIGIN_FILE) == origin_file()  # by which runs of the copy know their commit
    assert code.package == read_code().package


def test_of_a_factorys_package_files_of_python_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "networks" / "deep").mkdir(parents=True)
    for name in ("networks/__init__.py", "networks/deep/net.py", "networks/weights.pt", "single.py", "beside.py"):
        (tmp_path / name).touch()
    (tmp_path / "networks" / "secret.py").symlink_to(tmp_path / "beside.py")  # leads out of the package
    (tmp_path / "networks" / "broken.py").symlink_to(tmp_path / "missing.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    plain = read_code()
    code = read_code("networks.deep.net:build, single:net,torchvision.models:resnet18,nowhere:net,json:loads")
    added = {name for name in code.contents if name not in plain.contents}
    assert added == {"networks/__init__.py", "networks/deep/net.py", "single.py"}
    assert code.package != plain.package


def test_an_error_names_the_largest_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large.py").write_text("#" * 10**6)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(shipped_code, "LARGEST_BYTES", 10**6)
    message = "more than 1.0 MB; the largest files are .*/large.py .1.0 MB., .*: move what"
    with pytest.raises(RunError, match=message), job_environment({}, "large:net"):
        pass


def test_what_a_job_was_submitted_with_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own function says whether a driver may give more."""
    given = {"A": "1", "B": "2"}
    cases: tuple[dict[str, Any], ...] = (
        {},
        {"env_vars": {"A": "3"}},
        {"env_vars": dict.fromkeys(WRITES_BYTECODE, "1")},
        {"working_dir": "gcs://x.zip"},
        {"py_modules": ["gcs://x.zip"]},
    )
    for submitted in cases:
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": submitted, "metadata": {}}))
        with job_environment(given) as environment:
            merged: Any = _merge_runtime_env(RuntimeEnv(**submitted), RuntimeEnv(**environment))
        assert merged is not None
        assert merged["env_vars"] == {**WRITES_BYTECODE, **given, **submitted.get("env_vars", {})}
        brought = submitted.keys() & {"working_dir", "py_modules"}
        assert ("working_dir" in environment) is not bool(brought)


def test_ray_does_not_start_where_its_workers_would_import_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # another test's session may be up
    with pytest.raises(RunError, match="working directory has a package 'jobs'.*another folder"), ray_session():
        pass
