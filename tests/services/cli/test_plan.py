"""`attn plan`: any kind of run, by its recipe or by what it works on."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from attn.errors import ConfigError
from attn.runs.table import KINDS
from jobs.sweeps.costs import Costs
from services.cli.plan import split_words

TRAINED = Path(__file__).parents[2] / "earlier" / "runs" / "oaa"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gain", (None, ["gain"], [])),
        ("segment training.epochs=3", (None, ["segment"], ["training.epochs=3"])),
        ("segment segment training.epochs=3", ("segment", ["segment"], ["training.epochs=3"])),
        ("evaluate run@1 data.split=test", ("evaluate", ["run@1"], ["data.split=test"])),
        ("compare a b c panels=2", ("compare", ["a", "b", "c"], ["panels=2"])),
    ],
)
def test_kind_target_and_overrides(words: str, expected: tuple[Any, ...]) -> None:
    assert split_words(words.split()) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trian gain", r"trian: is no kind of run \(did you mean train\?"),
        ("evaluate", "evaluate: is a kind of run, and what it works on is missing"),
        ("train gain icasc", "icasc: is one word too many"),
        ("seed=5", "plan: no recipe, file or kind is given"),
        ("", "plan: no recipe, file or kind is given"),
    ],
)
def test_words_that_name_no_run(words: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        split_words(words.split())


def test_every_kind_has_a_plan(attn: Any, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(TRAINED, root / "oaa")
    small = (f"root={root}", "data.split=train")
    targets: dict[str, tuple[str, ...]] = {
        "train": ("scenes_gain",),
        "segment": ("segment_scenes",),
        "pipeline": ("gain_segment_scenes",),
        "sweep": ("sweep_scenes_gain", "set.data.count=8"),
        "evaluate": ("oaa", *small),
        "maps": ("oaa", *small),
        "cues": ("segment_scenes", "data.count=3"),
        "compare": ("oaa", *small),
    }
    assert KINDS.keys() - targets.keys() == {"masks"}, "which needs a segmentation network"
    for kind, words in targets.items():
        done = attn("plan", kind, *words, "--json")
        assert (done.status, done.json.get("kind", kind)) == (0, kind), done.err
        if kind in ("evaluate", "maps", "compare"):
            assert (done.json["data"], done.json["images"], done.json["masked"]) == ("scenes train", 4, 4)
    assert sorted(path.name for path in root.iterdir()) == ["oaa"], "nothing is written"
    assert re.search(r"labels\.rule\.foreground +0\.3", attn("plan", "cues", *targets["cues"]).out)
    changes = ("maps.refine.name=pamr", "segment.labels.saliency=border", "segment.labels.threshold=saliency_agreement")
    stages = attn("plan", "gain_segment_scenes", *changes, "--json").json["stages"]
    assert stages["maps"]["refine"] == "pamr"
    assert stages["cues"]["cues"] == "rule sec, saliency border, threshold saliency_agreement"
    assert "rule sec, saliency auto, threshold 0.3" in attn("plan", "segment_scenes").out
    missing = attn("plan", "masks", "nothing", f"root={root}")
    assert (missing.status, "no trained model 'nothing'" in missing.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scenes_gain", "--epoch-seconds", "-5"], "--epoch-seconds: -5.0 is no duration"),
        (["scenes_gain", "--epoch-seconds", "0"], "--epoch-seconds: 0.0 is no duration"),
        (["scenes_gain", "--epoch-seconds", "nan"], "--epoch-seconds: nan is no duration"),
        (["scenes_gain", "--epoch-seconds", "inf"], "--epoch-seconds: inf is no duration"),
        (["scenes_gain", "--epoch-seconds", "5", "--measure"], "cannot be used with --measure"),
        (["gain_segment_scenes", "--epoch-seconds", "5"], "kind pipeline cannot be estimated (use --measure)"),
        (
            ["maps", "any", "--epoch-seconds", "5"],
            "--epoch-seconds: the time of a run of kind maps cannot be estimated",
        ),
        (["compare", "any", "--measure"], "--measure: the time of a run of kind compare cannot be estimated"),
    ],
)
def test_an_estimate_that_cannot_be_given_is_one_error(attn: Any, words: list[str], said: str) -> None:
    done = attn("plan", *words)
    assert (done.status, said in done.err) == (2, True), done.err


def test_a_time_that_was_never_measured_is_told_with_the_way_to_measure_it(attn: Any, tmp_path: Path) -> None:
    done = attn("plan", "scenes_gain", f"root={tmp_path}")
    assert done.status == 0, done.err
    (line,) = [one for one in done.out.splitlines() if one.startswith("time")]
    assert line.split(maxsplit=1)[1] == "not measured; `attn plan` with --measure runs a few steps"
    assert attn("plan", "scenes_gain", f"root={tmp_path}", "--json").json["time"]["seconds"] is None
    for words in (["segment_scenes"], ["gain_segment_scenes"], ["sweep_scenes_gain", "set.data.count=8"]):
        out = attn("plan", *words, f"root={tmp_path}").out
        assert re.search(r"time +not measured; .*--measure runs a few", out), out
        assert "time.seconds" not in out


def test_what_plan_measures_is_known_to_later_plans(attn: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("jobs.sweeps.measured_start.measured_start", lambda run: (1.0, 2.0))
    costs = Costs((9.0, 10.0, 12.0), "5 steps and 64 images measured here and now")
    monkeypatch.setattr("jobs.sweeps.measured_steps.measured_costs", lambda *given: costs)
    for words in (["scenes_gain", "data.count=8"], ["sweep_scenes_gain", "set.data.count=8"]):
        words += [f"root={tmp_path / 'runs'}"]
        done = attn("plan", *words, "--measure", "--json")
        assert done.status == 0, done.err
        first = done.json["time"]
        later = attn("plan", *words, "--json").json["time"]
        assert (first["seconds"], first["parts"]) == (later["seconds"], later["parts"])
        assert "measured here at 20" in later["source"]
    (tmp_path / "file").write_text("")
    done = attn("plan", "scenes_gain", "data.count=8", f"root={tmp_path / 'file'}", "--measure")
    assert (done.status, "the measurement could not be kept" in done.err) == (0, True), done.err


def test_a_measured_pipeline_is_the_sum_of_its_stages(
    attn: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("jobs.sweeps.measured_start.measured_start", lambda run: (1.0, 2.0))
    costs = Costs((9.0, 10.0, 12.0), "5 steps and 64 images measured here and now")
    monkeypatch.setattr("jobs.sweeps.measured_stages.measured_costs", lambda *given: costs)
    small = [f"{section}.data.count=4" for section in ("train", "segment", "maps", "evaluation")]
    words = ["gain_segment_scenes", *small, f"root={tmp_path / 'runs'}", "evaluation.inference.crf=null"]
    done = attn("plan", *words, "--measure", "--json")
    assert done.status == 0, done.err
    time = done.json["time"]
    assert list(time["parts"]) == ["start of Ray", *done.json["stages"]]
    assert time["seconds"] == pytest.approx(sum(time["parts"].values()), abs=0.5)
    assert not (tmp_path / "runs").exists()
