"""`attn repro` writes what repeats a run; `attn diff` says what differs, and compares only what can be."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from attn.errors import RunError
from attn.evaluation.score import Protocol, Score
from attn.runs.recipes import load_run
from attn.runs.sweep.load import LoadedSweep, read_sweep
from jobs import sweep
from jobs.difference import run as diff
from jobs.repro import run as repro
from jobs.resume import resume
from jobs.runs.provenance import read_origin, record_origin
from jobs.runs.run_folder import RunFolder
from services.cli.main import app


def score(value: float, split: str) -> Score:
    protocol = Protocol(source="s", split=split, images=2, fingerprint="a", scored="classifier", resize="squash 8x8")
    return Score(name="mean_ap", value=value, protocol=protocol)


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Two trained runs; each was evaluated on one split, `a` on another too."""
    for name, seed, splits in (("a", 0, ("val", "test")), ("b", 1, ("val",))):
        folder = RunFolder(str(tmp_path), name)
        folder.update(kind="train", state="done", started=1.0, metrics={"val/mean_ap": 0.5 + seed / 10})
        folder.write("config.yaml", f"kind: train\nseed: {seed}\ndata: {{source: scenes, root: /no/such}}\nroot: /x\n")
        record_origin(folder, data="f" * 64)
        for split in splits:
            scored = RunFolder(str(tmp_path), f"evaluate-{name}-{split}")
            scored.update(kind="evaluate", state="done", model=name, started=2.0)
            text = {"scores": {"mean_ap": json.loads(score(0.6 + seed / 10, split).to_json())}}
            scored.write("scores.json", json.dumps(text))
    return str(tmp_path)


def test_repro(root: str, tmp_path: Path) -> None:
    result = repro("a", root=root, to=str(tmp_path / "again"))
    assert {"config.yaml", "README.md", "repro.json", "requirements.txt", "run.sh"} <= set(result.files)
    assert (result.recipe.seed, result.recipe.data, result.recipe.inputs) == (0, "f" * 64, ["/no/such"])
    assert any("/no/such is not there now" in note for note in result.recipe.notes)
    assert "attn train config.yaml --run-id a-again" in (tmp_path / "again" / "run.sh").read_text()
    pins = (tmp_path / "again" / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("torch==") for line in pins)
    assert not any("+" in line or line.startswith("attn=") for line in pins)
    with pytest.raises(RunError, match="is there already"):
        repro("a", root=root, to=str(tmp_path / "again"))
    with pytest.raises(RunError, match="no run 'c'"):
        repro("c", root=root)


def test_a_repetition_is_not_registered(root: str, tmp_path: Path) -> None:
    tracking = "tracking: {register_as: m, alias: champion}"
    RunFolder(root, "a").write("config.yaml", f"kind: train\nseed: 0\n{tracking}\n")
    repro("a", root=root, to=str(tmp_path / "again"))
    assert "tracking.register_as=null tracking.alias=null" in (tmp_path / "again" / "run.sh").read_text()


def test_a_trial_is_repeated_beside_its_sweep_and_with_its_threads(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    RunFolder(str(runs), "s").update(kind="sweep", state="done")
    for number, threads in ((0, 1), (1, 2)):
        trial = RunFolder(str(runs / "s"), f"s-{number:04d}")
        trial.update(kind="train", state="done", number=number, threads=threads)
        trial.write("config.yaml", f"kind: train\nseed: 0\nroot: {runs}/s\n")
    result = repro("s-0000", root=str(runs), to=str(tmp_path / "again"))
    assert result.recipe.command[3:] == ["--run-id", "s-0000-again", f"root={runs}", "cluster.threads=1"]
    assert "threads: 1" in (tmp_path / "again" / "README.md").read_text()
    different = diff("s-0000", "s-0001", root=str(runs)).environment
    assert [(one.field, one.a, one.b) for one in different] == [("threads", 1, 2)]
    RunFolder(str(runs / "s"), "s-0001").write("config.yaml", "kind: train\ncluster: {threads: 2}\n")  # it says so
    assert "cluster.threads=2" not in repro("s-0001", root=str(runs), to=str(tmp_path / "other")).recipe.command


def test_a_sweep_is_repeated_from_its_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_begun(*arguments: object) -> None:
        raise RunError("no trial is run here")

    monkeypatch.setattr(sweep, "_run", not_begun)
    text = (
        "kind: sweep\nrecipe: scenes_gain\nset: {data.count: 16}\nspace: {optimizer.lr: [0.01, 0.001]}\n"
        "search: {name: grid}\nobjective: {metric: seed_miou}\ntracking: {enabled: false}\n"
    )
    config, base = read_sweep(text, "sweep.yaml", [f"root={tmp_path}/runs"])
    with pytest.raises(RunError, match="no trial is run here"):
        sweep.run(LoadedSweep(config, base), run_id="s")
    result = repro("s", root=f"{tmp_path}/runs", to=str(tmp_path / "again"))
    assert result.recipe.command[:3] == ["attn", "sweep", "config.yaml"]
    shutil.rmtree(tmp_path / "runs")
    again = load_run(str(tmp_path / "again" / "config.yaml"), "sweep", [])
    assert (again.base, again.config.space) == (base, config.space)


def test_the_locations_of_a_sweeps_trials_are_inputs(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "s")
    folder.update(kind="sweep", state="done")
    folder.write("config.yaml", "kind: sweep\nrecipe: base.yaml\n")
    folder.write("base.yaml", "kind: train\ndata: {source: folder, root: /no/such}\n")
    result = repro("s", root=str(tmp_path), to=str(tmp_path / "again"))
    assert result.recipe.inputs == ["/no/such"]
    assert (tmp_path / "again" / "base.yaml").read_text() == folder.read_text("base.yaml")


def test_diff(root: str) -> None:
    result = diff("a", "b", root=root)
    assert result.to_json()["config"] == [{"field": "seed", "a": "0", "b": "1"}]
    assert (result.data.same, result.packages, result.why_not) == (True, [], [])
    assert result.metrics[0].difference == pytest.approx(0.1)
    (pair,) = result.to_json()["scores"]["compared"]
    assert pair["difference"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("config", "threads", "fields"),
    [
        ("cluster: {threads: 2}", 1, ["cluster.threads"]),
        ("cluster: {workers: 2}", 1, ["cluster.workers"]),
        ("", 2, ["threads"]),
        ("", 1, []),
    ],
)
def test_what_rounds_differently_is_named(root: str, config: str, threads: int, fields: list[str]) -> None:
    RunFolder(root, "a").update(threads=1)
    folder = RunFolder(root, "b")
    folder.write("config.yaml", f"{RunFolder(root, 'a').read_text('config.yaml').rstrip()}\n{config}\n")
    folder.update(threads=threads)
    result = diff("a", "b", root=root)
    assert (result.rounding, result.why_not) == (fields, [])


def test_two_evaluations_are_one_table(root: str) -> None:
    """Their scores are compared by their protocols, not again as metrics by their configs."""
    for name, more in (("a", "evaluation: {bins: 15, crf: null}\n"), ("b", "evaluation: {bins: 15}\ndevice: null\n")):
        scored = RunFolder(root, f"evaluate-{name}-val")
        scored.update(weights="e" * 64, metrics={"mean_ap": 0.6})
        scored.write("config.yaml", f"data: {{source: scenes, split: val}}\n{more}")
    result = diff("evaluate-a-val", "evaluate-b-val", root=root)
    assert (result.metrics, result.why_not, result.config) == ([], [], [])
    assert (result.weights.same, result.weights.a) == (True, "e" * 64)
    (pair,) = result.to_json()["scores"]["compared"]
    assert pair["difference"] == pytest.approx(0.1)


def test_what_was_measured_differently_is_not_compared(root: str) -> None:
    folder = RunFolder(root, "b")
    folder.write("config.yaml", "kind: train\nseed: 0\ndata: {source: scenes, root: /no/such, count: 5}\nroot: /x\n")
    RunFolder(root, "evaluate-b-val").write(
        "scores.json", json.dumps({"scores": {"mean_ap": json.loads(score(0.9, "train").to_json())}})
    )
    result = diff("a", "b", root=root)
    assert result.why_not == ["data.count: not set against 5"]
    assert result.metrics[0].difference is None
    pairs = result.to_json()["scores"]
    assert pairs["compared"] == []
    (apart,) = pairs["not_compared"]
    assert any(why.startswith("split") for why in apart["why"])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("train", "b has no scores: `attn evaluate {}/b`"),
        ("segment", "b has no scores: `attn segment predict {}/b`"),
        ("cues", "b has no scores"),
    ],
)
def test_a_run_without_scores_is_one_line(root: str, kind: str, expected: str) -> None:
    assert diff("a", "b", root=root).unscored == []
    shutil.rmtree(Path(root, "evaluate-b-val"))
    RunFolder(root, "b").update(kind=kind)
    for one, other in (("a", "b"), ("b", "a")):
        assert diff(one, other, root=root).unscored == [expected.format(root)]
        lines = CliRunner().invoke(app, ["diff", one, other, "--root", root]).output.splitlines()
        assert "".join(lines[-2:]).endswith(expected.format(root))
        assert not any("not compared" in line for line in lines)
    shutil.rmtree(Path(root, "evaluate-a-val"))
    shutil.rmtree(Path(root, "evaluate-a-test"))
    assert diff("a", "b", root=root).unscored == []


@pytest.mark.parametrize(
    ("state", "command"),
    [
        ({"kind": "cues", "sweep": True}, "attn segment cues config.yaml --sweep"),
        ({"kind": "cues"}, "attn segment cues config.yaml"),
        (
            {"kind": "compare", "compared": {"before": "a", "after": "b@2"}, "overrides": ["panels=2"]},
            "attn compare a b@2 panels=2 --titles before,after",
        ),
        ({"kind": "evaluate", "maps": "/maps", "version": 3}, "attn evaluate /maps@3 seed=0"),
        ({"kind": "evaluate", "model": "m@champion"}, "attn evaluate m@champion seed=0"),
        ({"kind": "masks", "model": "m"}, "attn segment predict m seed=0"),
        ({"kind": "masks", "model": "m", "voc_submission": True}, "attn segment predict m seed=0 --voc-submission"),
        ({"kind": "maps", "model": "m", "maps": 5}, "attn maps m seed=0"),
        ({"kind": "segment"}, "attn segment config.yaml --run-id r-again"),
        ({"kind": "pipeline"}, "attn pipeline config.yaml"),
        ({"kind": "later", "model": "m"}, "attn later config.yaml"),
    ],
)
def test_every_kind_is_repeated_by_its_own_command(tmp_path: Path, state: dict[str, object], command: str) -> None:
    folder = RunFolder(str(tmp_path), "r")
    folder.update(state="done", **state)
    folder.write("config.yaml", "seed: 0\n")
    assert " ".join(repro("r", root=str(tmp_path), to=str(tmp_path / "again")).recipe.command) == command


@pytest.fixture
def swept(tmp_path: Path) -> str:
    """A sweep with two trials, whose folders hold no provenance of their own."""
    root = str(tmp_path / "runs")
    sweep = RunFolder(root, "s")
    sweep.update(kind="sweep", state="done", started=1.0)
    record_origin(sweep)
    sweep.write("changes.patch", "a change\n")
    for number in range(2):
        trial = RunFolder(sweep.uri, f"s-{number:04d}")
        trial.update(kind="train", state="done", started=1.0, number=number, metrics={"val/mean_ap": 0.5})
        trial.write("config.yaml", f"kind: train\nseed: {number}\n")
    return root


def test_a_trial_has_its_sweeps_provenance_and_is_found_by_its_id(swept: str, tmp_path: Path) -> None:
    result = repro("s-0001", root=swept, to=str(tmp_path / "again"))
    assert not any("not known" in note or "origin.json" in note for note in result.recipe.notes)
    assert {"requirements.txt", "changes.patch"} <= set(result.files)
    assert result.recipe.python is not None
    compared = diff("s-0000", "s/s-0001", root=swept)
    assert compared.code.same is True or compared.code.a is None  # outside a checkout there is no commit
    assert (compared.a, compared.b, compared.packages) == ("s-0000", "s-0001", [])
    for place in (f"{swept}/s", f"{swept}/s/s-0001"):  # a stage of a pipeline's trial
        stage = RunFolder(place, "s-0001-train")
        stage.update(kind="train", state="done")
        assert read_origin(stage).python == result.recipe.python


def test_an_unfinished_trial_is_continued_by_its_sweep(swept: str) -> None:
    RunFolder(f"{swept}/s", "s-0001").update(state="cancelled")
    with pytest.raises(RunError, match="'s-0001' is a trial of sweep 's', which continues it: `attn resume s --root"):
        resume("s-0001", root=swept)


def test_a_readme_names_only_files_that_are_there(swept: str, root: str, tmp_path: Path) -> None:
    Path(swept, "s", "origin.json").unlink()
    Path(root, "b", "origin.json").write_text(json.dumps({"attn": "0.1", "commit": "abc+changes"}))
    for name, place in (("a", root), ("b", root), ("s-0000", swept)):
        to = tmp_path / f"again-{name}"
        result = repro(name, root=place, to=str(to))
        named = set(
            re.findall(r"requirements\.txt|changes\.patch|run\.sh|config\.yaml", (to / "README.md").read_text())
        )
        assert named <= set(result.files)
        assert ("requirements.txt" in named) == (name == "a")
    assert "its sweep's origin.json" in result.recipe.notes[0]
