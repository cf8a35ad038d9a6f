"""`attn show`: one page of a run of any kind, on a disk or in an object store, whole or damaged."""

from __future__ import annotations

import json
import platform
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from attn.config.resolve import dump_config
from attn.display import local_time
from attn.evaluation.score import Protocol, Score
from attn.runs.config_classes import COMMAND_CONFIGS, changed_fields, classes_of, config_class
from attn.runs.recipes import list_recipes, load_any_config
from attn.runs.table import KINDS
from attn.tracking.journal import JOURNAL
from jobs.runs.run_folder import RunFolder

TRAINED = Path(__file__).parents[2] / "earlier" / "runs" / "oaa"


def put(root: str, name: str, files: dict[str, Any] | None = None, **state: Any) -> None:
    folder = RunFolder(root, name)
    folder.write("run.json", json.dumps({"id": name, "state": "done", "started": 0.0, "seconds": 200.0, **state}))
    for file, content in (files or {}).items():
        folder.write(file, content if isinstance(content, str) else json.dumps(content))


def scores(value: float, run: str) -> dict[str, Any]:
    protocol = Protocol(
        source="voc", split="val", images=173, fingerprint="a", scored="classifier", resize="squash 8x8"
    )
    return {"scores": {"mean_ap": json.loads(Score(name="mean_ap", value=value, protocol=protocol).to_json())}}


def test_foreign_texts_do_not_reach_the_terminal_raw(attn: Any, tmp_path: Path) -> None:
    root = str(tmp_path)
    put(root, "a", {"config.yaml": "{ \x1b[2J"}, kind="train", error="bad \x1b[2J", notices=["note \x1b[2J [/x]"])
    done = attn("show", "a", "--root", root)
    assert (done.status, "\x1b" in done.out) == (0, False)
    assert r"note: note \x1b[2J [/x]" in done.out


def words(out: str) -> list[str]:
    """Lines with single spaces."""
    return [re.sub(r" +", " ", line).strip() for line in out.splitlines()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    shutil.copytree(TRAINED, root / "oaa")
    put(str(root), "e", {"scores.json": scores(0.25, "e"), "config.yaml": "evaluation: {probability: 0.4}\n"},
        kind="evaluate", model="oaa", metrics={"mean_ap": 0.25})  # fmt: skip
    return root


def test_a_training(attn: Any, root: Path) -> None:
    done = attn("show", "oaa", "--root", str(root))
    assert (done.status, done.err) == (0, "")
    lines = words(done.out)
    for line in (
        "e classifier voc val 173 mean_ap 25.0",
        "run oaa", "kind train", "state done", "what oaa on scenes train", "progress 1/1 epoch",
        "data scenes, count 4, size 32, classes [boat, plane]", "train/loss 0.6934",
        "metrics.jsonl figures of each epoch", "store its map store", "classes 2: boat, plane",
        f"score it attn evaluate {root}/oaa --root {root}",
        f"look at other images attn predict IMAGE... --model {root}/oaa",
        f"register it attn models register {root}/oaa NAME",
    ):  # fmt: skip
        assert line in lines, (line, done.out)


def test_the_commands_of_a_page_are_commands(attn: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    for name in ("oaa", "e"):
        for one in attn("show", name, "--json").json["next"]:
            program, *command = one["command"].replace("IMAGE...", "x.png").replace("OTHER", "e").split()
            assert program == "attn"
            words = [word for word in command if "=" not in word and word not in ("oaa", "e", "x.png")]
            assert attn(*(word for word in words if not word.startswith("-")), "--help").status == 0, one


def test_cues_are_for_training_and_for_people(attn: Any, tmp_path: Path) -> None:
    put(str(tmp_path), "c", kind="cues", cues={})
    commands = {
        one["purpose"]: one["command"] for one in attn("show", "c", "--root", str(tmp_path), "--json").json["next"]
    }
    train, export = commands["train a network on them"], commands["write them as annotations"]
    assert train == f"attn segment RECIPE labels.source=files labels.path={tmp_path}/c/cues"
    assert export == f"attn export {tmp_path}/c --format coco --to FOLDER --root {tmp_path}"


def test_masks_are_for_people(attn: Any, tmp_path: Path) -> None:
    stages = {"evaluation": {"run_id": "p-e", "folder": f"{tmp_path}/p-e", "state": "done"}}
    put(str(tmp_path), "p", kind="pipeline", stages=stages)
    for name in ("k", "p-e"):
        put(str(tmp_path), name, {"masks/classes.csv": ""}, kind="masks")
    put(str(tmp_path), "none", kind="masks")
    for name, there in (("k", True), ("p-e", True), ("p", True), ("none", False)):
        commands = [one["command"] for one in attn("show", name, "--root", str(tmp_path), "--json").json["next"]]
        export = f"attn export {tmp_path}/{name} --format coco --to FOLDER --root {tmp_path}"
        assert (export in commands) is there, name


def test_an_evaluation_shows_each_score_once(attn: Any, root: Path) -> None:
    lines = words(attn("show", "e", "--root", str(root)).out)
    assert sum("mean_ap" in line for line in lines) == 1
    assert "mean_ap 25.0 voc val 173 e" in lines
    assert "evaluation probability 0.4" not in lines, "a config that its class does not take is shown whole"
    assert "what of oaa" in lines


def test_evaluations_of_a_training_are_told_apart_by_how_the_maps_were_made(attn: Any, root: Path) -> None:
    made: dict[str, dict[str, Any]] = {
        "plain": {},
        "scaled": {
            "scales": (0.5, 1.0, 2.0),
            "flip": True,
            "refinement": {"name": "pamr", "after": {"name": "affinity"}},
        },
    }
    for number, (name, fields) in enumerate(made.items()):
        protocol = {"source": "voc", "split": "val", "images": 28, "fingerprint": "b", "resize": "squash 8x8"}
        of_maps = Protocol(**protocol, scored="maps", map_kind="cam", labels="given", **fields)
        written = {
            one.name: json.loads(one.to_json())
            for one in (
                Score(name="mean_ap", value=0.876, protocol=Protocol(**protocol, scored="classifier")),
                Score(name="seed_miou", value=0.398 + 0.1 * number, protocol=of_maps, extras={"threshold": 0.62}),
                Score(name="coverage", value=0.5, protocol=of_maps),
            )
        }
        put(str(root), name, {"scores.json": {"scores": written}}, kind="evaluate", model="oaa", started=1.0 + number)
    done = attn("show", "oaa", "--root", str(root))
    lines = words(done.out)
    assert [line for line in lines if "mean_ap 87.6" in line] == ["scaled classifier voc val 28 mean_ap 87.6"], "once"
    assert "plain maps voc val 28 seed_miou 39.8 at 62" in lines
    assert "scaled maps: 3 scales, flip, affinity, pamr voc val 28 seed_miou 49.8 at 62" in lines
    assert not any("coverage" in line for line in lines)
    assert "seed_miou 39.8 62 voc val 28 plain" in words(attn("show", "plain", "--root", str(root)).out)
    listed = attn("show", "oaa", "--root", str(root), "--json").json["evaluations"]
    assert {(one["name"], one["scored"], one["threshold"], one["run"]) for one in listed} >= {
        ("coverage", "maps", None, "plain"), ("seed_miou", "maps: 3 scales, flip, affinity, pamr", 0.62, "scaled"),
    }  # fmt: skip


def test_a_sweep_its_trials_and_its_best_model(attn: Any, tmp_path: Path) -> None:
    root = str(tmp_path)
    sweep = "kind: sweep\nbase: gain\nsearch: {name: grid}\nspace: {seed: {choices: [1, 2]}}\n"
    sweep += "objective: {metric: val/mAP}\ntracking: {register_as: birds, alias: champion}\n"
    put(root, "s", {"config.yaml": sweep, "sweep.yaml": sweep, "base.yaml": "kind: train\n", "best.yaml": ""},
        kind="sweep", metrics={"best/val/mAP": 0.75}, registered="models:/birds/1")  # fmt: skip
    for number, score in enumerate((0.5, 0.75)):
        values = {"seed": number, "method.alpha": 0.123456789}
        put(f"{root}/s", f"s-000{number}", kind="train", number=number, values=values,
            metrics={"val/mAP": score}, model="/gone/model", epoch=3)  # fmt: skip
    done = attn("show", "s", "--root", root)
    lines = words(done.out)
    at = lines.index("trial state val/mean_ap, % values epochs")
    assert lines[at + 1 : at + 3] == [
        "1 done 75.0 seed=1 method.alpha=0.1235 3",
        "0 done 50.0 seed=0 method.alpha=0.1235 3",
    ]
    assert f"repeat the best trial attn train {root}/s/best.yaml" in lines
    assert f"look at other images attn predict IMAGE... --model {root}/s/s-0001/model" in lines
    assert "registered models:/birds/1" in lines, "and no alias, which may have moved since"
    assert not any(line.startswith("s-000") for line in lines), "trials are no files of their own"


@pytest.mark.parametrize(
    ("objective", "heading", "best"),
    [
        ("objective: {metric: seed_miou, mode: max}\n", "trial state seed_miou, % values epochs", "1"),
        ("", "trial state seed_miou, % values epochs", "1"),
        ("objective: {metric: train/loss, mode: min}\n", "trial state train/loss values epochs", "0"),
        ("objective: {metric: val/mAP, split: null}\n", "trial state val/mean_ap, % values epochs", "1"),
    ],
)
def test_the_objective_of_a_sweep_is_told_also_if_it_is_the_default(
    attn: Any, tmp_path: Path, objective: str, heading: str, best: str
) -> None:
    text = "kind: sweep\nrecipe: base.yaml\nsearch: {name: grid}\nspace: {seed: {choices: [1, 2]}}\n" + objective
    base = dump_config(load_any_config("scenes_gain", ["training.epochs=3", "data.count=7"]))
    put(str(tmp_path), "s", {"config.yaml": text, "sweep.yaml": text, "base.yaml": base}, kind="sweep")
    for number, score in enumerate((0.5, 0.75)):
        metrics = dict.fromkeys(("seed_miou", "train/loss", "val/mean_ap"), score)
        put(f"{tmp_path}/s", f"s-000{number}", kind="train", number=number, values={"seed": number}, metrics=metrics)
    lines = words(attn("show", "s", "--root", str(tmp_path)).out)
    assert heading in lines, lines
    of_trials = {name: rest for name, _, rest in (line.partition(" ") for line in lines) if name.startswith("set.")}
    assert ("count 7" in of_trials["set.data"], "epochs 3" in of_trials["set.training"]) == (True, True), of_trials
    assert lines[lines.index(heading) + 1].startswith(f"{best} done"), lines


def test_a_pipeline_and_its_network(attn: Any, tmp_path: Path) -> None:
    stages = {
        "train": {"run_id": "p-train", "state": "done", "seconds": 75.0},
        "segment": {"run_id": "p-segment", "state": "done", "reused": True},
    }
    put(str(tmp_path), "p", kind="pipeline", state="failed", error="no space", stages=stages, scores={"miou": 0.5},
        stage_names=["train", "segment", "evaluation"])  # fmt: skip
    assert "p-segment/model" not in attn("show", "p", "--root", str(tmp_path)).out, "it has not been written"
    put(str(tmp_path), "p-segment", {"model/model.json": {}}, kind="segment", state="done")
    lines = words(attn("show", "p", "--root", str(tmp_path)).out)
    for line in ("error no space", "train done 1 min 15 s p-train", "segment reused p-segment",
                 "evaluation not begun", "miou 50.0",
                 f"go on attn resume {tmp_path}/p", f"folder {tmp_path}/p-segment/model"):  # fmt: skip
        assert line in lines, line


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"state": "cancelled"}, "cancelled"),
        ({"state": "failed"}, "failed"),
        ({"state": "running", "host": platform.node(), "pid": 7, "process": "boot:1"}, "interrupted"),
        ({"state": "running", "host": "other", "pid": 7, "process": "boot:1"}, "running"),
    ],
)
def test_a_stage_ends_as_its_pipeline(attn: Any, tmp_path: Path, state: dict[str, Any], shown: str) -> None:
    stages = {"train": {"run_id": "p-train", "state": "running"}}
    put(str(tmp_path), "p", kind="pipeline", stages=stages, stage_names=["train", "cues"], **state)
    lines = words(attn("show", "p", "--root", str(tmp_path)).out)
    assert f"train {shown} p-train" in lines
    assert f"cues {'waiting' if shown == 'running' else 'not begun'}" in lines


@pytest.mark.parametrize(
    ("name", "state", "lines"),
    [
        ("r", {"state": "running", "host": "other", "pid": 7, "process": "boot:1"},
         ["see how far it is attn status ROOT/r",
          "end it, and keep its last checkpoint; on other attn cancel ROOT/r"]),
        ("r", {"state": "running", "pid": 7},
         ["end it, and keep its last checkpoint; on the machine that runs it attn cancel ROOT/r"]),
        ("s/s-0001", {"state": "waiting", "number": 1}, ["go on with its sweep attn resume ROOT/s"]),
        ("s/s-0001", {"state": "running", "number": 1, "host": "other"},
         ["end its sweep, and keep the last checkpoints; on other attn cancel ROOT/s"]),
        ("p-train", {"state": "failed"}, ["go on with its pipeline attn resume ROOT/p"]),
        ("p-old", {"state": "failed"}, ["go on attn resume ROOT/p-old"]),
        ("r", {"state": "running", "host": platform.node(), "pid": 7, "process": "boot:1"},
         ["go on attn resume ROOT/r"]),
    ],
)  # fmt: skip
def test_a_run_is_continued_by_who_drives_it(
    attn: Any, tmp_path: Path, name: str, state: dict[str, Any], lines: list[str]
) -> None:
    stages = {"train": {"run_id": "p-train", "state": "failed"}, "maps": {"run_id": "p-old", "state": "done",
              "reused": True}}  # fmt: skip
    put(str(tmp_path), "p", kind="pipeline", state="failed", stages=stages)
    put(str(tmp_path), "s", kind="sweep", state="failed")
    put(str((tmp_path / name).parent), (tmp_path / name).name, kind="train", **state)
    shown = words(attn("show", str(tmp_path / name)).out)
    for line in lines:
        assert line.replace("ROOT", str(tmp_path)) in shown, shown
    resumes = [line for line in shown if "attn resume" in line]
    assert resumes == [line.replace("ROOT", str(tmp_path)) for line in lines if "resume" in line]


def test_what_mlflow_was_not_sent_is_named(attn: Any, tmp_path: Path) -> None:
    put(str(tmp_path), "r", {JOURNAL: ""}, kind="train")
    assert "tracking what MLflow was not sent yet" in words(attn("show", "r", "--root", str(tmp_path)).out)


def test_a_run_in_an_object_store(attn: Any, s3_server: str) -> None:
    root = f"{s3_server}/runs"
    files = {"config.yaml": "method: {name: gain}\n", "metrics.jsonl": "", "model/model.json": {"classes": ["a"]}}
    put(root, "r", files, kind="train", metrics={"val/mean_ap": 0.5})
    lines = words(attn("show", "r", "--root", root).out)
    for line in ("what gain", f"started {local_time(0.0)}, took 3 min 20 s", "val/mean_ap 50.0", "classes 1: a",
                 f"score it attn evaluate {root}/r --root {root}"):  # fmt: skip
        assert line in lines, line
    assert attn("show", f"{root}/r", "--json").json["folder"] == f"{root}/r"


@pytest.mark.parametrize(
    ("name", "content", "state", "said"),
    [
        ("run.json", "{", "broken", "run.json is damaged"),
        ("config.yaml", "a: [", "done", "config.yaml:1: is not valid YAML"),
        ("origin.json", "[]", "done", "origin.json is damaged"),
        ("model/model.json", "5", "done", "model.json is damaged"),
    ],
)
def test_a_damaged_run_has_a_page_too(attn: Any, root: Path, name: str, content: str, state: str, said: str) -> None:
    RunFolder(str(root), "oaa").write(name, content)
    done = attn("show", "oaa", "--root", str(root))
    assert done.status == 0, done.err
    assert "Traceback" not in done.out + done.err
    assert said in done.out
    lines = words(done.out)
    assert f"state {state}" in lines
    assert "metrics.jsonl figures of each epoch" in lines
    assert attn("show", "oaa", "--root", str(root), "--json").json["files"]


def test_a_run_that_is_not_there_has_neighbours(attn: Any, root: Path) -> None:
    for command in ("show", "resume"):
        done = attn(command, "oa", "--root", str(root))
        assert done.status == 1
        assert "no run 'oa' under" in done.err
        assert "did you mean oaa?" in done.err


def test_every_kind_with_a_config_has_its_class() -> None:
    assert [kind for kind in KINDS if not classes_of(kind)] == ["compare"]
    assert all(config_class(command) for command in COMMAND_CONFIGS)


def test_what_was_chosen_says_all_of_a_config() -> None:
    """Its class with these fields is the config again."""
    for recipe in list_recipes()[::6]:
        config = load_any_config(recipe.name, [])
        chosen = changed_fields(config)
        again = type(config).model_validate_json(json.dumps(chosen), strict=True)
        assert again == config, recipe.name
        assert len(json.dumps(chosen)) < len(config.model_dump_json())


def test_a_field_set_back_to_its_default_is_shown_beside_the_recipe() -> None:
    recipe, config = (load_any_config("gain", one) for one in ([], ["optimizer.multipliers.head_weight=10"]))
    assert "head_weight" not in changed_fields(config)["optimizer"].get("multipliers", {})
    assert changed_fields(config, recipe)["optimizer"]["multipliers"] == {"head_weight": 10, "head_bias": 100}
    assert changed_fields(config, config) == changed_fields(config)
    other = load_any_config("gain", ["method.name=grad_cam", "schedule.name=poly"])
    assert changed_fields(other, recipe)["method"] == {"name": "grad_cam"}
    assert changed_fields(other, recipe)["schedule"]["name"] == "poly"


def test_the_page_compares_with_the_recipe_that_the_run_notes(attn: Any, tmp_path: Path) -> None:
    text = dump_config(load_any_config("gain", ["optimizer.multipliers.head_weight=10"]), "a run")
    for recipe, shown in (("gain", True), ("no_such_recipe", False)):
        put(str(tmp_path), recipe, {"config.yaml": text, "origin.json": json.dumps({"recipe": recipe})}, kind="train")
        lines = words(attn("show", recipe, "--root", str(tmp_path)).out)
        assert f"recipe {recipe}" in lines
        assert any("head_weight 10.0" in line for line in lines) == shown, "\n".join(lines)


def test_the_status_of_a_cancelled_run_names_the_command_that_continues_it(attn: Any, tmp_path: Path) -> None:
    root = str(tmp_path)
    for state, named in (("cancelled", True), ("failed", True), ("done", False)):
        put(root, state, {"config.yaml": "kind: train\n"}, kind="train", state=state)
        text = attn("status", state, "--root", root).out
        assert (f"go on    attn resume {state} --root {root}\n" in text) == named, text
    stages = {"train": {"run_id": "stage", "folder": f"{root}/stage", "state": "cancelled"}}
    put(root, "stage", kind="train", state="cancelled")
    put(root, "whole", kind="pipeline", state="cancelled", stages=stages)
    assert f"attn resume whole --root {root}\n" in attn("status", "stage", "--root", root).out


def test_the_best_epoch_and_an_early_end_are_named(attn: Any, tmp_path: Path) -> None:
    best = {"metric": "val/mean_ap", "epoch": 2, "value": 0.215}
    state = {
        "kind": "train", "epoch": 3, "best": best, "metrics": {"val/mean_ap": 0.215},
        "about": {"what": "gain", "data": "scenes train", "epochs": 6},
        "stopped_early": {"epoch": 3, "metric": "val/mean_ap", "best_epoch": 2},
    }  # fmt: skip
    config = "kind: train\ndata: {source: scenes}\ncheckpoint: {best: val/mean_ap}\n"
    put(str(tmp_path), "early", {"config.yaml": config}, **state)
    put(str(tmp_path), "live", {"config.yaml": config}, **state | {"state": "cancelled"})
    put(str(tmp_path), "odd", {"config.yaml": config}, **state | {"best": {"epoch": "x"}, "stopped_early": {}})
    lines = words(attn("show", "early", "--root", str(tmp_path)).out)
    assert "progress 3/6 epochs, ended early" in lines
    assert "ended early after epoch 3: val/mean_ap had not improved since epoch 2" in lines
    assert "model of epoch 2, the best: val/mean_ap 21.5 %" in lines
    assert "checkpoint best val/mean_ap" in lines
    live = words(attn("show", "live", "--root", str(tmp_path)).out)
    assert "best so far epoch 2: val/mean_ap 21.5 %" in live
    odd = attn("show", "odd", "--root", str(tmp_path))
    assert (odd.status, "model of" in odd.out) == (0, False)
    shown = attn("diff", "early", "live", "--root", str(tmp_path))
    assert "metrics of epoch 2, the best, and epoch 3, the last" in shown.out


def test_no_trial_of_a_cancelled_sweep_runs(attn: Any, tmp_path: Path) -> None:
    put(str(tmp_path), "s", {"sweep.yaml": "objective: {metric: val/mean_ap}\n"}, kind="sweep", state="cancelled")
    put(str(tmp_path / "s"), "s-0000", kind="train", state="running", number=0, values={"method.alpha": 0.1}, epoch=2)
    put(str(tmp_path / "s"), "s-0001", kind="train", state="done", number=1, values={"method.alpha": 1.0}, epoch=4)
    page = attn("show", "s", "--root", str(tmp_path), "--json").json
    assert [one["state"] for one in page["parts"]] == ["interrupted", "done"]
