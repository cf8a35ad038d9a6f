"""What may be submitted: only the service says where a job writes, however deep in a config it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from attn.errors import ConfigError
from attn.runs.pipeline import PipelineConfig
from attn.runs.recipes import load_config, load_run
from attn.runs.sweep.load import LoadedSweep
from attn.training.train_config import TrainConfig
from jobs.ray_cluster.capacity import Capacity, Machine
from jobs.stages.order import stages_of
from services.admission import load
from services.cli.sent_texts import request_of
from services.permissions import Permissions
from services.plan import cores_of, plan_of, what_of
from services.runner import StateDir, order_json
from services.submission import Submission
from services.table import Job, JobTable

ROOT = "/srv/runs"
SWEEP = """
kind: sweep
recipe: {base}
set: {{{set}}}
space: {{{space}}}
search: {{name: grid}}
"""
PIPELINE = """
kind: pipeline
{above}
train: {{recipe: {recipe}, {train}}}
segment: {{recipe: segment_scenes}}
{below}
"""


def plan(**asked: Any) -> dict[str, Any]:
    return plan_of(Submission.model_validate({"id": "x", **asked}), Permissions(ROOT))


def faults(**asked: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        plan(**asked)
    return [str(fault) for fault in raised.value.faults]


def sweep(base: str = "scenes_oaa", space: str = "optimizer.lr: [0.1]", **given: str) -> dict[str, Any]:
    return {"kind": "sweep", "config": SWEEP.format(base=base, space=space, set=given.get("set", ""))}


def pipeline(recipe: str = "scenes_oaa", above: str = "", train: str = "", below: str = "") -> dict[str, Any]:
    text = PIPELINE.format(recipe=recipe, above=above, train=train, below=below)
    return {"kind": "pipeline", "config": text}


def test_a_plan_says_what_a_pipeline_and_a_sweep_will_take() -> None:
    whole = plan(kind="pipeline", target="gain_segment_scenes", overrides=["train.training.epochs=3"])
    assert list(whole["stages"]) == ["train", "maps", "cues", "segment", "evaluation"]
    assert list(whole["stages"]["cues"]) == ["data", "cues"]
    assert whole["stages"]["train"]["epochs"] == 3
    shorter = ["set.training.epochs=4", "set.method.warmup_epochs=1", "scheduler.grace_epochs=2"]
    searched = plan(kind="sweep", target="sweep_scenes_gain", overrides=[*shorter, "parallel=1"])
    assert (searched["trials"], searched["epochs"], searched["parallel"]) == (12, 4, 1)
    assert searched["objective"] == "max seed_miou"


def test_a_plan_has_every_stage_that_is_run() -> None:
    refined = ("gain_segment_scenes", ["maps=null", "train.store.accumulate=true", "refine.name=pamr"])
    for name, overrides in (("gain_segment_scenes", []), ("oaa_plus_segment_scenes", []), refined):
        config = load_run(name, "pipeline", overrides)
        assert isinstance(config, PipelineConfig)
        assert list(what_of(config)["stages"]) == list(stages_of(config)), name
        assert {"cues", "segment", "evaluation"} < set(stages_of(config))


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (pipeline(train="store: {location: /elsewhere}"), ["train.store.location"]),
        (pipeline(below=f"maps: {{output: {{kind: store, location: {ROOT}/../elsewhere}}}}"), ["maps.output.location"]),
        (pipeline(below=f"maps: {{output: {{kind: png, location: {ROOT}/.service/jobs}}}}"), ["maps.output.location"]),
        (pipeline(above="tracking: {uri: 'http://attacker.example'}"), ["tracking.uri"]),
        (
            sweep("scenes_oaa", "store.location: [/a, /b], optimizer.lr: [0.1, 0.2]"),
            ["config:5: store.location = /a"],
        ),
        (sweep(set="store.location: /elsewhere"), ["config:4: store.location"]),
        (
            sweep(set="root: /elsewhere, tracking: {uri: 'http://attacker.example'}"),
            ["config:4: root = /elsewhere", "config:4: tracking.uri"],
        ),
    ],
)
def test_a_nested_place_is_the_services_to_say(asked: dict[str, Any], named: list[str]) -> None:
    result = faults(**asked)
    assert all(any(name in fault for fault in result) for name in named), result


def test_every_fault_is_told_at_once() -> None:
    places = ["train.store.location=/b", "maps.output={kind: png, location: /c}", "tracking.uri=http://a.example"]
    result = faults(kind="pipeline", target="gain_segment_scenes", id="x" * 61, overrides=places, address="ray://a:1")
    assert len(result) == 5
    for word in [*places, "address", "id"]:
        assert any(word in fault for fault in result), word
    unknown = faults(kind="pipeline", target="gain_segment_scenes", overrides=["train.epoch=3", "segment.store=1"])
    assert len(unknown) == 2
    searched = faults(kind="sweep", target="sweep_scenes_gain", overrides=["set.root=/a", "space.root=[/a]"])
    assert len(searched) >= 2
    assert sum("root = /a" in fault for fault in searched) == 2


@pytest.mark.parametrize("asked", [sweep(base="/etc/passwd"), pipeline(recipe="/etc/passwd")])
def test_no_file_of_the_services_machine_is_read(asked: dict[str, Any]) -> None:
    (result,) = [fault for fault in faults(**asked) if "passwd" in fault]
    assert "neither a recipe" in result


def test_a_store_is_no_target_of_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "store.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"maps is a folder, and a service's evaluate takes a run's name .*no store"):
        plan_of(Submission(id="a", kind="evaluate", target="maps"), Permissions(str(tmp_path)))


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"kind": "train", "target": "gain", "overrides": ["model.factory=marker:network"]}, "model.factory"),
        ({"kind": "train", "config": "recipe: gain\nmodel: {factory: 'marker:network'}\n"}, "config:2"),
        (
            {
                "kind": "train",
                "config": "recipe: b.yaml\n",
                "files": {
                    "b.yaml": "recipe: gain\nmodel:\n  name: factory/marker:network\n  factory: marker:network\n"
                },
            },
            "b.yaml:4",
        ),
        (pipeline(train="model: {factory: 'marker:network'}"), "train.model.factory"),
        (
            {
                "kind": "pipeline",
                "target": "gain_segment_scenes",
                "overrides": ["segment.model.factory=marker:network"],
            },
            "segment.model.factory",
        ),
        (sweep(set="model.factory: 'marker:network'"), "model.factory"),
        (sweep(space="model.factory: ['marker:network'], optimizer.lr: [0.1, 0.2]"), "model.factory"),
        ({"kind": "sweep", "target": "sweep_gain", "overrides": ["space.model.factory=[marker:network]"]}, "factory"),
    ],
)
def test_code_that_a_client_names_is_neither_run_nor_answered_with_what_may_run(
    asked: dict[str, Any], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "marker.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\nnetwork = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ATTN_FACTORIES", "secret.package:own,marker:network")
    result = faults(**asked)
    assert not (tmp_path / "imported").exists()
    assert any(where in fault and "factory cannot be set by a client" in fault for fault in result), result
    assert "secret.package" not in str(result)


def test_a_kind_is_what_it_says() -> None:
    assert "submit sweep" in faults(kind="train", target="sweep_scenes_gain")[0]
    assert "submit train" in faults(kind="pipeline", target="scenes_gain")[0]


PHOTOS = "source: folder\nroot: /srv/runs/photos\n"


def test_files_that_a_config_names_are_sent_with_it() -> None:
    files = {"data/photos.yaml": PHOTOS, "base.yaml": "recipe: gain\nseed: 3\ndata: data/photos.yaml\n"}
    asked = {"kind": "train", "config": "recipe: base.yaml\ntraining: {epochs: 2}\n", "files": files}
    result = plan(**asked)
    assert (result["epochs"], result["data"]) == (2, "folder train")
    over = plan(kind="sweep", target="sweep_gain", files=files, overrides=["data=data/photos.yaml"])
    assert over["trials"] == 20
    assert "data=data/photos.yaml" not in str(load(Submission.model_validate({"id": "x", **asked}), ROOT))
    scored = plan(kind="evaluate", target="gain", files=files, overrides=["data=data/photos.yaml"])
    assert scored["target"] == "gain"


def test_a_fault_in_a_file_that_was_sent_names_it() -> None:
    files = {"photos.yaml": "source: folder\nrot: /srv/runs/photos\n", "b.yaml": "seed: -1\nrecipe: gain\n"}
    result = faults(kind="train", config="recipe: b.yaml\ndata: photos.yaml\n", files=files)
    assert [fault.partition(": ")[0] for fault in result] == ["b.yaml:1", "photos.yaml:1", "photos.yaml:2"]
    result = faults(kind="maps", target="gain", files=files, overrides=["data=photos.yaml"])
    assert "photos.yaml:2" in [fault.partition(": ")[0] for fault in result]


@pytest.mark.parametrize(
    ("kind", "override", "fault"),
    [
        ("maps", "scals=[1]", "scals is not a known field"),
        ("maps", "scales=x", "should be a list"),
        ("maps", "refine.nam=pamr", "refine.name is missing"),
        ("evaluate", "scals=[1]", "scals is not a known field"),
    ],
)
def test_a_fault_is_of_the_command_that_was_meant(kind: str, override: str, fault: str) -> None:
    (only,) = faults(kind=kind, target="gain", overrides=[override])
    assert fault in only


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "train", "config": "recipe: gain\ndata: /etc/passwd\n"},
        {"kind": "train", "config": "recipe: /etc/passwd\n"},
        {"kind": "train", "config": "recipe: ../../etc/passwd\n"},
        {"kind": "train", "target": "gain", "overrides": ["data=/etc/passwd"]},
        {"kind": "train", "target": "gain", "overrides": ["recipe=/etc/passwd"]},
        {"kind": "pipeline", "target": "gain_sec_photographs", "overrides": ["train.data=/etc/passwd"]},
        {"kind": "pipeline", "target": "gain_sec_photographs", "overrides": ["segment.recipe=/etc/passwd"]},
        {"kind": "sweep", "target": "sweep_gain", "overrides": ["set.data=/etc/passwd"]},
        {"kind": "sweep", "target": "sweep_gain", "overrides": ["recipe=/etc/passwd"]},
        {"kind": "evaluate", "target": "gain", "overrides": ["data=/etc/passwd"]},
        {"kind": "maps", "target": "gain", "overrides": ["data=/etc/passwd"]},
        {"kind": "train", "config": "recipe: a.yaml\n", "files": {"a.yaml": "recipe: gain\ndata: /etc/passwd\n"}},
    ],
)
def test_no_other_file_is_read_however_it_is_named(asked: dict[str, Any]) -> None:
    result = faults(**asked)
    assert any("was not sent" in fault or "nor a file that was sent" in fault for fault in result), result
    assert not any("root:" in fault for fault in result)


def test_what_a_file_that_was_sent_leads_to_is_checked() -> None:
    files = {"photos.yaml": "source: folder\nroot: /etc\n", "b.yaml": "recipe: gain\nroot: /elsewhere\n"}
    for asked in (
        {"kind": "train", "config": "recipe: gain\ndata: photos.yaml\n"},
        {"kind": "sweep", "config": "recipe: sweep_gain\ndata: photos.yaml\n"},
        {"kind": "pipeline", "target": "gain_sec_photographs", "overrides": ["data=photos.yaml"]},
        {"kind": "evaluate", "target": "gain", "overrides": ["data=photos.yaml"]},
    ):
        result = faults(**asked, files=files)
        assert any("data.root = /etc is outside the folders" in fault for fault in result), result
    assert faults(kind="train", config="recipe: b.yaml\ndata: {root: /srv/runs/x}\n", files=files) == [
        "b.yaml:2: root is not the service's root (leave it out)"
    ]


def test_a_submission_without_files_is_the_one_of_before() -> None:
    submission = Submission.model_validate({"id": "x", "kind": "train", "target": "gain"})
    assert '"files"' not in submission.model_dump_json(exclude={"files"})
    more = submission.model_copy(update={"files": {"a.yaml": ""}})
    assert submission.request != more.request
    for files in ({"x" * 501: ""}, {"a": "x" * 200_001}, {f"{number}": "" for number in range(33)}):
        with pytest.raises(ValidationError):
            Submission.model_validate({"id": "x", "kind": "train", "target": "gain", "files": files})


def test_the_command_line_sends_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "mine/my.yaml": "recipe: ../team/base.yaml\ndata: photos.yaml\n",
        "mine/photos.yaml": PHOTOS,
        "photos.yaml": PHOTOS.replace("photos", "others"),
        "team/base.yaml": "recipe: gain\nseed: 3\n",
        "mine/pipeline.yaml": "kind: pipeline\ntrain: {recipe: my.yaml}\nsegment: {recipe: sec}\ndata: photos.yaml\n",
        "mine/sweep.yaml": "kind: sweep\nrecipe: pipeline.yaml\nspace: {train.seed: [1, 2]}\nsearch: {name: grid}\n"
        "objective: {metric: miou}\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    sent = request_of("mine/my.yaml", ["data=photos.yaml", "seed=4"])
    assert sorted(sent["files"]) == ["../photos.yaml", "../team/base.yaml", "photos.yaml"]
    assert sent["overrides"] == ["data=../photos.yaml", "seed=4"]
    assert request_of("gain", ["seed=4"]) == {"target": "gain", "overrides": ["seed=4"]}
    assert request_of("gain", ["data=photos.yaml"])["files"] == {"photos.yaml": PHOTOS.replace("photos", "others")}
    (tmp_path / "base.yaml").write_text("recipe: team/base.yaml\nseed: 5\n")
    mine = {"base.yaml", "team/base.yaml"}
    assert request_of("icasc", ["recipe=base.yaml"])["files"].keys() == mine
    assert request_of("gain_segment_scenes", ["train.recipe=base.yaml"])["files"].keys() == mine
    assert request_of("mine/pipeline.yaml", ["train.recipe=base.yaml"])["files"].keys() >= {
        "../base.yaml", "../team/base.yaml"
    }  # fmt: skip
    assert "files" not in request_of("gain", [], "evaluate"), "a run that is called like a recipe"
    sent = request_of("icasc", ["recipe=base.yaml"])
    here = load_run("icasc", "train", ["recipe=base.yaml"])
    there = load(Submission.model_validate({"id": "x", "kind": "train", **sent}), ROOT)
    assert {**_plain(here), "root": ROOT} == {**_plain(there), "root": ROOT}
    for name, kind in (("mine/pipeline.yaml", "pipeline"), ("mine/sweep.yaml", "sweep"), ("mine/my.yaml", "train")):
        sent = request_of(name, [])
        here, there = load_run(name, kind, []), load(Submission.model_validate({"id": "x", "kind": kind, **sent}), ROOT)
        assert {**_plain(here), "root": ROOT} == {**_plain(there), "root": ROOT}


@pytest.mark.parametrize(
    ("target", "kind", "overrides", "wrong"),
    [
        ("gain", "train", ["data=no.yaml", "seed=x"], ["data = no.yaml cannot be read", "seed = "]),
        ("my.yaml", "train", ["seed=x"], ["data = no.yaml cannot be read", "seed = "]),
        ("gain_sec_voc", "pipeline", ["train.recipe=my.yaml"], ["data = no.yaml cannot be read"]),
        ("a_run", "evaluate", ["data=no.yaml"], ["data = no.yaml cannot be read"]),
    ],
)
def test_a_file_that_cannot_be_sent_is_named_with_the_other_faults(
    target: str, kind: str, overrides: list[str], wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("recipe: gain\ndata: no.yaml\n")
    with pytest.raises(ConfigError) as caught:
        request_of(target, overrides, kind)
    assert len(caught.value.faults) == len(wrong)
    for text in wrong:
        assert text in str(caught.value)


def test_a_file_that_was_not_sent_is_one_fault_among_others() -> None:
    for kind in ("train", "evaluate", "maps"):
        result = faults(kind=kind, target="gain", overrides=["data=no.yaml", "input.siz=3"])
        assert len(result) == 2
        assert "no.yaml is a file that was not sent" in str(result)
        assert "input.siz is not a known field" in str(result)


def _plain(loaded: Any) -> dict[str, Any]:
    """A config as values, with the default root in place of the service's."""
    config = loaded.config if isinstance(loaded, LoadedSweep) else loaded
    return json.loads(config.model_dump_json().replace(ROOT, str(Path("runs").absolute())))


def test_a_job_keeps_the_files_that_were_sent(tmp_path: Path) -> None:
    url, state_dir = f"sqlite:///{tmp_path}/jobs.db", StateDir(str(tmp_path), tmp_path)
    files = {"photos.yaml": PHOTOS}
    table = JobTable(url)
    with table.engine.begin() as connection:  # as version 0.1 made it
        connection.exec_driver_sql("ALTER TABLE attn_jobs DROP COLUMN files")
    table.close()
    table = JobTable(url)
    table.add(Job("a", "train", "", "hash", config="recipe: gain\ndata: photos.yaml\n", files=files))
    table.add(Job("b", "train", "gain", "hash"))
    for name, expected in (("a", files), ("b", {})):
        job = table.get(name)
        assert job is not None
        assert json.loads(order_json(job, state_dir, None))["submission"]["files"] == expected
    assert [job.files for job, _ in table.page(2)] == [None, None]
    table.close()


@pytest.mark.parametrize(
    ("machine", "overrides", "cores"),
    [
        (Machine(0, 8), ["cluster.workers=2", "cluster.threads=3"], 6),
        (Machine(0, 8), ["cluster.workers=2"], None),
        (Machine(2, 8), ["cluster.workers=2", "cluster.threads=3"], None),
        (Machine(2, 8), ["cluster.workers=2", "cluster.threads=3", "cluster.device=cpu"], 6),
    ],
)
def test_a_training_on_cpus_that_says_its_threads_needs_no_more_cores(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, overrides: list[str], cores: int | None
) -> None:
    monkeypatch.setattr("services.plan.cluster_capacity", lambda: Capacity((machine,)))
    assert cores_of(load_config(TrainConfig, "scenes_gain", overrides)) == cores
    assert cores_of(None) is None, "of a kind that is no training nothing is known"
