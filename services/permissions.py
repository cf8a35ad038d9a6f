"""Locations and addresses that a client's job may write, read and call. The service decides this, not the client.

The check runs on the config that the job itself resolves, so it does not matter how the client wrote it. Every config
field that takes text has a role here; a field without a role must keep its default.
"""

from __future__ import annotations

__all__ = ["ROLES", "Permissions", "Role", "code_in", "role_of", "takes_text"]

import os
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path as FilePath
from typing import Any, Literal, Union, get_args, get_origin

from attn.config.base import Config, is_remote
from attn.config.resolve import Objection
from attn.data.source import SourceConfig
from attn.files.locations import below
from attn.files.roots import is_inside
from attn.redaction import without_secrets
from attn.runs.pipeline import PipelineConfig
from attn.tracking import TrackingConfig
from attn.tracking.address import tracking_uri
from attn.training.run_config import RunConfig
from jobs.runs.run_folder import is_record

Path = tuple[str, ...]


class Role(Enum):
    """Use of a text field of a config.

    Attributes:
        ROOT: The folder or prefix under which everything is written.
        SERVER: A server that is called, and receives credentials.
        WRITTEN: A location that is written to.
        READ: A location that is read; in a data set's config, relative to its root.
        SPLIT: A part of a data set, which may be a path relative to its root.
        MODEL: A trained model's name or folder.
        CODE: What makes a program or network of the user's own run; a client must leave it at its default.
        NAME: A name that is neither a file nor a server.
    """

    ROOT = "root"
    SERVER = "server"
    WRITTEN = "written"
    READ = "read"
    SPLIT = "split"
    MODEL = "model"
    CODE = "code"
    NAME = "name"


FIELDS = {
    Role.ROOT: "RunConfig.root ModelLookup.root ComposedConfig.root SweepConfig.root",
    Role.SERVER: "TrackingConfig.uri",
    Role.WRITTEN: "StoreConfig.location StoreOutput.location PngOutput.location",
    Role.READ: """
        VocConfig.root VocConfig.masks VocConfig.saliency VocConfig.labels
        FolderConfig.root FolderConfig.masks FolderConfig.saliency
        CocoConfig.root CocoConfig.annotations CocoConfig.images
        ManifestConfig.manifest ManifestConfig.root Caltech256Config.root _CifarConfig.root
        ModelConfig.weights SegmentationModelConfig.weights OaaPlusConfig.maps StoreMaps.uri FolderMaps.path
        FileLabels.path SaliencySettings.saliency_model SegmentPredictConfig.cues EvaluateStoreConfig.predictions
        AffinityConfig.weights GainConfig.extra_list
        """,
    Role.SPLIT: "SourceConfig.split CocoConfig.split ValidationConfig.split Objective.split",
    Role.MODEL: "ModelMaps.model",
    Role.CODE: "ModelConfig.factory SegmentationModelConfig.factory SaliencySettings.saliency_sha256",
    # A sweep's recipe is a recipe or a file that was sent. Its `set` and `space` become fields of its trials, which are
    # checked later.
    Role.NAME: """
        SweepConfig.recipe SweepConfig.set SweepConfig.space Dimension.choices Objective.metric
        TrackingConfig.experiment TrackingConfig.register_as TrackingConfig.alias
        CheckpointConfig.best EarlyStoppingConfig.metric RunConfig.kind ModelConfig.name SegmentationModelConfig.name
        AffinityConfig.model
        ModelMaps.layer MapsConfig.layer ScoringConfig.layer GainConfig.layer GainConfig.extra_ids
        ManifestConfig.classes FolderConfig.classes ScenesConfig.classes LookAlikesConfig.classes
        CocoConfig.classes VocConfig.classes FolderConfig.mask_classes ManifestConfig.mask_classes
        """,
}
ROLES = {field: role for role, fields in FIELDS.items() for field in fields.split()}
"""Role of every field that takes text, by the class that declares the field first."""
SHARED = ("root", "tracking")
"""Fields that the stages of a pipeline share with it."""
CODE_FIELDS = frozenset(field.rpartition(".")[2] for field in FIELDS[Role.CODE].split())
LEAVE_OUT = "leave it out"
NOT_A_CLIENT_S = "cannot be set by a client"
READABLE = "a folder below the service's root, or below a folder given to `attn serve --data-root`"


def _default_root() -> str:
    """The root of a config that does not set one."""
    return os.path.abspath("runs")


@dataclass(frozen=True)
class Permissions:
    """Locations that the jobs of a service may write and read.

    Attributes:
        root: Folder or prefix under which everything is written.
        data_roots: Further folders and prefixes that may be read.
    """

    root: str
    data_roots: tuple[str, ...] = ()

    def submitted(self, config: Config) -> Iterator[Objection]:
        """Fields of a client's config that a client must not set. Its root may be left out."""
        own = (_default_root(), self.root)
        return self._of_config(config, (), lambda root: root in own)

    def run(self, config: Config) -> Iterator[Objection]:
        """Forbidden fields of the config of a job, or of one of its stages or trials.

        Stages and trials have a root inside the job's run. A sweep resolves some trials without running them; those
        have the default root.
        """
        return self._of_config(config, (), lambda root: root == _default_root() or is_inside(root, self.root))

    def resumed(self, config: Config) -> Iterator[Objection]:
        """Forbidden fields of a resumed job's config. Any root is accepted: the run may have been moved since."""
        return self._of_config(config, (), lambda root: True)

    def of_split(self, data: SourceConfig, split: str, path: Path) -> Iterator[Objection]:
        """The field at `path` if the split that it names leads out of what the service reads."""
        root = getattr(data, "root", None)
        if root is not None and self.reads(root) and not self.reads(below(root, split)):
            yield path, f"= {split!r} leads out of the data set", "the name of one of its splits"

    def reads(self, location: str) -> bool:
        return any(is_inside(location, root) for root in (self.root, *self.data_roots))

    def writes(self, location: str) -> bool:
        if not is_inside(location, self.root):
            return False
        resolved, root = (one if is_remote(one) else os.path.realpath(one) for one in (location, self.root))
        first = resolved[len(root) :].strip("/").partition("/")[0]
        return bool(first) and not is_record(first)

    def _of_config(
        self, config: Config, path: Path, is_root: Callable[[str], bool], leave: tuple[str, ...] = ()
    ) -> Iterator[Objection]:
        inner = SHARED if isinstance(config, PipelineConfig) else ()  # report shared fields once
        for name, field in type(config).model_fields.items():
            value, here = getattr(config, name), (*path, name)
            if name in leave:
                continue
            if isinstance(value, Config):
                yield from self._of_config(value, here, is_root, inner)
            elif value is not None and takes_text(field.annotation) and not _is_choice(field.annotation, value):
                yield from self._of_text(config, name, value, here, is_root)
        if isinstance(config, RunConfig) and config.validation.split is not None:
            yield from self.of_split(config.data, config.validation.split, (*path, "validation", "split"))

    def _of_text(
        self, config: Config, name: str, given: Any, path: Path, is_root: Callable[[str], bool]
    ) -> Iterator[Objection]:
        value, role = str(given), role_of(type(config), name)
        shown = f"= {without_secrets(value)}"
        match role:
            case Role.ROOT if not is_root(value):
                yield path, f"{shown} is not the service's root", LEAVE_OUT
            case Role.SERVER if value not in self._servers():
                yield path, "is not the service's own", "leave it out: the service uses its own MLFLOW_TRACKING_URI"
            case Role.WRITTEN if not self.writes(value):
                yield path, f"{shown} is outside the service's root: the service decides where jobs write", LEAVE_OUT
            case Role.READ if not self._reads_field(config, name, value):
                yield path, f"{shown} is outside the folders that the service may read", READABLE
            case Role.SPLIT if isinstance(config, SourceConfig):
                yield from self.of_split(config, value, path)
            case Role.MODEL if (folder := model_folder(value)) is not None and not self.reads(folder):
                yield path, f"{shown} is outside the folders that the service may read", "a run's name, or NAME@ALIAS"
            case None | Role.CODE if given != type(config).model_fields[name].default:
                yield path, NOT_A_CLIENT_S, LEAVE_OUT
            case _:
                pass

    def _reads_field(self, config: Config, name: str, value: str) -> bool:
        """Return whether a location may be read, or is below a data set's root that is reported itself."""
        root = getattr(config, "root", None)
        if not isinstance(config, SourceConfig) or name == "root" or root is None:
            return self.reads(value)
        location = below(root, value.replace("{split}", config.split))
        return self.reads(location) or (location.startswith(root) and not self.reads(root))

    def _servers(self) -> tuple[str | None, ...]:
        """The tracking URI of the service's environment, and the default of runs under a local root."""
        given = TrackingConfig(enabled=False)
        return given.uri, None if is_remote(self.root) else tracking_uri(given, self.root)


def code_in(values: Mapping[str, Any], path: Path = ()) -> Iterator[Objection]:
    """Fields of a client's values that make code run. Values are checked before a config is made of them.

    Making a config already calls the function that `model.factory` names. A sweep's names are `model.factory` whole.
    """
    for name, value in values.items():
        here = (*path, name)
        if isinstance(value, Mapping) and name.rpartition(".")[2] not in CODE_FIELDS:
            yield from code_in(value, here)
        elif value is not None and name.rpartition(".")[2] in CODE_FIELDS:
            yield here, NOT_A_CLIENT_S, LEAVE_OUT


def role_of(kind: type[Config], name: str) -> Role | None:
    """The role of a field, found by the class that declares it first."""
    known = (ROLES.get(f"{one.__name__}.{name}") for one in kind.__mro__)
    return next((role for role in known if role is not None), None)


def takes_text(annotation: Any) -> bool:
    """Return whether a field's value may be or contain any text."""
    if annotation in (str, Any, object):
        return True
    if get_origin(annotation) is Literal:
        return False
    return any(takes_text(inner) for inner in get_args(annotation))


def model_folder(model: str) -> str | None:
    """The folder of a trained model that is given by its location; None if it is given by a name."""
    if is_remote(model) or os.path.isabs(model) or ".." in model.split("/"):
        return model
    # As `attn.models.bundle.find_bundle` and `jobs.scoring.targets.open_target` find it, from the current folder.
    marks = ("model.json", "model/model.json", "store.json")
    return model if any(FilePath(model, mark).is_file() for mark in marks) else None


def _is_choice(annotation: Any, value: Any) -> bool:
    """Return whether a value is one of the fixed choices of a field, such as `imagenet`."""
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    return get_origin(annotation) in (Union, types.UnionType) and any(
        _is_choice(option, value) for option in get_args(annotation)
    )
