"""A tracking server that goes down and comes back: the run continues, and every record is stored exactly once."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn.errors import TrackingError
from attn.tracking import TrackingConfig, attach, send_pending, terminate
from attn.tracking.breaker import CircuitBreaker
from attn.tracking.buffered_tracker import BufferedTracker
from attn.tracking.journal import Journal
from attn.tracking.mlflow_client import DEFAULT_TIMEOUTS, QUIET_SETTINGS
from tests.tracking.stand_in import StandIn

PIXELS = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    for name in (*DEFAULT_TIMEOUTS, *QUIET_SETTINGS):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    result = StandIn()
    result.start()
    yield result
    result.stop()


class Counted(BufferedTracker):
    """Counts failed requests."""

    in_vain = 0

    def _record_failure(self, error: TrackingError) -> None:
        self.in_vain += 1
        super()._record_failure(error)


@pytest.fixture
def tracker(server: StandIn, tmp_path: Path) -> Counted:
    return Counted(server.uri, server.run, str(tmp_path / "run"), CircuitBreaker(Clock()))


def epoch(tracker: BufferedTracker, number: int) -> str:
    """Record an epoch like a run; returns the error message, if any."""
    tracker.log_metrics({"loss": float(number), "accuracy": number / 10}, number)
    for name in ("one", "two"):
        tracker.log_preview(name, PIXELS, number)
    tracker.set_tags({"attn.epoch": number})
    try:
        tracker.flush()
    except TrackingError as error:
        return str(error)
    return ""


def journal(tmp_path: Path) -> list[dict[str, object]]:
    path = tmp_path / "run" / "tracking" / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def previews(server: StandIn) -> list[str]:
    return sorted(name.partition("+timestamp")[0] for name in server.files if name.endswith(".png"))


def test_a_server_that_goes_down_and_comes_back(server: StandIn, tracker: Counted, tmp_path: Path) -> None:
    clock = tracker.breaker.clock
    assert isinstance(clock, Clock)
    assert epoch(tracker, 1) == ""
    server.stop()
    assert "are buffered in" in epoch(tracker, 2)
    assert tracker.in_vain == 1, "the first failure is the last question"
    for number in range(3, 7):
        assert epoch(tracker, number) == "", "it is said once"
    assert tracker.in_vain == 1
    clock.now += 31
    epoch(tracker, 7)
    assert tracker.in_vain == 2
    clock.now += 31
    epoch(tracker, 8)
    assert tracker.in_vain == 2, "the pause has grown"
    assert len(journal(tmp_path)) == 7 * 4

    server.start()
    clock.now += 31
    assert epoch(tracker, 9) == ""
    assert journal(tmp_path) == []
    assert not list((tmp_path / "run").rglob("*.png"))
    results = sorted((step, name, value) for name, value, _, step in server.metrics)
    wanted = [(number, name, value) for number in range(1, 10) for name, value in _metrics(number)]
    assert results == wanted
    times = [at for _, _, at, _ in sorted(server.metrics, key=lambda one: one[3])]
    assert times == sorted(times), "those of when it was measured"
    assert previews(server) == sorted(
        f"/{server.run}/images/preview~{name}+step+{number}" for number in range(1, 10) for name in ("one", "two")
    )
    assert server.tags["attn.epoch"] == "9"


def _metrics(number: int) -> list[tuple[str, float]]:
    return [("accuracy", number / 10), ("loss", float(number))]


def test_buffered_records_are_sent_by_another_process(
    server: StandIn, tracker: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    epoch(tracker, 1)
    tracking, folder = TrackingConfig(uri=server.uri), str(tmp_path / "run")
    with pytest.raises(TrackingError, match=r"5 records are buffered in .*journal\.jsonl; `attn resume .*/run` sends"):
        terminate(tracking, str(tmp_path), server.run, "done", folder)
    with pytest.raises(TrackingError, match="5 records are buffered"):
        send_pending(tracking, str(tmp_path), server.run, folder)
    ended = journal(tmp_path)[-1]["at"]
    server.start()
    send_pending(tracking, str(tmp_path), server.run, folder)
    assert journal(tmp_path) == []
    assert [(end["status"], int(end["end_time"])) for end in server.ends] == [("FINISHED", ended)]
    assert len(server.metrics) == 2
    before = sum(server.requests.values())
    send_pending(tracking, str(tmp_path), server.run, folder)
    assert sum(server.requests.values()) == before, "nothing waits"


def test_records_with_lost_responses_are_stored_once(server: StandIn, tracker: Counted) -> None:
    """Responses are lost after the server has stored the record; twice, because the client retries once."""
    tracker.breaker.record_failure()
    epoch(tracker, 1)
    server.lose = 2
    with pytest.raises(TrackingError, match="records are buffered"):
        tracker.send_pending()
    tracker.send_pending()
    assert len(set(server.metrics)) == 2, "MLflow takes equal ones, time stamps included, for one"
    assert previews(server) == [f"/{server.run}/images/preview~{name}+step+1" for name in ("one", "two")]


def test_permanently_refused_records_are_dropped(server: StandIn, tracker: Counted) -> None:
    server.refuse = {"loss"}
    tracker.breaker.record_failure()
    epoch(tracker, 1)
    with pytest.raises(TrackingError, match="1 more could not be buffered or were refused"):
        tracker.send_pending()
    assert server.tags == {"attn.epoch": "1", "mlflow.loggedImages": "True"}


def test_a_journal_is_bounded_and_damaged_lines_are_skipped(
    server: StandIn, tracker: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attn.tracking.journal.MAX_LINES", 3)
    tracker.breaker.record_failure()
    epoch(tracker, 1)
    assert len(journal(tmp_path)) == 3
    assert tracker.journal.lost == 1
    path = tmp_path / "run" / "tracking" / "journal.jsonl"
    path.write_text(path.read_text() + '{"do": "dance"}\n[]\nnothing\n')
    with pytest.raises(TrackingError, match="3 more could not be buffered or were refused"):
        send_pending(TrackingConfig(uri=server.uri), str(tmp_path), server.run, str(tmp_path / "run"))
    assert journal(tmp_path) == []


def test_records_are_appended_and_an_incomplete_one_damages_no_other(tmp_path: Path) -> None:
    path = tmp_path / "run" / "tracking" / "journal.jsonl"
    kept = Journal(str(tmp_path / "run"))
    kept.add({"do": "picture", "path": "0"}, b"png")
    before = path.stat().st_ino
    for number in (1, 2):
        kept.add({"do": "picture", "path": str(number)}, b"png")
    assert path.stat().st_ino == before, "the file is not written anew"
    with path.open("ab") as stream:
        stream.write(b'{"do": "tags", "ta')  # a crash
    again = Journal(str(tmp_path / "run"))
    again.add({"do": "picture", "path": "3"}, b"png")
    last = Journal(str(tmp_path / "run"))
    assert [one["path"] for one in last.records] == ["0", "1", "2", "3"]
    assert [one["picture"] for one in last.records] == [f"tracking/{n:06d}.png" for n in (1, 2, 3, 4)]
    assert (again.lost, last.lost) == (1, 1)


def test_the_journal_follows_no_link_and_opens_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    for number, make in enumerate((lambda path: path.symlink_to(tmp_path / "other"), os.mkfifo, Path.mkdir)):
        path = tmp_path / f"run{number}" / "tracking" / "journal.jsonl"
        path.parent.mkdir(parents=True)
        make(path)
        kept = Journal(str(tmp_path / f"run{number}"))
        kept.add({"do": "tags", "tags": {"n": "0"}})
        assert kept.records == []
        assert kept.lost > 0
    assert (tmp_path / "other").read_text() == "mine"


def test_a_forged_journal_sends_and_removes_only_files_of_the_run(server: StandIn, tmp_path: Path) -> None:
    run, secret = tmp_path / "run", tmp_path / "secret.png"
    (run / "tracking").mkdir(parents=True)
    secret.write_bytes(png := _one_pixel())
    (run / "out").symlink_to(tmp_path)
    preview = {"do": "preview", "name": "x", "step": 1, "at": 1}
    lines: list[object] = [
        {**preview, "picture": "../secret.png"},
        {**preview, "picture": str(secret)},
        {**preview, "picture": "tracking/../../secret.png"},
        {**preview, "picture": ["tracking/000001.png"]},
        {"do": "files", "local": str(secret), "path": ""},
        {"do": "files", "local": str(run / "../secret.png"), "path": ""},
        {"do": "files", "local": str(run / "out/secret.png"), "path": ""},
        {"do": "files", "local": 5, "path": ""},
        {"do": ["tags"], "tags": {}},
        {"do": "tags", "tags": [1]},
        {"do": "text", "path": 5, "text": 5},
        {"do": "metrics", "metrics": 5},
        {"do": "metrics", "metrics": [[1]]},
        {"do": "metrics", "metrics": [{"a": 1}]},
        {"do": "end", "state": [], "at": "x"},
        {"do": "scores", "run": "../x", "metrics": [], "tags": {}},
        {"do": "scores", "run": "0" * 32, "metrics": [["train/loss", 0.0, 1, 0]], "tags": {}},
        {"do": "scores", "run": "0" * 32, "metrics": [], "tags": {"mlflow.note.content": "theirs"}},
        "nothing",
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + "[" * 100_000 + "\n"
    (run / "tracking/journal.jsonl").write_text(text)
    with pytest.raises(TrackingError, match=f"{len(lines) + 1} more could not be buffered or were refused"):
        send_pending(TrackingConfig(uri=server.uri), str(tmp_path), server.run, str(run))
    assert secret.read_bytes() == png
    assert (previews(server), server.metrics, server.ends) == ([], [], [])
    assert not [path for path in server.files if "secret" in path]


def _one_pixel() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    return stream.getvalue()


def test_a_run_continues_if_its_journal_cannot_be_written(server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    server.stop()
    tracker = BufferedTracker(server.uri, server.run, str(tmp_path / "run"), CircuitBreaker(Clock()))
    assert "are buffered in" in epoch(tracker, 1)
    assert epoch(tracker, 2) == ""
    assert (tracker.journal.lost, tracker.journal.records) == (8, []), "none is sent after all"


def test_a_pause_grows_to_ten_minutes() -> None:
    breaker, clock = CircuitBreaker(Clock()), Clock()
    breaker.clock = clock
    pauses: list[float] = []
    assert breaker.allows_request
    for _ in range(7):
        breaker.record_failure()
        pauses.append(breaker.until - clock.now)
        assert not breaker.allows_request
        clock.now = breaker.until
        assert breaker.allows_request
    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    breaker.record_success()
    assert breaker.record_failure(), "the next failure is a first one again"


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    assert not isinstance(attach(TrackingConfig(), str(tmp_path), "r"), BufferedTracker)
    assert isinstance(attach(TrackingConfig(), str(tmp_path), "r", str(tmp_path)), BufferedTracker)
