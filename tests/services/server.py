"""A service as a process of its own on a free port of this machine, to call, to kill and to start again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.environment import without_ray

# -P: no package of the working directory, which is the checkout's, comes before those of PYTHONPATH.
COMMAND = [sys.executable, "-P", "-c", "from services.cli.main import main; main()", "serve", "--port", "0"]


class Server:
    """`attn serve` over a root, in a session of its own, as a service manager starts it."""

    def __init__(
        self, root: Path, *arguments: str, environment: dict[str, str] | None = None, token: str | None = None
    ) -> None:
        """Start it.

        Args:
            token: What `call` shows, of the file that `--tokens` names; without one, the service's own.
        """
        self.root, self.arguments, self.environment, self.given = root, arguments, environment or {}, token
        self.start()

    def start(self) -> None:
        environment = without_ray() | self.environment
        self.process = subprocess.Popen(
            [*COMMAND, "--root", str(self.root), *self.arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line.startswith("serving "), line
        self.url = line.strip().removeprefix("serving ")
        address = json.loads((self.root / ".service" / "service.json").read_text())
        self.token = (self.root / ".service" / "token").read_text().strip() if address["own_token"] else self.given

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self._ended()

    def _ended(self) -> None:
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, body (JSON where it is) and headers of an answer; a token is shown, if there is one.

        Args:
            headers: More of them, or others; one without a text is left out.
        """
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        sent = {name: text for name, text in (sent | headers).items() if text}
        request = urllib.request.Request(self.url + path, data=data, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, _read(answer), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error), error.headers

    def until(self, job: str, *states: str, seconds: float = 300, **headers: str) -> dict[str, Any]:
        """A job's status once it is in one of these states.

        Args:
            seconds: How long nothing of the status may change.
        """
        before, changed = None, time.monotonic()
        while True:
            status = self.call("GET", f"/jobs/{job}", **headers)[1]
            if status["state"] in states:
                return status
            if status != before:
                before, changed = status, time.monotonic()
            assert time.monotonic() - changed < seconds, status
            time.sleep(0.3)


def _read(answer: Any) -> Any:
    data = answer.read()
    return json.loads(data) if "json" in answer.headers.get("content-type", "") else data
