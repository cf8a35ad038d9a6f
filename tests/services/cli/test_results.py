"""Results as people see them: short tables that fit 80 columns, scores in percent, and the command that shows more."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from attn.evaluation.compute import MAPS_OFF
from attn.run_state import RunState, StageState
from attn.runs.result import JsonResult
from attn.segmentation.make import CueReport
from jobs.compare import CompareResult
from jobs.cues import CuesResult
from jobs.evaluate import FIGURES, EvaluateResult, table
from jobs.maps import MapsResult
from jobs.pipeline import PipelineResult
from jobs.resume import EndedRun
from jobs.segment_predict import MasksResult
from jobs.sweeps.results import Row, SweepResult
from jobs.train import TrainResult
from services.cli.plain_console import PlainConsole
from services.cli.plan import print_plan
from services.cli.results import shown

METRICS = {"train/loss": 0.69312, "val/mean_ap": 0.87654, "val/loss": None}
TRAINED = TrainResult(
    run_id="a", folder="runs/a", model="runs/a/model", metrics=METRICS, store="runs/a/store", store_version=7,
    tracking_run="0123456789abcdef", seconds=200.4, best={"metric": "val/mean_ap", "epoch": 2, "value": 0.87654},
    stopped_early={"epoch": 3, "metric": "val/mean_ap", "best_epoch": 2},
)  # fmt: skip
STAGES = {
    "train": StageState(
        run_id="p-train-01234567", folder="runs/p-train-01234567", reused=True, seconds=9.0, state="done"
    ),
    "cues": StageState(
        run_id="p-cues-01234567", folder="runs/p-cues-01234567", reused=False, seconds=61.0, state="done"
    ),
}
PIPELINE = PipelineResult(
    run_id="p", folder="/elsewhere/p", scores={"miou": 0.5, "cue_miou": 0.25}, model="/elsewhere/p-segment/model",
    masks=None, stages=STAGES, cues={}, notes=["masks: 1 of 3 images"], tracking_run=None, seconds=7300.0,
)  # fmt: skip
MAPS = MapsResult(
    run_id="m", folder="runs/m", model="a", images=30, maps=40, predictions="runs/m/predictions.parquet",
    notes=["1 image could not be read"], png="runs/m/png", tracking_run=None, seconds=3.0,
)  # fmt: skip
CUES = CuesResult(
    run_id="c", folder="runs/c/cues", score=None, tracking_run=None, seconds=3.0,
    sheet="runs/c/cues/sheet.png",
    best={"foreground": 0.3, "background": 0.06, "miou": 0.5, "miou_all": 0.25},
    grid={"foreground": (0.2, 0.3), "background": (0.06, 0.1), "miou_all": [[0.1, 0.2], [0.25, 0.2]]},
    report=CueReport(
        images=3, masked=0, digest="0" * 64, maps={}, rule={}, saliency="none",
        threshold={"rule": "fixed", "value": 0.3}, labelled=0.5,
        matrix=np.zeros((2, 3), np.int64), classes=("one",),
    ),
)  # fmt: skip
MASKS = MasksResult(
    run_id="k", folder="runs/k", model="a", data="voc val", images=3, masked=3, masks="runs/k/masks", submission=None,
    scores={"miou": 0.5, "miou_crf": 0.625}, protocols={}, notes=[], tracking_run=None, seconds=4.0,
    per_class=[{"class": "background", "miou": 0.75, "miou_crf": 0.875}],
)  # fmt: skip
ENDED = EndedRun(
    run_id="e", folder="runs/e",
    state=RunState.of({"id": "e", "kind": "evaluate", "state": "done", "metrics": {"seed_miou": 0.5}}),
)  # fmt: skip
COMPARED = CompareResult(
    run_id="c", folder="runs/c", picture="runs/c/comparison.png", images=["1", "2", "3"], tracking_run=None,
)  # fmt: skip
SWEEP = SweepResult(
    run_id="s", folder="runs/s", trials=[Row(0, "done", {"method.alpha": 0.1}, 0.5, 3, 9.0, None, None, None)],
    counts={"done": 1}, metric="seed_miou", best=None, recipe=None, registered=None, tracking_run=None, seconds=9.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (
            TRAINED,
            [
                "score, %",
                "val/mean_ap  87.7",
                "train/loss  0.6931",
                "3 min 20 s",
                "store, version 7",
                "attn show a",
                "epoch 2, the best: val/mean_ap 87.7 %",
                "after epoch 3: val/mean_ap had not improved since epoch 2",
            ],
        ),
        (replace(TRAINED, cues={"miou": 0.25, "masked": 16}), ["cues         mIoU 25.0 % of 16 images with masks"]),
        (replace(TRAINED, cues={"miou": 0.25, "masked": 1}), ["mIoU 25.0 % of 1 image with masks"]),
        (PIPELINE, ["train  reused", "cues   1 min 1 s", "cue_miou  25.0", "2 h 1 min", "note   masks: 1 of 3 images"]),
        (MAPS, ["40 of 30 images", "runs/m/png", "1 image could not be read", "attn show m"]),
        (CUES, ["best: foreground=0.3 background=0.06, 25.0 %", "runs/c/cues/sheet.png", "attn show c"]),
        (MASKS, ["62.5", "87.5", "runs/k/masks", "attn export k --format coco --to FOLDER", "attn show k"]),
        (SWEEP, ["50.0", "runs/s"]),
        (ENDED, ["score, %", "seed_miou  50.0", "was done already", "attn show e"]),
        (COMPARED, ["picture   runs/c/comparison.png", "3 images  1, 2, 3", "attn show c"]),
        (
            replace(COMPARED, overlap={"before": {"last": 0.5, "inner": 0.25}, "after": {"last": 0.125}}),
            ["overlap of both maps, %  last", "before                   50.0", "25.0", "12.5"],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, JsonResult) else "",
)
def test_a_result_is_a_short_table(result: JsonResult, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    outcome = shown(result)
    outcome.show(Console(file=stream, width=80, soft_wrap=True, highlight=False))
    text = stream.getvalue()
    for word in words:
        assert word in text
    assert max(map(len, text.splitlines())) <= 80
    assert "tracking_run" not in text
    assert "0123456789abcdef" not in text, "what only programs use is in --json"
    assert outcome.data == result.to_json()
    assert outcome.status == (1 if result is SWEEP else 0)


def test_a_plan_has_a_table_of_stages_and_the_parts_of_the_time() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, soft_wrap=True, highlight=False)
    stages = {"train": {"epochs": 3, "steps": None, "data": "scenes train"}, "maps": {"data": "scenes val"}}
    time = {"seconds": 200.0, "between": [180.0, 7300.0], "source": "--epoch-seconds", "parts": {"start of Ray": 12.0}}
    print_plan(console, {"kind": "pipeline", "stages": stages, "time": time})
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["kind", "pipeline"],
        ["stage", "epochs", "data"],
        ["train", "3", "scenes", "train"],
        ["maps", "scenes", "val"],
        [
            "time",
            "about",
            "3",
            "min",
            "20",
            "s",
            "(3",
            "min",
            "0",
            "s",
            "to",
            "2",
            "h",
            "1",
            "min),",
            "by",
            "--epoch-seconds",
        ],
        ["start", "of", "Ray", "12", "s"],
    ]
    # What a service of another version says is printed as it is.
    print_plan(console, {"stages": [1], "time": {"seconds": "soon", "between": None}})
    assert "time.seconds  soon" in stream.getvalue()


EVIL, ESC = "[/x]", "\x1b[2J"
EVALUATED = EvaluateResult(
    run_id="e", folder="runs/[red]/e", model="a", weights=None, maps=None, version=None, data="voc val", images=3,
    masked=3, scores=dict.fromkeys(FIGURES, 1.0), protocols={}, thresholds={}, predict=None,
    notes=["[/note]"], tracking_run=None, seconds=1.0,
    per_class=[
        {"class": name, **dict.fromkeys(FIGURES, 1.0)}
        for name in ("background", "diningtable", EVIL, ":cat:", "[red]cat", ESC)
    ],
)  # fmt: skip


def test_an_evaluation_ends_with_its_run_and_what_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown(EVALUATED).show(PlainConsole())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[-3:-1] == [["run", "e"], ["time", "1.0", "s"]]
    assert lines[-1][:3] == ["more", "attn", "show"]


def test_thresholds_are_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    at = {"seed_miou": 0.62, "direct_miou": 0.2, "direct_miou_best": 0.575}
    scores = EVALUATED.scores | {"seed_miou": 0.398, "direct_miou": 0.144, "direct_miou_best": 0.664}
    shown(replace(EVALUATED, thresholds=at, scores=scores, predict="attn predict IMAGE... --threshold 0.62")).show(
        PlainConsole()
    )
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "seed: 39.8 at 62 % of a map's maximum, the best for these masks" in lines
    assert "direct: 14.4 at 20 %, which is fixed; 66.4 at 57.5 %, the best" in lines
    assert any(line.endswith("attn predict IMAGE... --threshold 0.62") for line in lines)
    assert "threshold" not in str(table(replace(EVALUATED, thresholds={"direct_miou": 0.2})).caption)


@pytest.mark.parametrize(("at", "told"), [(0.0, True), (0.01, False), (0.99, False), (1.0, True)])
def test_a_threshold_that_takes_all_or_nothing_is_told(at: float, told: bool) -> None:
    caption = str(table(replace(EVALUATED, thresholds={"seed_miou": at})).caption)
    assert ("no threshold of these maps tells objects from background" in caption) == told


def test_an_evaluation_that_read_no_masks_does_not_count_them() -> None:
    titles = [table(one).title for one in (EVALUATED, replace(EVALUATED, masked=0, notes=[MAPS_OFF]))]
    assert titles == ["voc val: 3 images, 3 with masks; percent", "voc val: 3 images; percent"]


@pytest.mark.parametrize(
    "result",
    [
        EVALUATED,
        dataclasses.replace(MASKS, per_class=[{"class": EVIL, "miou": 0.5, "miou_crf": 0.5}], notes=[EVIL, ESC]),
        dataclasses.replace(
            SWEEP, trials=[Row(0, EVIL, {"data.root": EVIL}, 0.5, 3, 9.0, None, f"{EVIL} {ESC}", None)]
        ),
        dataclasses.replace(MAPS, notes=[EVIL, ESC]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_names_and_messages_are_shown_as_they_are(
    result: JsonResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown(result).show(PlainConsole())
    text = capsys.readouterr().out
    assert EVIL in text
    assert ("\x1b" in text, r"\x1b[2J" in text) == (False, True)


def test_the_table_of_all_scores_has_room_for_the_names_of_classes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown(EVALUATED).show(PlainConsole())
    lines = capsys.readouterr().out.splitlines()
    for name in ("background", "diningtable", ":cat:", "[red]cat"):
        assert [line.split() for line in lines if line.startswith(f"{name} ")] == [[name, *["100.0"] * len(FIGURES)]]
    assert max(map(len, lines)) <= 80
