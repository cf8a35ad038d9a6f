"""A registry may answer anything: a model is fetched as it was registered, or one error says what is wrong."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from attn.errors import AttnError
from attn.models.description import CONFIG, DESCRIPTION, WEIGHTS
from attn.registry import mlflow_registry
from jobs.registry import get, ls, show
from jobs.runs.open_model import model_lookup
from tests.hostile.bundles import good

PLACE = model_lookup(["tracking.uri=http://127.0.0.1:9"])


class Page(list[Any]):
    """As MLflow's, of which there is one."""

    token = None


class Client:
    """An MLflow client whose server has one version of one model, which may be anything."""

    def __init__(self, bundle: Path) -> None:
        sha256 = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in (WEIGHTS, DESCRIPTION)}
        self.bundle, self.aliases = bundle, {"champion": "3"}
        self.version = SimpleNamespace(
            name="gain", version="3", run_id="r", creation_timestamp=1000, description="",
            tags={"attn.sha256": sha256[WEIGHTS], "attn.model_json": sha256[DESCRIPTION]},
        )  # fmt: skip

    def search_registered_models(self, **_: Any) -> Page:
        return Page([SimpleNamespace(name="gain")])

    def search_model_versions(self, **_: Any) -> Page:
        return Page([self.version])

    def get_registered_model(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(aliases=self.aliases)

    def download_artifacts(self, _: str, path: str, folder: str) -> str:
        return shutil.copy(self.bundle / Path(path).name, folder)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.chdir(tmp_path)
    good(tmp_path / "registered", np.random.default_rng(0))
    result = Client(tmp_path / "registered")
    monkeypatch.setattr(mlflow_registry, "connect", lambda uri: result)
    return result


def test_the_good_one_is_fetched(client: Client) -> None:
    assert Path(get("gain@champion", PLACE).folder).name == "gain-3"
    assert ls(PLACE).models[0].version == 3
    assert "gain/3" in show("gain", PLACE).card


def tag(name: str, value: object) -> Callable[[Client], object]:
    return lambda client: client.version.tags.__setitem__(name, value)


def answer(**fields: object) -> Callable[[Client], object]:
    return lambda client: vars(client.version).update(fields)


ANSWERS: dict[str, tuple[Callable[[Client], object], str]] = {
    "a name that leads out": (answer(name="../../out"), "returned the model"),
    "a full path as name": (answer(name="/tmp/out"), "returned the model"),
    "a version that is a path": (answer(version="../3"), "is invalid"),
    "a version that is none": (answer(version=None), "is invalid"),
    "tags that are a list": (answer(tags=["attn.sha256"]), "is invalid"),
    "a time that is a text": (answer(creation_timestamp="now"), "is invalid"),
    "a hash that leads out": (tag("attn.sha256", "../../etc/passwd"), "is not a SHA-256"),
    "a hash of another model": (tag("attn.sha256", "0" * 64), "SHA-256 differs"),
    "a description of another model": (tag("attn.model_json", "0" * 64), "SHA-256 differs"),
    "aliases that are no numbers": (lambda client: setattr(client, "aliases", {"champion": "x"}), "is invalid"),
    "aliases that are a list": (lambda client: setattr(client, "aliases", ["x"]), "is invalid"),
    "a config that is another": (lambda client: (client.bundle / CONFIG).write_text("a: b\n"), "SHA-256 differs"),
    "a config that is no text": (lambda client: (client.bundle / CONFIG).write_bytes(b"\xff\xfe"), "SHA-256 differs"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_any_other_answer_is_one_error(name: str, client: Client, tmp_path: Path) -> None:
    act, why = ANSWERS[name]
    act(client)
    with pytest.raises(AttnError, match=why) as caught:
        get("gain/3", PLACE)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["registered"]


@pytest.mark.parametrize(
    "uri", ["http://user:secret@127.0.0.1:99999/", "http://user:secret@[::1/", "ftp://u:secret@h/"]
)
def test_a_faulty_address_in_the_environment_is_named(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(AttnError, match="MLFLOW_TRACKING_URI") as caught:
        ls(model_lookup([]))
    assert "secret" not in str(caught.value)
