"""timm's names of networks, and its own weights from Hugging Face's cache or hub."""

from __future__ import annotations

__all__ = ["known_name", "with_own_weights"]

import difflib
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import timm
from huggingface_hub import constants
from huggingface_hub.utils import get_session
from torch import nn

from attn.errors import ConfigError, WeightsError
from attn.models.backbone import TIMM
from attn.wording import shorten

TIMEOUT_S = 5.0


def known_name(name: str, field: str | None = None) -> str:
    """timm's own name of a network `timm/NAME`, with its tag.

    Args:
        field: The config's field that holds the name, for messages.

    Raises:
        ConfigError: timm has no such network; the message names similar ones.
    """
    where = f"{field}={name}: " if field else ""
    short = name.removeprefix(TIMM)
    plain, _, tag = short.partition(".")
    if not name.startswith(TIMM) or not timm.is_model(plain):
        near = difflib.get_close_matches(plain, timm.list_models(), n=4, cutoff=0.5)
        meant = f"did you mean {' or '.join(TIMM + other for other in near)}? " if near else ""
        fault = f"timm {timm.__version__} has no network {short!r}"
        if not name.startswith(TIMM):
            fault = f"names of timm's networks begin with {TIMM}"
        raise ConfigError(f"{where}{fault}: {meant}`timm.list_models()` lists all")
    if tag and short not in (tagged := timm.list_pretrained(f"{plain}.*")):
        known = ", ".join(other.partition(".")[2] for other in tagged) or "none"
        raise ConfigError(f"{where}timm's {plain} has no weights {tag!r}: it has {known}")
    return short


def with_own_weights(short: str, field: str, otherwise: str = "", **settings: Any) -> nn.Module:
    """timm's network with timm's weights. If the hub does not answer, only the cache is searched.

    Args:
        short: As `known_name` returns it.
        field: The config's field that could name a file of weights, for messages.
        otherwise: One more way out, for messages.

    Raises:
        WeightsError: The weights are not in the cache and cannot be downloaded.
    """
    unreachable = _unreachable()
    try:
        with _cache_only() if unreachable else nullcontext():
            return timm.create_model(short, pretrained=True, **settings)
    except Exception as error:  # of the hub, the network and timm; they have no common class
        reason = unreachable or _first_line(error)
        raise WeightsError(
            f"timm's weights of {short} are not in Hugging Face's cache ({constants.HF_HUB_CACHE}) and cannot be "
            f"downloaded ({reason}): set {field} to the path of a state dict, put the weights into the cache (HF_HOME "
            f"names another){otherwise}"
        ) from error


def _unreachable() -> str | None:
    """Why the hub cannot be reached, after one request; without an answer its own loader retries for 1.5 minutes."""
    try:
        status = get_session().head(constants.ENDPOINT, timeout=TIMEOUT_S).status_code
    except Exception as error:  # its client's errors have no stable class
        return f"no connection to {constants.ENDPOINT}: {_first_line(error)}"
    return f"{constants.ENDPOINT} answers with HTTP {status}" if status >= 500 else None


@contextmanager
def _cache_only() -> Generator[None]:
    """Let the hub's loader search its cache only."""
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _first_line(error: Exception) -> str:
    return shorten((str(error).strip().splitlines() or [type(error).__name__])[0], 300)
