"""MLflow's model registry: named versions with aliases. Nothing from it is ever unpickled.

A version refers to a bundle among the artifacts of the run that registered it. Its tags have the facts for listings and
the hashes of the bundle's files; its description is the model card.
"""

from __future__ import annotations

__all__ = ["Registry"]

import difflib
import json
import shutil
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.config.document import read_document
from attn.errors import AttnError, WeightsError
from attn.evaluation.score import Score
from attn.files.locations import sha256_of
from attn.models.description import CONFIG, DESCRIPTION, MOST_BYTES, WEIGHTS, read_description, without_run
from attn.parsing import load_json
from attn.registry.card import model_card
from attn.registry.registered import Reference, RegisteredModel, parse_reference
from attn.registry.score_tags import scores_text
from attn.registry.version_tags import HASH, SCORES_TAG, is_model_of, registered, tags_of
from attn.regular_files import read_regular
from attn.scratch import scratch_folder
from attn.tracking.mlflow_client import connect, mlflow_errors, short_timeouts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

BUNDLE = "bundle"
WEIGHTS_TAG = "attn.weights"
"""Tag of an evaluation's run: SHA-256 of the weights that it scored."""
CARD_LENGTH = 5000
"""Maximum length of a description in a database."""
PAGE = 200


class Registry:
    """The registered models of one MLflow server or database.

    All methods raise TrackingError if the server does not answer or refuses.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @cached_property
    def _client(self) -> MlflowClient:
        return connect(self.uri)

    def names(self) -> list[str]:
        """Sorted names of the registered models."""
        with short_timeouts(), mlflow_errors(self.uri, "listing the models"):
            return sorted(model.name for model in self._pages(self._client.search_registered_models))

    def versions(self, name: str | None = None) -> list[RegisteredModel]:
        """All versions of one name or of all names, newest first, without versions that attn did not register.

        Raises:
            WeightsError: There is no such name.
        """
        names = self.names() if name is None else [name]
        with short_timeouts(), mlflow_errors(self.uri, "listing the models"):
            if name is not None:
                self._find(parse_reference(name))
            results: list[RegisteredModel] = []
            for each in names:
                aliases = self._aliases(each)
                versions = [version for version in self._versions(each) if "attn.sha256" in version.tags]
                results += [registered(version, aliases) for version in versions]
        return sorted(results, key=lambda one: (one.name, -one.version))

    def find(self, text: str) -> RegisteredModel:
        """The version for `name@alias`, `name/version`, or `name` (the newest).

        Raises:
            WeightsError: There is no such name, alias or version (the message lists existing ones), or attn did not
                register it.
        """
        reference = parse_reference(text)
        with short_timeouts(), mlflow_errors(self.uri, "looking up the model"):
            version, aliases = self._find(reference)
            result = registered(version, aliases) if "attn.sha256" in version.tags else None
        if result is None:
            raise WeightsError(
                f"{version.name}/{version.version} was not registered by attn: it has no bundle of tensors and JSON, "
                "and other formats are not opened because they can contain code"
            )
        if version.name != reference.name:  # it becomes part of a folder's name
            raise WeightsError(f"{reference.name}: the registry returned the model {version.name!r} instead")
        if not all(HASH.fullmatch(value) for value in (result.sha256, result.description_sha256)):
            raise WeightsError(
                f"{result.reference}: {result.broken}: without them its files cannot be verified; register it again"
            )
        return result

    def fetch(self, text: str, folder: Path) -> tuple[Path, RegisteredModel]:
        """Fetch a version's bundle, and verify its hashes.

        Returns:
            The bundle's folder, inside the given one, and the version.

        Raises:
            WeightsError: As for `find`; or the files differ from those that were registered.
        """
        result = self.find(text)
        folder.mkdir(parents=True, exist_ok=True)
        bundle = folder / BUNDLE
        bundle.mkdir(exist_ok=True)
        # Only files of a bundle, the small ones first, so that an invalid bundle fails early.
        for name in (DESCRIPTION, CONFIG, WEIGHTS):
            self._download(result, name, bundle)
        for name, expected in ((DESCRIPTION, result.description_sha256), (WEIGHTS, result.sha256)):
            if sha256_of(bundle / name) != expected:
                raise _replaced_error(result, name)
        return bundle, result

    def read_texts(self, model: RegisteredModel) -> tuple[dict[str, Any], str]:
        """Fetch a version's description (`model.json`) and its run's config as YAML, but not the weights.

        Raises:
            WeightsError: They are missing, or differ from those that were registered.
        """
        with scratch_folder() as scratch:
            for name in (DESCRIPTION, CONFIG):
                self._download(model, name, scratch)
            if sha256_of(scratch / DESCRIPTION) != model.description_sha256:
                raise _replaced_error(model, DESCRIPTION)
            try:
                config = read_regular(scratch / CONFIG, MOST_BYTES).decode()
            except (OSError, UnicodeDecodeError):
                raise WeightsError(f"{model.reference}: {CONFIG} is not a text file") from None
            return read_description(scratch), config

    def promote(self, text: str, alias: str) -> tuple[RegisteredModel, RegisteredModel | None]:
        """Move an alias to a version.

        Returns:
            The version after the change, and the version that had the alias before.

        Raises:
            WeightsError: As for `find`.
        """
        result = self.find(text)
        with mlflow_errors(self.uri, "moving the alias"):
            before = self._aliases(result.name).get(alias)
            self._client.set_registered_model_alias(result.name, alias, str(result.version))
        previous = self.find(f"{result.name}/{before}") if before not in (None, result.version) else None
        return self.find(result.reference), previous

    def register(
        self, name: str, model_uri: str, run_id: str, bundle: Path, *, alias: str | None = None
    ) -> RegisteredModel:
        """Register a recorded model as a new version, with tags, earlier scores and model card.

        Args:
            model_uri: MLflow's URI of the model, `models:/m-...`.
            run_id: MLflow's id of the run that has the bundle's files as artifacts.
            bundle: Local folder with the same files.
            alias: Moved to the version once it is complete.
        """
        from mlflow.exceptions import MlflowException

        from attn.registry.mlflow_model import global_uris

        described = read_description(bundle)
        with mlflow_errors(self.uri, "registering the model"), global_uris(self.uri):
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self._client.create_model_version(
                name,
                model_uri,
                run_id=run_id,
                tags=tags_of(described, bundle),
                model_id=model_uri.rpartition("/")[2],
            ).version
        return self._complete(name, str(version), bundle, alias)

    def complete_earlier(
        self, name: str, run_id: str, bundle: Path, *, alias: str | None = None
    ) -> RegisteredModel | None:
        """Complete the version that a run has registered of these weights before, after a crash for instance.

        Args:
            run_id, bundle: As for `register`.
            alias: Moved to the version, unless a newer version has it.

        Returns:
            The newest such version; None if there is none.
        """
        sha256 = read_description(bundle)["sha256"]
        with mlflow_errors(self.uri, "registering the model"):
            there = [
                int(version.version)
                for version in self._versions(name)
                if str(version.run_id) == run_id and version.tags.get("attn.sha256") == sha256
            ]
            if not there:
                return None
            if alias is not None and self._aliases(name).get(alias, 0) >= max(there):
                alias = None
        return self._complete(name, str(max(there)), bundle, alias)

    def _complete(self, name: str, version: str, bundle: Path, alias: str | None) -> RegisteredModel:
        """Give a new version its earlier scores and its model card, and then the alias."""
        with mlflow_errors(self.uri, "registering the model"):
            for run, at, scores in self._earlier_evaluations(read_description(bundle)["sha256"]):
                self._client.set_model_version_tag(name, version, SCORES_TAG + run, scores_text(at, scores))
            self._describe(name, version, bundle)
            if alias is not None:
                self._client.set_registered_model_alias(name, alias, version)
        return self.find(f"{name}/{version}")

    def add_scores(self, sha256: str, run_id: str, scores: Iterable[Score]) -> list[str]:
        """Add an evaluation's scores to every version with these weights.

        Args:
            sha256: SHA-256 of the weights.
            run_id: MLflow's id of the evaluation.

        Returns:
            `name/version` of each updated version.
        """
        import time

        text = scores_text(int(1000 * time.time()), scores)
        updated: list[str] = []
        with mlflow_errors(self.uri, "adding scores to the model"):
            for version in self._of_weights(sha256):
                self._client.set_model_version_tag(version.name, version.version, SCORES_TAG + run_id, text)
                with scratch_folder() as scratch:
                    for name in (DESCRIPTION, CONFIG):
                        self._download(registered(version, {}), name, scratch)
                    self._describe(version.name, str(version.version), scratch)
                updated.append(f"{version.name}/{version.version}")
        return updated

    def version_of_alias(self, name: str, alias: str) -> int | None:
        """The version that has an alias; None if none has it, or there is no such name."""
        from mlflow.exceptions import MlflowException

        with short_timeouts(), mlflow_errors(self.uri, "looking up the model"):
            try:
                return self._aliases(name).get(alias)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None

    def version_of(self, name: str, bundle: Path) -> RegisteredModel | None:
        """The newest version of a name that is the model of a bundle, whichever run has trained it; None if none is."""
        with short_timeouts(), mlflow_errors(self.uri, "looking up the model"):
            same = [one for one in self._of_weights(read_description(bundle)["sha256"]) if one.name == name]
            aliases = self._aliases(name) if same else {}
        versions = sorted((registered(one, aliases) for one in same), key=lambda one: -one.version)
        return next((one for one in versions if is_model_of(one, bundle) or self._is_same(one, bundle)), None)

    def _is_same(self, model: RegisteredModel, bundle: Path) -> bool:
        """Return whether the descriptions of a version and a bundle differ in the run alone."""
        try:
            there, _ = self.read_texts(model)
        except WeightsError:  # its files are lost or replaced
            return False
        return without_run(there) == without_run(read_description(bundle))

    def versions_of(self, bundle: Path) -> list[RegisteredModel]:
        """The versions of this very model, under any name, the newest first."""
        described = read_description(bundle)
        with short_timeouts(), mlflow_errors(self.uri, "looking up the model"):
            aliases: dict[str, dict[str, int]] = {}
            results: list[RegisteredModel] = []
            for version in self._of_weights(described["sha256"]):
                aliases.setdefault(version.name, self._aliases(version.name))
                results.append(registered(version, aliases[version.name]))
        return sorted((one for one in results if is_model_of(one, bundle)), key=lambda one: -one.created)

    def _describe(self, name: str, version: str, bundle: Path) -> None:
        result = registered(self._client.get_model_version(name, version), {})
        described = read_description(bundle)
        config = read_document((bundle / CONFIG).read_text(encoding="utf-8"), CONFIG).values
        card = model_card(result.reference, described, config, result.scores)
        if len(card) > CARD_LENGTH:  # `attn models show` and `get` produce the whole card
            card = card[: CARD_LENGTH - 2].rpartition("\n")[0] + "\n…"
        self._client.update_model_version(name, version, card)

    def _download(self, model: RegisteredModel, name: str, folder: Path) -> None:
        from mlflow.exceptions import MlflowException

        with scratch_folder() as scratch, mlflow_errors(self.uri, "fetching the model"):
            try:
                path = self._client.download_artifacts(model.tracking_run, f"{BUNDLE}/{name}", str(scratch))
            except (MlflowException, OSError) as error:
                if not _is_missing(error):
                    raise
                raise WeightsError(
                    f"{model.reference}: {BUNDLE}/{name} is missing in run {model.tracking_run}: the model is lost"
                ) from None
            shutil.copyfile(path, folder / name)

    def _find(self, reference: Reference) -> tuple[ModelVersion, dict[str, int]]:
        from mlflow.exceptions import MlflowException

        name = reference.name
        try:
            aliases = self._aliases(name)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise WeightsError(f"no registered model {name!r}; {_suggestion(name, self.names())}") from None
        versions = {int(version.version): version for version in self._versions(name)}
        number = max(versions, default=None) if reference.version is None else reference.version
        if reference.alias is not None:
            number = aliases.get(reference.alias)
            if number is None:
                known = [f"{alias} (version {at})" for alias, at in sorted(aliases.items())]
                raise WeightsError(
                    f"{name} has no alias {reference.alias!r}; it has {', '.join(known) or 'none'}. "
                    f"`attn models promote {name}/VERSION {reference.alias}` creates it"
                )
        if number is None or number not in versions:
            have = ", ".join(map(str, sorted(versions))) or "none"
            raise WeightsError(f"{name} has no version {number or ''}; its versions are {have}")
        return versions[number], aliases

    def _aliases(self, name: str) -> dict[str, int]:
        return {alias: int(version) for alias, version in self._client.get_registered_model(name).aliases.items()}

    def _versions(self, name: str) -> list[ModelVersion]:
        quoted = name.replace("'", "")
        return self._pages(self._client.search_model_versions, f"name = '{quoted}'")

    def _of_weights(self, sha256: str) -> list[ModelVersion]:
        return self._pages(self._client.search_model_versions, f"tags.`attn.sha256` = '{sha256}'")

    def _pages(self, search: Any, query: str | None = None) -> list[Any]:
        result, token = [], None
        while True:
            page = search(filter_string=query, max_results=PAGE, page_token=token)
            result += page
            token = page.token
            if not token:
                return result

    def _earlier_evaluations(self, sha256: str) -> list[tuple[str, int, list[Score]]]:
        """Evaluations of these weights that were recorded before: run id, time, scores."""
        experiments = [experiment.experiment_id for experiment in self._client.search_experiments()]
        results: list[tuple[str, int, list[Score]]] = []
        for run in self._client.search_runs(experiments, f"tags.`{WEIGHTS_TAG}` = '{sha256}'"):
            with scratch_folder() as scratch:
                try:
                    path = self._client.download_artifacts(run.info.run_id, "scores.json", str(scratch))
                except Exception as error:  # artifact stores raise different errors
                    if not _is_missing(error):
                        raise
                    continue  # an evaluation that did not finish
                try:
                    record = load_json(read_regular(path, MOST_BYTES))
                    scores = [Score.from_json(json.dumps(score)) for score in record["scores"].values()]
                except (AttnError, OSError, ValueError, TypeError, KeyError, AttributeError):
                    continue  # a damaged evaluation
            results.append((run.info.run_id, int(run.info.end_time or run.info.start_time), scores))
        return results


def _replaced_error(model: RegisteredModel, name: str) -> WeightsError:
    return WeightsError(
        f"{model.reference}: {name} differs from the registered file (SHA-256 differs); it was replaced or damaged in "
        "the registry's storage: register the model again"
    )


def _suggestion(name: str, names: Sequence[str]) -> str:
    if not names:
        return "none is registered: `attn models register RUN NAME` registers the model of a run"
    near = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {near[0]}? " if near else "") + f"registered: {', '.join(names[:20])}"


def _is_missing(error: BaseException) -> bool:
    """Return whether an error means that an artifact is missing, for all kinds of artifact stores."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, FileNotFoundError):
        return True
    code = getattr(error, "error_code", "") if isinstance(error, MlflowException) else ""
    return code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND") or "No such file" in str(error) or "404" in str(error)[:80]
