"""Commands of MLflow's registry of models, and the export of a model to a file for other programs."""

from __future__ import annotations

__all__ = ["export", "get", "ls", "promote", "show"]

import contextlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from attn import progress
from attn.config.document import read_document
from attn.errors import ConfigError, Fault, RunError, TrackingError, WeightsError
from attn.evaluation.score_comparison import ScoreComparison, compare_scores
from attn.models.description import CONFIG, describing, read_description
from attn.registry.card import model_card
from attn.registry.lookup import open_model
from attn.runs.result import JsonResult
from attn.tracking.address import display_uri, registry_uri
from attn.tracking.config import fault_of_alias
from attn.tracking.model_lookup import ModelLookup
from attn.tracking.sqlite import sqlite_file

if TYPE_CHECKING:
    from attn.prediction.export import Exported
    from attn.registry.mlflow_registry import Registry
    from attn.registry.registered import RegisteredModel


@dataclass(frozen=True)
class RegistryListing(JsonResult):
    """The versions in a registry.

    Attributes:
        registry: Its address.
    """

    registry: str
    models: list[RegisteredModel]


@dataclass(frozen=True)
class ShownModel(JsonResult):
    """A registered version with its `model.json`, config and card."""

    model: RegisteredModel
    description: dict[str, Any]
    config: dict[str, Any]
    card: str

    def to_json(self) -> dict[str, Any]:
        described = {"description": self.description, "config": self.config, "card": self.card}
        return self.model.to_json() | described


@dataclass(frozen=True)
class FetchedModel(JsonResult):
    """A registered version, and the folder that holds it."""

    model: RegisteredModel
    folder: str

    def to_json(self) -> dict[str, Any]:
        return self.model.to_json() | {"folder": self.folder}


@dataclass(frozen=True)
class ClassChange(JsonResult):
    """How the classes of a version differ from those of the version before.

    Attributes:
        new, missing: Classes that only the version has, and that only the one before has.
        reordered: Whether both have the same classes in another order.
    """

    new: list[str]
    missing: list[str]
    reordered: bool

    @classmethod
    def of(cls, before: Sequence[str], after: Sequence[str]) -> Self:
        new, missing = [one for one in after if one not in before], [one for one in before if one not in after]
        return cls(new, missing, reordered=not new and not missing and list(before) != list(after))


@dataclass(frozen=True)
class Promotion(JsonResult):
    """An alias that was moved.

    Attributes:
        before: The version that had it.
        scores: Of both versions; None if no version had it.
        classes: Of both versions; None if no version had it, or the classes of one cannot be read.
    """

    name: str
    version: int
    alias: str
    before: int | None
    scores: ScoreComparison | None
    classes: ClassChange | None = None

    def to_json(self) -> dict[str, Any]:
        plain = super().to_json()
        pairs = plain.pop("scores") or {"compared": [], "not_compared": []}
        return plain | pairs


@dataclass(frozen=True)
class ExportedModel(JsonResult):
    """A model in a file for other programs."""

    model: str
    file: Exported

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model, **asdict(self.file)}


def ls(lookup: ModelLookup, name: str | None = None) -> RegistryListing:
    """Every version of every registered model, or of one.

    Raises:
        TrackingError: There is no registry, or it does not answer.
        WeightsError: No model has that name.
    """
    with progress.reading("the registry"):
        registry = open_registry(lookup)
        return RegistryListing(display_uri(registry.uri), list(registry.versions(name)))


def show(name: str, lookup: ModelLookup) -> ShownModel:
    """One version with its description, config and card.

    Args:
        name: `name@alias`, `name/version`, or `name` for the newest version.

    Raises:
        WeightsError: There is no such model.
    """
    with progress.reading("the registry"):
        registry = open_registry(lookup)
        model = registry.find(name)
        described, config = registry.read_texts(model)
    values = read_document(config, f"{model.reference}: config.yaml").values
    with describing(Path(model.reference)):
        card = model_card(model.reference, described, values, model.scores)
    return ShownModel(model, described, values, card)


def get(name: str, lookup: ModelLookup, to: str | None = None) -> FetchedModel:
    """Fetch a version's bundle into a folder, with its card and scores; using the folder needs no network.

    The bundle is opened once before this returns: a file that holds anything but tensors is refused.

    Args:
        to: The folder; `NAME-VERSION` in the current one if left out. If it holds this model already, nothing is done.

    Raises:
        WeightsError: There is no such model, its files are not those that were registered, or cannot be opened.
        RunError: The folder is there and holds something else, or cannot be written.
    """
    with progress.reading("the registry"):
        registry = open_registry(lookup)
        model = registry.find(name)
    folder = Path(to or f"{model.name}-{model.version}").absolute()
    if not _is_there(folder, model):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
                with progress.task(f"fetching the model {model.reference}", patience=1.0):
                    bundle, model = registry.fetch(model.reference, Path(scratch))
                _complete(bundle, model)
                bundle.replace(folder)
        except OSError as error:
            raise RunError(f"{folder} cannot be written: {error.strerror or type(error).__name__}") from None
    return FetchedModel(model, str(folder))


def promote(name: str, alias: str, lookup: ModelLookup) -> Promotion:
    """Move an alias to a version, and compare its scores and classes with those of the version that had the alias.

    Raises:
        ConfigError: MLflow takes no such alias.
        WeightsError: There is no such model.
    """
    if fault := fault_of_alias(alias):
        raise ConfigError([Fault("ALIAS", fault, "for example champion")])
    with progress.reading("the registry"):
        registry = open_registry(lookup)
        model, before = registry.promote(name, alias)
        if before is None:
            return Promotion(model.name, model.version, alias, None, None)
        classes: ClassChange | None = None
        with contextlib.suppress(WeightsError):  # the alias has moved; a damaged version can be promoted away from
            former, present = (registry.read_texts(one)[0]["classes"] for one in (before, model))
            classes = ClassChange.of(former, present)
    scores = compare_scores(before.scores, model.scores)
    return Promotion(model.name, model.version, alias, before.version, scores, classes)


def export(model: str, lookup: ModelLookup, *, form: str, to: str) -> ExportedModel:
    """Write a model's network as ONNX or by `torch.export`, and compare its outputs with the network's.

    Args:
        model: A bundle's folder, a run's id or folder, or a registered model.

    Raises:
        AttnError: There is no such model, a package is missing, or the file's outputs are not the network's.
    """
    from attn.prediction.export import export_model
    from attn.prediction.open import open_any

    with open_model(model, lookup, open_any) as opened:
        return ExportedModel(model, export_model(opened, Path(to).absolute(), form))


def open_registry(lookup: ModelLookup) -> Registry:
    """The registry that `root=` and `tracking.uri=` name.

    Raises:
        TrackingError: It is a file that is not there.
    """
    uri = registry_uri(lookup.tracking, lookup.root)
    if (file := sqlite_file(uri)) is not None and not file.exists():
        raise TrackingError(
            f"no registry: there is no {file}. Give --root of the runs or tracking.uri= of a "
            "server; `attn models register RUN NAME` registers a run's model"
        )
    from attn.registry.mlflow_registry import Registry

    return Registry(uri)


def _complete(bundle: Path, registered: RegisteredModel) -> None:
    """Open a fetched bundle, and write its card and its entry in the registry beside it."""
    from attn.prediction.open import open_any

    open_any(bundle)
    described = read_description(bundle)
    try:
        text = (bundle / CONFIG).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise WeightsError(f"{registered.reference}: {CONFIG} is no text of a config") from None
    config = read_document(text, CONFIG).values
    with describing(Path(registered.reference)):
        card = model_card(registered.reference, described, config, registered.scores)
    (bundle / "card.md").write_text(card, encoding="utf-8")
    (bundle / "registered.json").write_text(json.dumps(registered.to_json(), indent=1), encoding="utf-8")


def _is_there(folder: Path, registered: RegisteredModel) -> bool:
    """Return whether a folder holds this very model.

    Raises:
        RunError: It holds something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    from attn.prediction.open import open_any

    try:
        if open_any(folder).sha256 == registered.sha256:
            return True
    except WeightsError:
        pass
    raise RunError(f"{folder} is there and holds something else than {registered.reference}; give another --to FOLDER")
