"""`attn models`: what is registered can be found, fetched, checked, promoted; nothing of it is unpickled."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from attn import progress
from attn.config.base import Config
from attn.evaluation.score import Protocol, Score
from attn.models.bundle import load_bundle
from attn.progress.streams import Lines
from attn.registry import add_scores, log_model
from attn.registry.mlflow_model import recorded_network
from attn.registry.mlflow_registry import Registry
from attn.tracking import TrackingConfig, create_run
from attn.tracking.address import tracking_uri
from jobs.runs.run_folder import RunFolder
from tests.bundles import CLASSES, tiny_bundle
from tests.services.cli.conftest import Attn

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch.export and MLflow, at every export


class Run(Config):
    seed: int = 0


class Code:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/attn-registry-was-here"),))


def score(value: float, split: str = "val") -> Score:
    protocol = Protocol(
        source="scenes", split=split, images=6, fingerprint="a", scored="classifier", resize="squash 48x48"
    )
    return Score(name="mean_ap", value=value, protocol=protocol, curve=((0.0, 1.0),))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose registry has two versions of `tiny`, both scored; the first is the champion."""
    root = tmp_path_factory.mktemp("registry") / "runs"
    for number in (1, 2):
        tracking = TrackingConfig(register_as="tiny", alias="champion" if number == 1 else None)
        run_id = create_run(tracking, str(root), f"run-{number}", Run())
        bundle = tiny_bundle(root.parent / f"bundle-{number}", seed=number)
        sha256 = load_bundle(bundle).sha256
        if number == 2:  # scored before it was registered, too
            scorer = create_run(TrackingConfig(), str(root), "evaluation", Run(), tags={"attn.weights": sha256})
            text = json.dumps({"scores": {"mean_ap": json.loads(score(0.5, "test").to_json())}})
            Registry(tracking_uri(tracking, str(root)))._client.log_text(scorer, text, "scores.json")
        assert log_model(tracking, str(root), run_id, bundle) == f"models:/tiny/{number}"
        add_scores(tracking, str(root), run_id, sha256, [score(0.5 + number / 10)])
    return root


def test_ls_and_show(registry: Path, attn: Attn) -> None:
    result = attn("models", "ls", f"root={registry}", "--json")
    assert result.status == 0, result.err
    second, first = result.json["models"]
    assert (first["version"], first["aliases"], first["run"], first["data"]) == (1, ["champion"], "first", "f" * 64)
    assert (first["store"], first["store_version"]) == ("s3://b/store", 7)
    assert [(one["value"], one["protocol"]["split"]) for one in second["scores"]] == [(0.5, "test"), (0.7, "val")]
    assert second["scores"][1]["hash"] == score(0.7).hash
    assert "@champion" in attn("models", "ls", "tiny", f"root={registry}").out
    tracking = TrackingConfig()
    add_scores(tracking, str(registry), "elsewhere", first["sha256"], [score(0.6, "/photographs/lists/birds.csv")])
    assert "mean_ap 60.0 % (birds.csv)" in attn("models", "ls", "tiny", f"root={registry}").out
    assert "scenes birds.csv" in attn("models", "show", "tiny/1", f"root={registry}").out

    result = attn("models", "show", "tiny@champion", f"root={registry}")
    for words in ("# tiny/1", ", ".join(CLASSES), "60.0 %", score(0.6).hash[:12], "version 7", "attn predict"):
        assert words in result.out
    data = attn("models", "show", "tiny", f"root={registry}", "--json").json
    assert (data["version"], data["description"]["input"]["size"], data["config"]["data"]["source"]) == (
        2,
        48,
        "scenes",
    )


def test_get_verifies_and_needs_no_network_afterwards(
    registry: Path, attn: Attn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = attn("models", "get", "tiny@champion", f"root={registry}", "--json")
    assert result.status == 0, result.err
    folder = tmp_path / "tiny-1"
    assert result.json["folder"] == str(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny-1"]
    names = {"model.json", "state_dict.pt", "config.yaml", "card.md", "registered.json"}
    assert {path.name for path in folder.iterdir()} == names
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was tried"))
    assert load_bundle(folder).sha256 == result.json["sha256"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert attn("models", "get", "tiny/1", f"root={registry}").status == 0, "it is there already"
    assert attn("models", "get", "tiny/2", f"root={registry}", "--to", str(folder)).status == 1


def test_promote_compares_scores_of_one_protocol_only(registry: Path, attn: Attn) -> None:
    data = attn("models", "promote", "tiny/1", "next", f"root={registry}", "--json").json
    assert (data["version"], data["before"], data["compared"]) == (1, None, [])
    data = attn("models", "promote", "tiny/2", "next", f"root={registry}", "--json").json
    assert (data["version"], data["before"]) == (2, 1)
    (pair,) = data["compared"]
    assert (pair["name"], pair["difference"], pair["protocol"]) == ("mean_ap", pytest.approx(0.1), score(0).hash)
    out = attn("models", "promote", "tiny@next", "next", f"root={registry}").out
    assert out.splitlines() == ["tiny@next is version 2"], "it was that version before"


def test_promote_says_how_the_classes_change(registry: Path, attn: Attn) -> None:
    """Versions of another name: of other classes, of these in another order, and without scores."""
    tracking = TrackingConfig(register_as="other")
    for number, classes in enumerate((CLASSES, (CLASSES[1], "cow"), ("cow", CLASSES[1])), start=1):
        run_id = create_run(tracking, str(registry), f"other-{number}", Run())
        bundle = tiny_bundle(registry.parent / f"other-{number}", seed=number + 7, classes=classes)
        assert log_model(tracking, str(registry), run_id, bundle) == f"models:/other/{number}"
    attn("models", "promote", "other/1", "best", f"root={registry}")
    out = attn("models", "promote", "other/2", "best", f"root={registry}").out.splitlines()
    assert out[0] == "other@best is version 2 (before: version 1)"
    text = " ".join(out)
    assert f"other/2 has other classes than other/1: new: cow; missing: {CLASSES[0]}, {CLASSES[2]}" in text
    assert "neither other/1 nor other/2 has scores: `attn evaluate other/2 tracking.enabled=true` takes them" in text
    result = attn("models", "promote", "other/3", "best", f"root={registry}", "--json")
    assert result.json["classes"] == {"new": [], "missing": [], "reordered": True}
    out = attn("models", "promote", "other/2", "best", f"root={registry}").out
    assert "other/2 has the classes of other/3 in another order" in out
    assert "classes" not in attn("models", "promote", "other/2", "best", f"root={registry}").out, "it had it"


def test_promote_says_which_version_alone_has_a_score(registry: Path, attn: Attn) -> None:
    """Version 2 has `mean_ap` of a split that version 1 was never scored on, and a score of its own."""
    tracking = TrackingConfig()
    run_id = create_run(tracking, str(registry), "more", Run())
    sha256 = Registry(tracking_uri(tracking, str(registry))).find("tiny/2").sha256
    add_scores(tracking, str(registry), run_id, sha256, [score(0.25).model_copy(update={"name": "mean_auc"})])
    attn("models", "promote", "tiny/1", "only", f"root={registry}")
    out = attn("models", "promote", "tiny/2", "only", f"root={registry}").out
    assert "tiny@only is version 2 (before: version 1)" in out
    assert (
        "not compared: mean_auc: tiny/2 has this score, tiny/1 does not: `attn evaluate tiny/1 tracking.enabled=true` "
        "takes it" in out.replace("\n", " ")
    ), out
    data = attn("models", "promote", "tiny/1", "only", f"root={registry}", "--json").json
    (alone,) = [one for one in data["not_compared"] if one["name"] == "mean_auc"]
    assert (alone["only"], alone["why"]) == ("a", ["only a has this score"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tin", ["no registered model 'tin'", "did you mean tiny?"]),
        ("tiny@chmpion", ["no alias 'chmpion'", "champion (version 1)", "attn models promote"]),
        ("tiny/9", ["no version 9", "1, 2"]),
        ("a/b/c", ["is not a registered model's name"]),
    ],
)
def test_unknown_names(registry: Path, attn: Attn, tmp_path: Path, name: str, words: list[str]) -> None:
    result = attn("models", "get", name, f"root={registry}", "--to", f"{tmp_path}/to")
    assert (result.status, result.err.count("error: ")) == (1, 1)
    for word in words:
        assert word in result.err
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("promote", "tiny/1", "latest"), "must not be latest"),
        (("promote", "tiny/1", "a b"), "letters, digits"),
        (("ls", "tracking.ur=x"), "did you mean tracking.uri?"),
        (("ls", "data.split=val"), "is not a known field"),
        (("export", "tiny/1", "--to", "m.onnx", "data.split=val"), "is not a known field"),
    ],
)
def test_what_means_nothing_is_a_bad_configuration(
    registry: Path, attn: Attn, arguments: tuple[str, ...], words: str
) -> None:
    result = attn("models", *arguments, f"root={registry}")
    assert (result.status, result.err.count("error: "), words in result.err) == (2, 1, True), result.err


def test_an_export_that_cannot_be_written(registry: Path, attn: Attn, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for location in (tmp_path, tmp_path / "file" / "m.pt2"):
        result = attn(
            "models", "export", "tiny/1", f"root={registry}", "--format", "torch_export", "--to", str(location)
        )
        assert (result.status, "cannot be written" in result.err, "Traceback" in result.err) == (1, True, False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_no_server_and_no_database(attn: Attn, tmp_path: Path) -> None:
    result = attn("models", "ls", f"root={tmp_path}/runs")
    assert (result.status, "no registry" in result.err, (tmp_path / "runs").exists()) == (1, True, False)
    result = attn("models", "ls", "tracking.uri=http://127.0.0.1:9")
    assert (result.status, "http://127.0.0.1:9" in result.err) == (1, True)


class Refuses(BaseHTTPRequestHandler):
    """Lets nobody in."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b"You are not authenticated.")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def closed_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Refuses)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_wrong_token(attn: Attn, closed_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "not-the-token")
    result = attn("models", "ls", f"tracking.uri={closed_server}")
    assert (result.status, "was refused" in result.err, "MLFLOW_TRACKING_TOKEN" in result.err) == (1, True, True)
    assert "not-the-token" not in result.err


def test_a_run_registers_the_same_weights_once(attn: Attn, registry: Path) -> None:
    """As after a crash, before the alias was moved or after; a model that was promoted since keeps its alias."""
    tracking = TrackingConfig(register_as="tiny", alias="champion")
    store = Registry(tracking_uri(tracking, str(registry)))
    run_id, bundle = store.find("tiny/1").tracking_run, registry.parent / "bundle-1"
    for holder, then in ((None, 1), (1, 1), (2, 2)):
        store._client.delete_registered_model_alias("tiny", "champion")
        if holder is not None:
            store._client.set_registered_model_alias("tiny", "champion", str(holder))
        assert log_model(tracking, str(registry), run_id, bundle) == "models:/tiny/1"
        assert [one.version for one in store.versions("tiny")] == [2, 1]
        assert store.find("tiny@champion").version == then
    store.promote("tiny/1", "champion")


def test_the_same_model_of_another_run_is_no_new_version(
    attn: Attn, registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two sweeps with the same best weights, and a run by hand; the alias moves with a word, or stays where it is."""
    store = Registry(tracking_uri(TrackingConfig(), str(registry)))
    copy = tmp_path / "other" / "model"
    shutil.copytree(registry.parent / "bundle-1", copy)
    described = json.loads((copy / "model.json").read_text())
    described["info"] |= {"run_id": "other", "store": "s3://b/other", "store_version": 8}
    (copy / "model.json").write_text(json.dumps(described))
    tracking = TrackingConfig(register_as="tiny", alias="champion")
    for holder, words in ((1, []), (2, ["@champion moved from tiny/2 to tiny/1"])):
        run_id = create_run(tracking, str(registry), f"other-{holder}", Run())
        store.promote(f"tiny/{holder}", "champion")
        with progress.shown(Lines()):
            assert log_model(tracking, str(registry), run_id, copy) == "models:/tiny/1"
        assert run_id is not None
        assert recorded_network(store.uri, run_id, copy) is not None, "the run's own record has its model"
        told = capsys.readouterr().err
        assert [line for line in told.splitlines() if "moved" in line] == words
        assert "tiny/1 is this very model: no other version is made" in told
        assert [one.version for one in store.versions("tiny")] == [2, 1]
        assert store.find("tiny/1").run == "first", "its card is still that of its run"
        assert store.find("tiny@champion").version == 1
    RunFolder(str(registry), "other").begin(kind="train", state="done")
    shutil.copytree(copy, registry / "other" / "model")
    shutil.copyfile(copy / "config.yaml", registry / "other" / "config.yaml")
    by_hand = attn("models", "register", "other", "tiny", f"root={registry}")
    assert by_hand.status == 0, by_hand.err
    assert "is the model of run other, which was registered before by run first\n" in by_hand.out

    described["classes"] = described["classes"][::-1]  # the same weights, another model
    (copy / "model.json").write_text(json.dumps(described))
    assert store.version_of("tiny", copy) is None
    assert store.version_of("nothing", registry.parent / "bundle-1") is None


def test_an_alias_of_a_new_version_moves_with_a_word(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, words in ((11, ""), (12, "@best moved from moving/1 to moving/2")):
        tracking = TrackingConfig(register_as="moving", alias="best")
        run_id = create_run(tracking, str(registry), f"m-{seed}", Run())
        bundle = tiny_bundle(tmp_path / f"{seed}", seed=seed)
        with progress.shown(Lines()):
            log_model(tracking, str(registry), run_id, bundle)
        told = [line for line in capsys.readouterr().err.splitlines() if "moved" in line]
        assert told == ([words] if words else [])


@pytest.mark.parametrize("register", [True, False], ids=["registered so", "put there later"])
def test_a_pickle_with_code_is_refused(attn: Attn, registry: Path, tmp_path: Path, register: bool) -> None:
    bundle = tiny_bundle(tmp_path / "evil", seed=9)
    tracking, name = TrackingConfig(), f"evil-{register}"
    run_id = create_run(tracking, str(registry), name, Run())
    uri = tracking_uri(tracking, str(registry))
    store = Registry(uri)
    code = pickle.dumps(Code())
    if register:  # whoever registers it describes it well: every hash is right
        (bundle / "state_dict.pt").write_bytes(code)
        described = json.loads((bundle / "model.json").read_text())
        described["sha256"] = hashlib.sha256(code).hexdigest()
        (bundle / "model.json").write_text(json.dumps(described))
    store._client.log_artifacts(run_id, str(bundle), "bundle")
    store.register(name, f"runs:/{run_id}/bundle", str(run_id), bundle)
    if not register:
        (bundle / "state_dict.pt").write_bytes(code)
        store._client.log_artifact(run_id, str(bundle / "state_dict.pt"), "bundle")
    result = attn("models", "get", name, f"root={registry}", "--to", f"{tmp_path}/to")
    assert (result.status, result.err.count("error: ")) == (1, 1)
    assert ("was not opened" if register else "SHA-256 differs") in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "to").exists()
    assert not Path("/tmp/attn-registry-was-here").exists()


def test_a_model_that_others_registered_is_refused(attn: Attn, registry: Path) -> None:
    client = Registry(tracking_uri(TrackingConfig(), str(registry)))._client
    client.create_registered_model("sklearn")
    client.create_model_version("sklearn", "s3://somewhere/model.pkl")
    result = attn("models", "get", "sklearn", f"root={registry}")
    assert (result.status, "was not registered by attn" in result.err) == (1, True)
    assert "sklearn" not in [one["name"] for one in attn("models", "ls", f"root={registry}", "--json").json["models"]]
