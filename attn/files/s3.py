"""The S3 client, and its settings for libraries that create their own clients.

Credentials, region and endpoint are those of the AWS command line: from the environment (`AWS_ENDPOINT_URL` for other
servers), else from the profile in `~/.aws/config`. Checksums are only sent when S3 requires them, because some servers
refuse them; environment and profile can override this.
"""

from __future__ import annotations

__all__ = ["CHECKSUMS", "checksums", "client", "reason", "settings"]

import functools
import os
from typing import Any

from attn.proxies import bypass_proxies_for_loopback

CHECKSUMS = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")
WHEN_REQUIRED = "when_required"
CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
BRIEF_CONNECT_SECONDS, BRIEF_READ_SECONDS = 4.0, 10.0
CHECKSUM_REFUSED_STATUSES = (400, 411, 501)
"""HTTP statuses of servers that do not support checksum headers or trailers."""


class _AddressError(Exception):
    """The endpoint's URL is invalid."""


def settings() -> tuple[tuple[str, str], ...]:
    """The environment variables that say which object store is used, and how."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(("AWS_", "HOME"))))


def client(*, attempts: int = 1, brief: bool = False) -> Any:
    """The process's cached S3 client; a new one after the environment has changed.

    Args:
        attempts: How often each request of a transfer in parts is sent; `attn.files.patience.call` repeats the rest.
        brief: Give up a server that is silent for some seconds.
    """
    bypass_proxies_for_loopback()
    return _make_client(os.getpid(), settings(), attempts, brief)


def checksums() -> dict[str, str]:
    """The checksum settings, as environment variables that every AWS client understands."""
    results = {name: os.environ.get(name, "") for name in CHECKSUMS}
    file = os.path.expanduser(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
    profile: dict[str, Any] = {}
    if not all(results.values()) and os.path.exists(file):  # else avoid the slow import
        import botocore.session
        from botocore.exceptions import BotoCoreError

        try:
            profile = botocore.session.get_session().get_scoped_config()
        except BotoCoreError:
            profile = {}  # creating a client reports the error
    return {
        name: value or str(profile.get(name.removeprefix("AWS_").lower(), WHEN_REQUIRED))
        for name, value in results.items()
    }


@functools.lru_cache(maxsize=6)
def _make_client(pid: int, settings: tuple[tuple[str, str], ...], attempts: int, brief: bool) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=BRIEF_CONNECT_SECONDS if brief else CONNECT_SECONDS,
        read_timeout=BRIEF_READ_SECONDS if brief else READ_SECONDS,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        max_pool_connections=32,
        **{name.removeprefix("AWS_").lower(): value for name, value in checksums().items()},
    )
    # Other AWS tools read AWS_REGION too; boto3 reads only AWS_DEFAULT_REGION.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    try:
        return session.client("s3", config=config)
    except ValueError:
        raise _AddressError from None


def reason(error: Exception) -> str:
    """Describe an S3 error without keys, signatures or addresses. Programming errors are raised again."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConfigParseError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
    )
    from botocore.exceptions import ConnectionError as ConnectionFailure

    if isinstance(error, ClientError):
        return _refusal(error)
    if isinstance(error, NoCredentialsError):
        return "no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, ProfileNotFound | ConfigParseError | PartialCredentialsError):
        return f"{error}; check AWS_PROFILE and ~/.aws"
    if isinstance(error, ConnectionFailure):
        return f"the object store cannot be reached ({type(error).__name__}); check AWS_ENDPOINT_URL and the network"
    if isinstance(error, (BotoCoreError, Boto3Error, OSError)):
        return f"cannot be read from the object store ({type(error).__name__})"
    if isinstance(error, _AddressError):
        return "the object store's address is invalid: AWS_ENDPOINT_URL, or endpoint_url in ~/.aws/config, must be " \
               "http://host:port or https://host"  # fmt: skip
    raise error


def _refusal(error: Any) -> str:
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    if code in ("NoSuchKey", "404"):
        return "no such object"
    if code == "NoSuchBucket":
        return "no such bucket"
    hint = "; check the credentials and the bucket's policy" if code in ("AccessDenied", "403") else ""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    setting, value = next(iter(checksums().items()))
    if status in CHECKSUM_REFUSED_STATUSES and value != WHEN_REQUIRED:
        hint = f"; it may not support checksums, which are sent because {setting} is {value}: set it to {WHEN_REQUIRED}"
    return f"refused by the object store ({code}){hint}"
