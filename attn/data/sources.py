"""Every kind of source. Importing this module makes the family `SourceConfig` complete."""

from __future__ import annotations

__all__ = ["SourceConfig", "CocoConfig", "FolderConfig", "ManifestConfig", "ScenesConfig", "VocConfig"]

from attn.data.coco import CocoConfig
from attn.data.folder import FolderConfig
from attn.data.generated import ScenesConfig
from attn.data.manifest import ManifestConfig
from attn.data.source import SourceConfig
from attn.data.voc import VocConfig
