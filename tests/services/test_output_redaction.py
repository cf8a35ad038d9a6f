"""Secrets of the environment are covered in what is printed and read; of a whole service see `test_jobs.py`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from services.log import LINE, read_log
from services.output_redaction import RedactingStream, redact
from services.serving import serve as serve_root

SECRETS = {
    "MLFLOW_TRACKING_PASSWORD": 'made-up "for" tests/1',
    "MLFLOW_TRACKING_TOKEN": "made-up-for-tests-2",
    "AWS_SECRET_ACCESS_KEY": "made+up/for+tests/3",
    "ATTN_SERVICE_DATABASE": "",
}
LINES = (
    b"password %(one)s and quoted %(json)s",
    b"key made+up/for+tests/3 and made%%2Bup%%2Ffor%%2Btests%%2F3",
    b"at http://someone:else@host/path?token=abc123&page=1",
    b"Authorization: Bearer something-of-somebody",
)


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Lines with secrets of the environment, and those that shapes tell."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    one = SECRETS["MLFLOW_TRACKING_PASSWORD"]
    shown = {b"one": one.encode(), b"json": json.dumps(one)[1:-1].encode()}
    return b"".join(line % shown + b"\n" for line in LINES)


HIDDEN = (b"tests", b"someone", b"else", b"abc123", b"something-of")
KEPT = (b"password", b"quoted", b"@host/path?token=", b"&page=1", b"Authorization: Bearer ")


def test_every_form_of_a_secret_is_covered_and_nothing_moves(text: bytes) -> None:
    covered = redact(text)
    assert len(covered) == len(text)
    assert not [word for word in HIDDEN if word in covered], covered
    assert not [word for word in KEPT if word not in covered], covered
    assert redact(b"epoch 1/3 done: val/mean_ap 0.5\n") == b"epoch 1/3 done: val/mean_ap 0.5\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stream_covers_what_comes_in_pieces(text: bytes, size: int) -> None:
    kept = io.StringIO()
    stream, whole = RedactingStream(kept), text.decode()
    for start in range(0, len(whole), size):
        stream.write(whole[start : start + size])
    stream.flush()
    assert kept.getvalue().encode() == redact(text)


def test_a_log_is_covered_from_any_byte_on(text: bytes, tmp_path: Path) -> None:
    log, covered = tmp_path / "job.log", redact(text)
    log.write_bytes(text)
    for offset in range(len(text) + 2):
        assert read_log(log, offset, ended=True) == (covered[offset:], True)
    assert read_log(tmp_path / "absent", 0, ended=False) == (b"", False)


def test_a_line_is_told_when_it_has_ended(text: bytes, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_bytes(text + b"key made+up/")
    covered = redact(text)
    assert read_log(log, 0, ended=False) == (covered, False)
    assert read_log(log, len(text), ended=False) == (b"", False)
    log.write_bytes(text + b"key made+up/for+tests/3\n")
    assert read_log(log, len(text), ended=False) == (b"key " + b"*" * 19 + b"\n", False)
    log.write_bytes(b"x" * (LINE + 1))
    assert len(read_log(log, 0, ended=False)[0]) == LINE + 1


def test_a_large_log_comes_in_pieces_of_whole_lines(text: bytes, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_bytes(text * 9000)
    result, whole = b"", False
    while not whole:
        piece, whole = read_log(log, len(result), ended=True)
        result += piece
    assert result == redact(text) * 9000


def test_python_prints_covered(text: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    from services.output_redaction import redact_streams

    with redact_streams():
        print(text.decode(), end="")
        print(text.decode(), end="", file=sys.stderr)
    out, err = capsys.readouterr()
    assert out.encode() == err.encode() == redact(text)


@pytest.mark.parametrize("offset", [1, 6, 2**31, 2**53, 2**63 - 1])
def test_beyond_its_end_a_log_has_nothing(tmp_path: Path, offset: int) -> None:
    log = tmp_path / "job.log"
    log.write_bytes(b"")
    for ended in (False, True):
        assert read_log(log, offset, ended=ended) == (b"", ended)


def test_what_the_service_itself_prints(
    text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_server(*arguments: object, **options: object) -> None:
        print(text.decode(), file=sys.stderr)
        print("cannot reach it: s3://AKIAMADEUP:made-up/for-tests@bucket", file=sys.stderr)

    monkeypatch.setattr("services.serving.run_server", run_server)
    serve_root(
        str(tmp_path), "127.0.0.1", 0,
        slots=1, restarts=0, max_queued=1, database=None, tokens=None, no_token=True, data_roots=(), ray_jobs=None,
        any_host=False,
    )  # fmt: skip
    said = capsys.readouterr().err.encode()
    assert not [word for word in (*HIDDEN, b"AKIA") if word in said], said
    assert b"s3://***" in said
