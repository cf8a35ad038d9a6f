"""The page of a run and of a job: one layout, numbers with units, and whatever a service may answer."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from attn.display import local_time
from services.cli.listing import _of_job
from services.cli.status_page import page_of_job

STARTED = 1_796_039_000.0
JOB: dict[str, Any] = {
    "id": "oaa-1", "kind": "train", "target": "oaa", "state": "running", "cancelling": True, "priority": 2,
    "max_duration": 3600.0, "attempt": 2, "submitted": STARTED - 900, "started": STARTED, "ended": None, "epoch": 0,
    "step": 3, "eta": 88.4138, "metrics": {"val/mean_ap": 0.5, "train/loss": 0.25},
    "progress": {"kind": "step", "epoch": 0, "epochs": 3, "step": 3, "steps": 30, "losses": {"classification": 0.6931},
                 "lr": 0.01, "images_per_second": 7.25, "time": STARTED + 116.1902, "clock": "c:1"},
    "run": {"what": "oaa", "data": "coco train", "progress": "0/3 epochs, step 3", "started": STARTED - 800,
            "seconds": 125.0},
}  # fmt: skip


def printed(job: dict[str, Any]) -> dict[str, str]:
    stream = io.StringIO()
    page_of_job(job).print(Console(file=stream, soft_wrap=True))
    lines = [line.split("  ", 1) for line in stream.getvalue().splitlines()]
    return {name: value.strip() for name, value in lines}


def test_a_jobs_page_reads_as_a_runs() -> None:
    assert printed(JOB) == {
        "run": "oaa-1",
        "kind": "train",
        "state": "running, cancelling",
        "what": "oaa on coco train",
        "progress": "0/3 epochs, step 3",
        "last step": "3 of 30, 7.2 images/s",
        "losses": "classification 0.6931",
        "time left": "1 min 28 s",
        "limits": "priority 2, 1 h 0 min at most",
        "started": local_time(STARTED - 800),
        "time": "2 min 5 s",
        "scores": "val/mean_ap 50.0 %  train/loss 0.2500",
    }


def test_one_epoch_is_one() -> None:
    job = {"id": "a", "kind": "train", "state": "running"}
    assert [printed({**job, "epoch": epoch})["progress"] for epoch in (1, 2)] == ["1 epoch", "2 epochs"]


def test_a_list_of_jobs_has_the_times_of_their_runs() -> None:
    row = _of_job(JOB)
    assert (row.started, row.seconds, row.progress) == (STARTED - 800, 125.0, "0/3 epochs, step 3")


def test_a_job_that_waits_and_one_of_an_earlier_service() -> None:
    waits = {"id": "a", "kind": "train", "target": "gain", "state": "queued", "waiting": "1 job before it",
             "submitted": STARTED}  # fmt: skip
    assert printed(waits) == {"run": "a", "kind": "train", "state": "queued", "why": "1 job before it", "what": "gain",
                              "submitted": local_time(STARTED)}  # fmt: skip
    earlier = {"id": "a", "state": "failed", "error": "no space", "started": STARTED, "ended": STARTED + 90, "epoch": 2}
    assert printed(earlier) == {"run": "a", "state": "failed", "why": "no space", "progress": "2 epochs",
                                "started": local_time(STARTED), "time": "1 min 30 s"}  # fmt: skip


def test_a_sweeps_best_trial_and_a_pipelines_stages() -> None:
    sweep = {"id": "s", "state": "running", "progress": {"kind": "sweep", "trials": 9, "ended": 2,
             "best": {"trial": 4, "val/mean_ap": 0.625}}}  # fmt: skip
    assert printed(sweep)["last step"] == "best trial so far 4, val/mean_ap 62.5 %"
    stages = {"train": "done", "cues": "running", "evaluation": "waiting"}
    assert printed({"id": "p", "state": "running", "stages": stages})["stages"] == (
        "train done, cues running, evaluation waiting"
    )


@pytest.mark.parametrize("given", ["x", -1, 1e400, float("nan"), [], [{}], {}, {"best": []}, {"losses": 3}, True, None])
def test_an_answer_may_have_anything_in_it(given: Any) -> None:
    names = ("run", "progress", "metrics", "stages", "eta", "started", "ended", "epoch", "priority", "max_duration")
    for name in names:
        assert printed({"id": "a", "state": "failed", name: given})["state"] == "failed"
