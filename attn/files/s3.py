"""The S3 client of everything here, and its settings for libraries that make clients of their own.

Keys, region and endpoint are taken as by Amazon's own tools: from the environment (`AWS_ENDPOINT_URL` for a server that
is not Amazon's), else from the profile in `~/.aws/config`. Checksums that servers other than Amazon's refuse are sent
where S3 demands them only, unless environment or profile say otherwise.
"""

from __future__ import annotations

__all__ = ["CHECKSUMS", "checksums", "client", "pyarrow_options", "reason"]

import functools
import os
import re
from typing import Any
from urllib.parse import urlsplit

from attn.proxies import spare_loopback

CHECKSUMS = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")
SPARING = "when_required"
AMAZON = re.compile(r"s3[.-]([a-z0-9-]+\.)?amazonaws\.com(\.cn)?")
REFUSED_CHECKSUM = (400, 411, 501)
"""What servers answer that do not know the headers, or no body with its checksum behind it."""


class _AddressError(Exception):
    """The server's address is not one."""


def client(retries: int = 4) -> Any:
    """The process's S3 client; another one as soon as the environment has changed.

    Args:
        retries: How often the client repeats a request by itself.
    """
    spare_loopback()
    settings = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(("AWS_", "HOME"))))
    return _make_client(os.getpid(), settings, retries)


def checksums() -> dict[str, str]:
    """When checksums are sent and checked, by the variables that say so to every S3 client."""
    found = {name: os.environ.get(name, "") for name in CHECKSUMS}
    file = os.path.expanduser(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
    profile: dict[str, Any] = {}
    if not all(found.values()) and os.path.exists(file):  # else there is no need of an import that takes long
        import botocore.session
        from botocore.exceptions import BotoCoreError

        try:
            profile = botocore.session.get_session().get_scoped_config()
        except BotoCoreError:
            profile = {}  # whoever makes a client is told
    return {
        name: value or str(profile.get(name.removeprefix("AWS_").lower(), SPARING)) for name, value in found.items()
    }


def pyarrow_options() -> dict[str, str]:
    """How pyarrow's S3 file system reaches the same server; it does not read `~/.aws/config` for this."""
    meta = client().meta
    options: dict[str, str] = {}
    place = urlsplit(meta.endpoint_url)
    if not AMAZON.fullmatch(place.hostname or ""):
        options |= {"endpoint_override": place.netloc + place.path.rstrip("/"), "scheme": place.scheme}
    if meta.region_name and meta.region_name != "aws-global":
        options["region"] = meta.region_name
    return options


@functools.lru_cache(maxsize=4)
def _make_client(pid: int, settings: tuple[tuple[str, str], ...], retries: int) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"total_max_attempts": retries + 1, "mode": "standard"},
        max_pool_connections=32,
        **{name.removeprefix("AWS_").lower(): value for name, value in checksums().items()},
    )
    # Amazon's other tools take either variable, boto3 one of them.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    try:
        return session.client("s3", config=config)
    except ValueError:
        raise _AddressError from None


def reason(error: Exception) -> str:
    """An S3 failure in words, without keys, signatures or addresses; programming errors are raised again."""
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
        return f"{error}; look at AWS_PROFILE and ~/.aws"
    if isinstance(error, ConnectionFailure):
        return f"the object store cannot be reached ({type(error).__name__}); check AWS_ENDPOINT_URL and the network"
    if isinstance(error, (BotoCoreError, Boto3Error, OSError)):
        return f"cannot be read from the object store ({type(error).__name__})"
    if isinstance(error, _AddressError):
        return "the object store's address is not one: AWS_ENDPOINT_URL, or endpoint_url in ~/.aws/config, must be " \
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
    if status in REFUSED_CHECKSUM and value != SPARING:
        hint = f"; it may know no checksums, which are sent since {setting} is {value}: set it to {SPARING}"
    return f"refused by the object store ({code}){hint}"
