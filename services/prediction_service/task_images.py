"""Reads the images of Label Studio's tasks, from the places where the service may read them."""

from __future__ import annotations

__all__ = ["TaskImages"]

import base64
import binascii
import os
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

from attn.config.base import is_remote
from attn.errors import AttnError
from attn.files.locations import join, read_bytes
from attn.files.roots import is_inside
from attn.wording import shorten
from services.prediction_service.config import LabelStudioConfig
from services.prediction_service.engine import RefusedError

LOCAL_FILES = "/data/local-files/"
SERVED = ("/data/", "/storage-data/")
"""Where Label Studio serves images; its other paths are not asked, since its key may do more there."""
KEY = "LABEL_STUDIO_API_KEY"
TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two pieces of an answer."""
PIECE = 1 << 20
SHOWN = 200


class TaskImages:
    """The images that tasks refer to.

    Args:
        max_bytes: Size of the largest file that is read.
    """

    def __init__(self, config: LabelStudioConfig, max_bytes: int) -> None:
        self._config, self._max_bytes = config, max_bytes

    def read(self, location: str) -> bytes:
        """The content of an image's file.

        Args:
            location: As a task has it: a `data:` URI, an `s3://` URI or local file below a root, or an address or path
                of Label Studio.

        Raises:
            RefusedError: It may not be read, or cannot.
        """
        if location.startswith("data:"):
            return _decoded(location)
        try:
            if is_remote(location) or (self._config.roots and location.startswith(LOCAL_FILES)):
                return self._below_roots(location)
            return self._from_label_studio(location)
        except ValueError:  # of urllib's parser
            raise RefusedError(f"{_shown(location)} is no address of an image") from None

    def _below_roots(self, location: str) -> bytes:
        file = location
        if not is_remote(location):
            file = join(self._config.roots[0], parse_qs(urlsplit(location).query).get("d", [""])[0])
        if not any(is_inside(file, root) for root in self._config.roots):
            raise RefusedError(f"{_shown(location)} is below none of label_studio.roots")
        try:
            return read_bytes(file, self._max_bytes)
        except AttnError as error:
            raise RefusedError(str(error)) from None

    def _from_label_studio(self, location: str) -> bytes:
        import requests

        if self._config.url is None:
            raise RefusedError(f"{_shown(location)} may not be read: label_studio.url names no Label Studio")
        base = urlsplit(self._config.url)
        url = urljoin(f"{base.scheme}://{base.netloc}/", location)
        parts = urlsplit(url)
        path = unquote(parts.path)
        if (parts.scheme, parts.netloc) != (base.scheme, base.netloc):
            raise RefusedError(f"{_shown(location)} is of another server than label_studio.url")
        if not path.startswith(tuple(base.path.rstrip("/") + folder for folder in SERVED)) or ".." in path.split("/"):
            raise RefusedError(f"{_shown(location)} is no image that Label Studio keeps")
        headers = {"Authorization": f"Token {os.environ[KEY]}"} if os.environ.get(KEY) else {}
        try:
            with requests.get(url, headers=headers, timeout=TIMEOUT, allow_redirects=False, stream=True) as answer:
                if answer.status_code != 200:
                    raise RefusedError(f"{_shown(location)}: Label Studio answers with status {answer.status_code}")
                content = bytearray()
                for piece in answer.iter_content(PIECE):
                    content += piece
                    if len(content) > self._max_bytes:
                        raise RefusedError(f"{_shown(location)} has more than {self._max_bytes} bytes")
                return bytes(content)
        except requests.RequestException as error:
            raise RefusedError(f"{_shown(location)}: Label Studio does not answer: {type(error).__name__}") from None


def _decoded(uri: str) -> bytes:
    head, _, content = uri.partition(",")
    if not head.endswith(";base64"):
        raise RefusedError("a data: URI must be base64: data:image/png;base64,...")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError("the base64 of a data: URI is damaged") from None


def _shown(location: str) -> str:
    return shorten(location, SHOWN)
