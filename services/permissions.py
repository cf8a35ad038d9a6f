"""How far a client's job reaches: where it writes, what it reads, whom it calls. The service says so, not the client.

What is looked at is the config that the job itself resolves, so that it does not matter how a client has written it.
Every field that takes a text has a role here; one that has none must be as it would be if it were not given.
"""

from __future__ import annotations

__all__ = ["ROLES", "Permissions", "Role", "role_of", "takes_text"]

import os
import types
from collections.abc import Callable, Iterator
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
    """What a text in a config does.

    Attributes:
        ROOT: Says where everything is written.
        SERVER: Is called, and sent credentials.
        WRITTEN: Is written to.
        READ: Is read; of a data set a relative path starts from its root.
        SPLIT: Names a part of a data set, which may be a path from its root.
        MODEL: Is a trained model's name, or its folder.
        NAME: Leads to no file and no server.
    """

    ROOT = "root"
    SERVER = "server"
    WRITTEN = "written"
    READ = "read"
    SPLIT = "split"
    MODEL = "model"
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
        FileLabels.path SegmentPredictConfig.cues EvaluateStoreConfig.predictions
        """,
    Role.SPLIT: "SourceConfig.split CocoConfig.split ValidationConfig.split Objective.split",
    Role.MODEL: "ModelMaps.model",
    # Of a sweep: a recipe's name, and what becomes fields of its trials, which are looked at themselves.
    Role.NAME: """
        SweepConfig.base SweepConfig.set SweepConfig.space Dimension.choices Objective.metric
        TrackingConfig.experiment TrackingConfig.register_as TrackingConfig.alias
        RunConfig.kind ModelConfig.name SegmentationModelConfig.name
        ModelMaps.layer MapsConfig.layer ScoringConfig.layer GainConfig.layer
        ManifestConfig.classes FolderConfig.classes ScenesConfig.classes LookAlikesConfig.classes
        """,
}
ROLES = {field: role for role, fields in FIELDS.items() for field in fields.split()}
"""Of every field that takes a text, by the class that has it first."""
SHARED = ("root", "tracking")
"""What the stages of a pipeline have in common with it."""
READABLE = "a folder below the service's root, or below one of those that it was started with: attn serve --data-root"


def _left_out() -> str:
    """The root of a config that names none."""
    return os.path.abspath("runs")


@dataclass(frozen=True)
class Permissions:
    """Where the jobs of a service may write and read.

    Attributes:
        root: Under which everything is written.
        data_roots: What is read besides.
    """

    root: str
    data_roots: tuple[str, ...] = ()

    def submitted(self, config: Config) -> Iterator[Objection]:
        """Fields of a client's config that a client may not set; its root may be left out."""
        own = (_left_out(), self.root)
        return self._of_config(config, (), lambda root: root in own)

    def run(self, config: Config) -> Iterator[Objection]:
        """The same of a config that a job runs, or a stage or trial of it, whose root is a folder of the job's.

        Of a sweep's trials some are only looked at, and have no root: one that runs is given the sweep's.
        """
        return self._of_config(config, (), lambda root: root == _left_out() or is_inside(root, self.root))

    def resumed(self, config: Config) -> Iterator[Objection]:
        """The same of a job that goes on, in the folder where its run is: its config may say where that was before."""
        return self._of_config(config, (), lambda root: True)

    def of_split(self, data: SourceConfig, split: str, path: Path) -> Iterator[Objection]:
        """The same of a part of a data set that another field than its own names."""
        place = getattr(data, "root", None)
        if place is not None and self.reads(place) and not self.reads(below(place, split)):
            yield path, f"= {split!r} leads out of the data", "the name of a part of it"

    def reads(self, location: str) -> bool:
        return any(is_inside(location, root) for root in (self.root, *self.data_roots))

    def writes(self, location: str) -> bool:
        if not is_inside(location, self.root):
            return False
        place, root = (one if is_remote(one) else os.path.realpath(one) for one in (location, self.root))
        first = place[len(root) :].strip("/").partition("/")[0]
        return bool(first) and not is_record(first)

    def _of_config(
        self, config: Config, path: Path, is_root: Callable[[str], bool], leave: tuple[str, ...] = ()
    ) -> Iterator[Objection]:
        inner = SHARED if isinstance(config, PipelineConfig) else ()  # one objection to what they share is enough
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
                yield path, f"{shown} is not the service's root", "leave it out"
            case Role.SERVER if value not in self._servers():
                yield path, "is not the service's own", "leave it out: MLFLOW_TRACKING_URI of the service is taken"
            case Role.WRITTEN if not self.writes(value):
                yield path, f"{shown} lies outside the service's root: it decides where jobs write", "leave it out"
            case Role.READ if not self._reads_field(config, name, value):
                yield path, f"{shown} lies outside of what the service reads", READABLE
            case Role.SPLIT if isinstance(config, SourceConfig):
                yield from self.of_split(config, value, path)
            case Role.MODEL if (folder := model_folder(value)) is not None and not self.reads(folder):
                yield path, f"{shown} lies outside of what the service reads", "a run's name, or NAME@ALIAS"
            case None if given != type(config).model_fields[name].default:
                yield path, "cannot be set by a client", "leave it out"
            case _:
                pass

    def _reads_field(self, config: Config, name: str, value: str) -> bool:
        """Whether a field leads to what is read, or starts from a data set's root that is objected to itself."""
        root = getattr(config, "root", None)
        if not isinstance(config, SourceConfig) or name == "root" or root is None:
            return self.reads(value)
        place = below(root, value.replace("{split}", config.split))
        return self.reads(place) or (place.startswith(root) and not self.reads(root))

    def _servers(self) -> tuple[str | None, ...]:
        """The tracking server of the service's environment, or else what is taken where there is none."""
        given = TrackingConfig(enabled=False)
        return given.uri, None if is_remote(self.root) else tracking_uri(given, self.root)


def role_of(kind: type[Config], name: str) -> Role | None:
    """What a field does, by the class that has it first."""
    known = (ROLES.get(f"{one.__name__}.{name}") for one in kind.__mro__)
    return next((role for role in known if role is not None), None)


def takes_text(annotation: Any) -> bool:
    """Whether a field's value may be any text, or hold one."""
    if annotation in (str, Any, object):
        return True
    if get_origin(annotation) is Literal:
        return False
    return any(takes_text(inner) for inner in get_args(annotation))


def model_folder(model: str) -> str | None:
    """Where a trained model lies that is named by its place and not by its run's, or its own, name."""
    if is_remote(model) or os.path.isabs(model) or ".." in model.split("/"):
        return model
    # As `attn.models.bundle.find_bundle` and `jobs.scoring.targets.open_subject` look for it, from where they run.
    marks = ("model.json", "model/model.json", "store.json")
    return model if any(FilePath(model, mark).is_file() for mark in marks) else None


def _is_choice(annotation: Any, value: Any) -> bool:
    """Whether a value is one of those that a field names itself, such as `imagenet`."""
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    return get_origin(annotation) in (Union, types.UnionType) and any(
        _is_choice(option, value) for option in get_args(annotation)
    )
