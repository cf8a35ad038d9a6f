"""No secret of the environment stands in what a run on S3 leaves or says (every server: benchmarks.whole_stack)."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.redaction import without_secrets
from tests.bundles import tiny_bundle
from tests.conftest import S3_KEYS
from tests.leaks import in_bucket, leaks, under
from tests.services.cli.conftest import Attn


def test_what_is_searched_for_would_be_found(s3_server: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff key=made-up \x00")
    places = list(under(tmp_path))
    assert leaks({"a key": "made-up", "another": "not there"}, places) == [f"a key stands in {tmp_path}/log"]
    assert list(under(tmp_path, exclude=tmp_path)) == []
    assert list(in_bucket(s3_server)) == []


def test_a_run_on_s3(attn: Attn, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = "made-up-for-tests-too"
    hidden = {**S3_KEYS, "MLflow's password": password, "Ray's token": "made-up-for-ray"}
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    monkeypatch.setenv("RAY_AUTH_TOKEN", hidden["Ray's token"])
    model, root = tiny_bundle(tmp_path / "model"), f"{s3_server}/runs"
    record = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    run = ("evaluate", str(model), f"root={root}", record, "tracking.enabled=true")
    done = [
        attn(*run, "--json"),
        attn("ls", "--root", root),
        attn("doctor", f"root={root}", record, "--json"),
        attn("evaluate", str(model), "root=s3://nobody/runs"),
        attn("models", "ls", f"tracking.uri=http://somebody:{password}@127.0.0.1:9"),
    ]
    assert [one.status for one in done[:3]] == [0, 0, 0], done
    assert [one.status for one in done[3:]] == [1, 2], done
    said = [(f"command {number}", (one.out + one.err).encode()) for number, one in enumerate(done)]
    kept = list(in_bucket(s3_server))
    assert {"run.json", "config.yaml", "scores.json"} <= {name.rpartition("/")[2] for name, _ in kept}
    recorded = list(under(tmp_path))
    assert any(name.endswith("mlflow.db") for name, _ in recorded)
    assert leaks(hidden, [*said, *kept, *recorded]) == []


URIS = (
    "http://somebody:made-up-for-tests@127.0.0.1:9/x",
    "s3://AKIAMADEUP:made-up/for-tests@bucket/runs",
    "s3://made-up-for-tests@bucket/runs",
    "postgresql://somebody:made-up-for-tests@127.0.0.1:9/db",
    "https://somebody:made#up?for-tests@host",
)


HIDDEN = ("made-up", "for-tests", "made#up", "AKIAMADEUP")


@pytest.mark.parametrize("uri", URIS)
def test_no_command_repeats_a_password_of_its_line(
    attn: Attn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.chdir(tmp_path)  # `attn predict` writes its table into it
    model = str(tiny_bundle(tmp_path / "model"))
    for words in (
        ("ls", "--root", uri),
        ("ls", uri),
        ("ls", f"--{uri}"),
        (uri,),
        ("status", "a", "--root", uri),
        ("status", "a", "--service", uri),
        ("serve", "--port", "0", "--root", uri),
        ("serve", "--port", uri),
        ("serve", "--port", "0", "--root", str(tmp_path / "file" / "x"), "--database", uri),
        ("serve", "--port", "0", "--ray-jobs", uri),
        ("store", "show", uri),
        ("data", "check", "scenes_gain", f"data.root={uri}"),
        ("evaluate", model, f"tracking.uri={uri}"),
        ("models", "ls", f"tracking.uri={uri}"),
        ("models", "ls", f"root={uri}"),
        ("models", "register", uri, "name"),
        ("models", "register", "run", uri),
        ("resume", uri),
        ("predict", uri, "--model", model),
    ):
        (tmp_path / "file").touch()  # so that no service starts
        done = attn(*words, "--debug", "--json")
        assert done.status in (1, 2, 4), (words, done)
        said = done.out + done.err
        assert not [word for word in HIDDEN if word in said], (words, said)


def test_no_help_shows_what_the_environment_holds(attn: Attn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATTN_SERVICE", "ATTN_SERVICE_DATABASE", "ATTN_SERVICE_TOKEN", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "postgresql://somebody:made-up-for-tests@host/db")
    for words in (("serve",), ("status",), ("submit",), ("ls",), ("train",), ("models", "ls"), ()):
        done = attn(*words, "--help")
        assert (done.status, "made-up-for-tests" in done.out + done.err) == (0, False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/store@3 and s3://bucket/a:b@4", "s3://bucket/store@3 and s3://bucket/a:b@4"),
        ("s3://k:a/b@bucket/x@3", "s3://***@3"),
        ("redis://:p@h", "redis://***@h"),
        ("http://h/?token=abc&page=1", "http://h/?token=***&page=1"),
        ("http://h:80/x, gain@champion", "http://h:80/x, gain@champion"),
    ],
)
def test_what_is_no_secret_stays(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
