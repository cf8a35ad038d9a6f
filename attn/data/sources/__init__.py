"""All kinds of sources. Importing this module registers them in the family `SourceConfig`."""

from __future__ import annotations

__all__ = [
    "SourceConfig",
    "Caltech256Config",
    "Cifar10Config",
    "Cifar100Config",
    "CocoConfig",
    "FolderConfig",
    "LookAlikesConfig",
    "ManifestConfig",
    "ScenesConfig",
    "VocConfig",
]

from attn.data.source import SourceConfig
from attn.data.sources.caltech import Caltech256Config
from attn.data.sources.cifar import Cifar10Config, Cifar100Config
from attn.data.sources.coco import CocoConfig
from attn.data.sources.folder import FolderConfig
from attn.data.sources.generated import ScenesConfig
from attn.data.sources.look_alikes import LookAlikesConfig
from attn.data.sources.manifest import ManifestConfig
from attn.data.sources.voc import VocConfig
