"""Runs the prediction service from a command: starts Ray or joins a cluster, deploys, and waits for the end."""

from __future__ import annotations

__all__ = ["deploy"]

import contextlib
import importlib.util
import logging
import signal
import socket
import threading
from collections.abc import Callable, Generator, Mapping

from attn import progress
from attn.errors import RunError
from attn.models.bundle import find_bundle
from attn.registry.lookup import is_registered_name
from attn.tracking.address import registry_uri
from jobs.ray_cluster.session import ray_session
from services.prediction_service.config import DeployConfig

NAME = "attn"
"""Of the application in Ray Serve."""
NEEDED = ("grpc_reflection", "werkzeug")
"""Modules of what only the extra `serve` brings."""
LOOK_SECONDS = 1.0


def deploy(
    config: DeployConfig,
    digests: Mapping[str, str],
    *,
    address: str | None,
    host: str,
    port: int,
    ready: Callable[[str], None],
) -> None:
    """Serve a model until Ctrl-C or SIGTERM; the requests that have begun are answered then.

    Args:
        digests: Roles by the SHA-256 of the token; empty: no token is needed.
        address: A Ray cluster; None starts Ray on this machine.
        host: Address on which the nodes listen.
        port: 0 chooses a free one.
        ready: Called with the URL as soon as requests are answered.

    Raises:
        AttnError: A package or the model is missing, the port is not free, or replicas do not start.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RunError(f"attn deploy needs Ray Serve ({missing[0]} is missing): pip install 'attn[serve]'")
    _check_model(config)
    port = _free_port(host, port) if address is None else port or _free_port("127.0.0.1", 0)
    with _stopped() as stopped, ray_session(address):
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        before = set(serve.status().applications)
        if NAME in before:
            raise RunError(f"the cluster has an application {NAME!r} already: end its `attn deploy` first")
        try:
            _start(config, digests, host, port, only=not before)
            ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            while not stopped.wait(LOOK_SECONDS):
                _check_running()
        finally:
            with progress.task("ending the service"):
                serve.delete(NAME)
                if address is not None and not before:
                    serve.shutdown()


def _check_model(config: DeployConfig) -> None:
    """Find the model before Ray is started.

    Raises:
        AttnError: It is not there, or the registry does not answer.
    """
    if is_registered_name(config.model):
        from attn.registry.mlflow_registry import Registry

        Registry(registry_uri(config.tracking, config.root)).find(config.model)
    else:
        find_bundle(config.model, config.root)


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        RunError: It is in use or not permitted.
    """
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            return int(listener.getsockname()[1])
    except OSError as error:
        raise RunError(f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port") from None


def _start(config: DeployConfig, digests: Mapping[str, str], host: str, port: int, *, only: bool) -> None:
    """Deploy, and wait until replicas are ready.

    Raises:
        RunError: They do not start; the message says why.
    """
    from ray import serve

    from services.prediction_service.deployment import build

    try:
        with progress.task(f"starting {config.min_replicas} with {config.model}"):
            if only:
                options = {"host": host, "port": port, "request_timeout_s": 2 * config.limits.seconds}
                serve.start(proxy_location="EveryNode", http_options=options)
            serve.run(build(config, digests), name=NAME, route_prefix="/")
    except Exception as error:  # Ray Serve raises RuntimeError for all that may go wrong in a replica
        reason = _reason() or str(error).strip().splitlines()[-1]
        raise RunError(f"the service did not start: {reason}") from error


def _reason() -> str | None:
    """The last line of what Serve says of a deployment that failed."""
    from ray import serve

    application = serve.status().applications.get(NAME)
    messages = [deployment.message for deployment in application.deployments.values()] if application else []
    lines = [message.strip().splitlines()[-1] for message in messages if message.strip()]
    return lines[0] if lines else None


def _check_running() -> None:
    """Raise if the application is gone.

    Raises:
        RunError: Somebody has deleted it, or it cannot run any more.
    """
    from ray import serve

    application = serve.status().applications.get(NAME)
    if application is None:
        raise RunError("the service was deleted from the cluster")
    if application.status == "DEPLOY_FAILED":
        raise RunError(f"the service failed: {_reason() or application.message}")


@contextlib.contextmanager
def _stopped() -> Generator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    event = threading.Event()

    def stop(number: int, frame: object) -> None:
        event.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
