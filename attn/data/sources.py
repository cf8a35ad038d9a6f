"""Every kind of source. Importing this module makes the family `SourceConfig` complete."""

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

from attn.data.caltech import Caltech256Config
from attn.data.cifar import Cifar10Config, Cifar100Config
from attn.data.coco import CocoConfig
from attn.data.folder import FolderConfig
from attn.data.generated import ScenesConfig
from attn.data.look_alikes import LookAlikesConfig
from attn.data.manifest import ManifestConfig
from attn.data.source import SourceConfig
from attn.data.voc import VocConfig
