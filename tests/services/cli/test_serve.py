"""`attn serve` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from services.table import Job, JobTable


def test_serves_on_a_free_port_until_interrupted(tmp_path: Path) -> None:
    call = [sys.executable, "-c", "from services.cli.main import main; main()", "serve", "--port", "0", "--json"]
    process = subprocess.Popen(
        [*call, "--root", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        address = process.stderr.readline().strip().removeprefix("serving ")
        with urllib.request.urlopen(f"{address}/healthz", timeout=60) as answer:
            assert json.load(answer)["status"] == "ok"
        file = tmp_path / ".service" / "token"
        assert process.stderr.readline() == f"token {file}: this user's attn finds it\n"
        assert (stat.S_IMODE(file.stat().st_mode), len(file.read_text().strip())) == (0o600, 43)
        assert [_status(f"{address}/jobs", token) for token in (None, "x" * 43, file.read_text())] == [401, 401, 200]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert json.loads(process.stdout.read()) == {"stopped": True}
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()


def _status(url: str, token: str | None) -> int:
    """What a service answers to somebody with this token."""
    shown = {} if token is None else {"Authorization": f"Bearer {token.strip()}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=shown), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_another_address_than_this_machines_own_is_refused(attn: Any) -> None:
    done = attn("serve", "--host", "0.0.0.0")
    assert done.status == 2
    assert "ssh -L" in done.err
    assert "--tokens" in done.err


def test_tokens_and_no_token_contradict_each_other(attn: Any) -> None:
    done = attn("serve", "--no-token", "--tokens", "tokens.json")
    assert done.status == 2
    assert "contradicts --tokens" in done.err


def test_a_job_server_is_named_without_a_password(attn: Any) -> None:
    for given in ("ray://head:10001", "http://me:hidden@head:8265"):
        done = attn("serve", "--ray-jobs", given)
        assert done.status == 2
        assert "RAY_AUTH_TOKEN_PATH" in done.err
        assert "hidden" not in done.err


def test_a_service_that_cannot_listen_starts_nothing(attn: Any, tmp_path: Path) -> None:
    home = tmp_path / ".service"
    home.mkdir()
    table = JobTable(f"sqlite:///{home}/jobs.db")
    table.add(Job(id="j", kind="evaluate", target="absent", request="r"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = attn("serve", "--root", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert (done.status, done.err.count("error: cannot listen on 127.0.0.1")) == (1, 1), done.err
    assert table.counts() == {"queued": 1}
    assert not (home / "service.json").exists()
    table.close()
