"""Judging the facts about machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from attn.health.access import check_token, sends_password_unencrypted
from attn.health.judge import GIB, judge, judge_clock, judge_code, judge_equal, judge_probe
from attn.health.node import Facts
from attn.health.root_checks import check_conditional_writes

WELL = Facts("a", "0.1.0", "c0de" * 16, "3.11.7", "Linux x86_64", {"torch": "2.15.0"}, (), 0.0, None, 4, 4, None,
             disks={"/tmp": (50 * GIB, 100 * GIB), "/dev/shm": (4 * GIB, 4 * GIB)}, probe="x")  # fmt: skip


@pytest.mark.parametrize(
    ("change", "check", "status"),
    [
        ({"crf": "ImportError"}, "crf", "fail"),
        ({"unmet": ("ray>=2.60 (there is none)",)}, "packages", "fail"),
        ({"threads": 8}, "threads", "warn"),
        ({"disks": {"/tmp": (GIB // 2, GIB)}}, "space in /tmp", "fail"),
        ({"disks": {"/tmp": (5 * GIB, 9 * GIB)}}, "space in /tmp", "warn"),
        ({"disks": {"/dev/shm": (1, 64 << 20)}}, "space in /dev/shm", "warn"),
    ],
)
def test_one_fault_is_one_finding(change: dict[str, object], check: str, status: str) -> None:
    assert all(finding.status == "ok" for finding in judge(WELL))
    (result,) = [finding for finding in judge(replace(WELL, **change)) if finding.status != "ok"]
    assert (result.check, result.status, bool(result.fix)) == (check, status, True)


@pytest.mark.parametrize(
    ("change", "offered", "status", "text"),
    [
        ({}, None, "ok", "none on this machine"),
        ({}, 0, "ok", "none on this machine"),
        ({"gpus": ("H200",)}, 1, "ok", "H200"),
        ({}, 2, "fail", "Ray offers 2 GPUs, PyTorch sees 0"),
        ({"gpus": ("H200", "H200")}, 0, "warn", "Ray offers 0 of 2 GPUs: no run can use the others"),
        ({"gpu_fault": "driver too old"}, 1, "fail", "PyTorch cannot use the GPU: driver too old"),
    ],
)
def test_gpus_are_what_ray_offers(change: dict[str, object], offered: int | None, status: str, text: str) -> None:
    (result,) = [finding for finding in judge(replace(WELL, **change), offered) if finding.check == "gpu"]
    assert (result.status, result.text, bool(result.fix)) == (status, text, status != "ok")


def test_all_machines_need_the_same_versions() -> None:
    assert judge_equal({"a": WELL, "b": WELL}).status == "ok"
    result = judge_equal({"a": WELL, "b": replace(WELL, packages={"torch": "2.14.0"})})
    assert (result.status, "2.15.0 on a, but 2.14.0 on b" in result.text) == ("fail", True)
    assert judge_probe(WELL, "x", "r").status == "ok"
    assert judge_probe(replace(WELL, probe=None, probe_fault="no such file"), "x", "r").status == "fail"
    assert [judge_clock("b", skew, 0.5).status for skew in (0.1, -4, 100)] == ["ok", "warn", "fail"]


def test_code_is_compared_by_content() -> None:
    other = "0def" * 16
    plain = judge_code(WELL, {"a": replace(WELL, installed=WELL.code)})
    assert (plain.status, plain.text.endswith("installed: the same on every node")) == ("ok", True)
    # What is installed may be older, or missing: it is not what runs.
    mixed = judge_code(WELL, {"a": replace(WELL, installed=other), "b": WELL})
    assert (mixed.status, "a has other code (0def0def0def), b has none" in mixed.text) == ("ok", True)
    # The version is the same, and the code is not.
    wrong = judge_code(WELL, {"a": WELL, "b": replace(WELL, code=other)})
    assert (wrong.status, bool(wrong.fix)) == ("fail", True)
    assert wrong.text == "this machine runs attn 0.1.0 (c0dec0dec0de), but other code runs on b (0def0def0def)"


def test_tokens(tmp_path: Path) -> None:
    assert check_token({}, joins=False)[0].status == "ok"
    assert check_token({}, joins=True, home=tmp_path)[0].status == "warn"
    assert check_token({"RAY_AUTH_MODE": "token"}, joins=True, home=tmp_path)[0].status == "fail"
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("x")
    (tmp_path / ".ray" / "auth_token").chmod(0o644)
    result = check_token({"RAY_AUTH_MODE": "token"}, joins=True, home=tmp_path)
    assert [one.status for one in result] == ["ok", "warn"]
    assert sends_password_unencrypted("http://host:5000", {"MLFLOW_TRACKING_TOKEN": "x"})
    assert not sends_password_unencrypted("http://127.0.0.1:5000", {"MLFLOW_TRACKING_TOKEN": "x"})


def test_conditional_writes_are_tried(tmp_path: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_conditional_writes(str(tmp_path / "runs"))[0].status == "ok"
    assert list(tmp_path.iterdir()) == []
    assert [one.status for one in check_conditional_writes(f"{s3_server}/runs")] == ["ok", "ok"]
    assert check_conditional_writes("s3://no-such-bucket/runs")[0].status == "fail"
