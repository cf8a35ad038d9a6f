"""A small HTTP server with the part of MLflow's REST API that a run needs, which can be stopped and started."""

from __future__ import annotations

__all__ = ["StandIn"]

import json
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.ports import free_port

API, FILES = "/api/2.0/mlflow/", "/api/2.0/mlflow-artifacts/artifacts"


class StandIn:
    """What arrived, whatever happened in between.

    Attributes:
        requests: By path, those that came through.
        metrics: (name, value, time, step), each as often as it was sent.
        lose: How many answers get lost after the request has done its work.
        refuse: Names of metrics that are refused for good.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.requests: Counter[str] = Counter()
        self.metrics: list[tuple[str, float, int, int]] = []
        self.tags: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.ends: list[dict[str, Any]] = []
        self.lose, self.refuse = 0, set[str]()
        self._server: ThreadingHTTPServer | None = None

    @property
    def run(self) -> str:
        """A run's id, which no other server has: MLflow's client keeps where a run's files go."""
        return f"run{self.port}"

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None: ...

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = stand_in.answer(self.command, self.path, body)
                if stand_in.lose and self.command in ("POST", "PUT"):
                    stand_in.lose -= 1
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        for method in ("GET", "POST", "PUT"):
            setattr(Handler, f"do_{method}", Handler.serve)

        class Server(ThreadingHTTPServer):
            allow_reuse_address = daemon_threads = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, method: str, url: str, body: bytes) -> tuple[int, dict[str, Any]]:
        location = urlsplit(url)
        self.requests[location.path] += 1
        if location.path.startswith(FILES):
            if method == "GET":
                folder = parse_qs(location.query).get("path", [""])[0]
                results = [name for name in self.files if name.startswith(f"/{folder}/")]
                return 200, {"files": [{"path": name.rpartition("/")[2], "is_dir": False} for name in results]}
            self.files[location.path.removeprefix(FILES)] = body
            return 200, {}
        call, message = location.path.removeprefix(API), json.loads(body or b"{}")
        if call == "runs/log-batch":
            sent = message.get("metrics", [])
            if self.refuse & {one["key"] for one in sent}:
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "no such metric"}
            self.metrics += [(one["key"], one["value"], int(one["timestamp"]), int(one.get("step", 0))) for one in sent]
        elif call == "runs/set-tag":
            self.tags[message["key"]] = message["value"]
        elif call == "runs/update":
            self.ends.append(message)
        elif call == "experiments/get-by-name":
            return 200, {
                "experiment": {
                    "experiment_id": "0",
                    "name": message.get("experiment_name"),
                    "lifecycle_stage": "active",
                }
            }
        info = {"run_id": self.run, "run_uuid": self.run, "experiment_id": "0"}
        info["artifact_uri"] = f"mlflow-artifacts:/{self.run}"
        return 200, {"run": {"info": info, "data": {}}, "run_info": info}
