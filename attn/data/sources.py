"""Every kind of source. Importing this module makes the family `SourceConfig` complete."""

from __future__ import annotations

__all__ = ["ScenesConfig", "VocConfig"]

from attn.data.generated import ScenesConfig
from attn.data.voc import VocConfig
