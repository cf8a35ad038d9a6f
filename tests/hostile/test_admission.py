"""Only the service says where a job writes, what it reads and whom it calls, however a client spells it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from attn.config.base import BelowRoot, Config, Location, Variant
from attn.config.resolve import extra_check
from attn.errors import AttnError, ConfigError
from attn.runs.evaluate import EvaluateModelConfig, EvaluateStoreConfig
from attn.runs.maps import MapsConfig, StoredMapsConfig
from attn.runs.pipeline import PipelineConfig
from attn.runs.sweep import SweepConfig
from attn.runs.sweep.load import trial_config
from attn.runs.sweep.space import grid_points
from attn.runs.table import file_kinds
from attn.segmentation.config import SegmentConfig, SegmentPredictConfig
from attn.training.train_config import TrainConfig
from jobs.runs.open_model import model_lookup
from services.admission import admit, load
from services.permissions import ROLES, Permissions, Role, role_of, takes_text
from services.submission import Submission

ROOT = "/srv/runs"
PERMISSIONS = Permissions(ROOT, ("/srv/data",))
BASE = {"train": "scenes_oaa", "segment": "segment_scenes", "pipeline": "gain_segment_scenes", "sweep": "scenes_oaa"}
SWEEP = "kind: sweep\nrecipe: scenes_oaa\nsearch: {name: grid}\n"
SPACE = "space: {optimizer.lr: [0.1, 0.2]}\n"


def submission(kind: str, **asked: Any) -> Submission:
    return Submission.model_validate({"id": "x", "kind": kind, **asked})


def refused(asked: Submission, permissions: Permissions = PERMISSIONS) -> list[str]:
    """The faults of a submission; none where it is taken in."""
    try:
        admit(asked, permissions)
    except ConfigError as error:
        return [str(fault) for fault in error.faults]
    return []


ELSEWHERE = [
    ("train", " tracking.uri=http://elsewhere.example/", "tracking.uri"),
    ("train", "tracking.uri =sqlite:////elsewhere/mlflow.db", "tracking.uri"),
    ("train", "tracking={uri: http://elsewhere.example}", "tracking.uri"),
    ("train", "tracking={'uri': !!str 'http://elsewhere.example'}", "tracking.uri"),
    ("train", "\troot=/elsewhere", "root"),
    ("train", "root=&a /elsewhere", "root"),
    ("train", "store={accumulate: true, location: /elsewhere}", "store.location"),
    ("train", f"store.location={ROOT}/../elsewhere", "store.location"),
    ("train", f"store.location={ROOT}/.service/jobs", "store.location"),
    ("train", f"store.location={ROOT}", "store.location"),
    ("train", f"store.location={ROOT}-elsewhere/store", "store.location"),
    ("train", "store.location=s3://bucket/runs", "store.location"),
    ("train", f"store.location={ROOT}/mlflow.db", "store.location"),
    ("train", f"store.location={ROOT}/x/../mlflow-artifacts/1", "store.location"),
    ("train", "model.weights=/elsewhere/weights.pt", "model.weights"),
    ("train", "model.weights=s3://elsewhere/weights.pt", "model.weights"),
    ("train", "method={name: oaa_plus, maps: /elsewhere/store}", "method.maps"),
    ("train", "data={source: manifest, manifest: /elsewhere/credentials}", "data.manifest"),
    ("train", f"data={{source: manifest, manifest: {ROOT}/.service/tokens.json}}", "data.manifest"),
    ("train", "data={source: voc, root: /srv/data, split: /etc/passwd}", "data.split"),
    ("train", "data={source: voc, root: /srv/data, labels: ../../etc/passwd}", "data.labels"),
    ("train", "data={source: coco, root: /srv/data, images: '../../{split}'}", "data.images"),
    ("train", "data={source: folder, root: /srv/data/../elsewhere}", "data.root"),
    ("train", "data={source: cifar10, root: /elsewhere}", "data.root"),
    ("train", "data={source: caltech256, root: s3://elsewhere/data}", "data.root"),
    ("segment", "labels={source: files, path: /elsewhere/cues}", "labels.path"),
    ("segment", "labels={source: cues, maps: {source: store, uri: /elsewhere/store}}", "labels.maps.uri"),
    ("segment", "labels={source: cues, maps: {source: folder, path: /elsewhere}}", "labels.maps.path"),
    ("segment", "labels={source: cues, maps: {source: model, model: /elsewhere/model}}", "labels.maps.model"),
    ("segment", "labels={source: cues, maps: {source: model, model: ../elsewhere}}", "labels.maps.model"),
    ("pipeline", "maps.output={kind: png, location: /elsewhere}", "maps.output.location"),
    ("pipeline", "train.data={source: folder, root: /elsewhere}", "train.data.root"),
    ("pipeline", "evaluation.cues=/elsewhere", "evaluation.cues"),
    ("pipeline", "train.root=/elsewhere", "train.root"),
    ("pipeline", "segment.tracking={uri: http://elsewhere.example}", "segment.tracking.uri"),
    ("evaluate", " tracking.uri=http://elsewhere.example", "tracking.uri"),
    ("evaluate", "tracking={uri: http://elsewhere.example}", "tracking.uri"),
    ("evaluate", "predictions=/elsewhere", "predictions"),
    ("evaluate", "data={source: folder, root: /elsewhere}", "data.root"),
    ("evaluate", "root =/elsewhere", "root"),
    ("maps", "output={kind: store, location: /elsewhere}", "output.location"),
    ("maps", " output.location=/elsewhere", "output.location"),
    ("maps", "refine={name: affinity, weights: /elsewhere/vit.pth}", "refine.weights"),
    ("maps", "maps.refine={name: affinity, weights: /elsewhere/vit.pth}", "refine.weights"),
    ("evaluate", "maps.refine={name: affinity, weights: s3://elsewhere/vit.pth}", "maps.refine.weights"),
    ("pipeline", f"maps.refine={{name: affinity, weights: {ROOT}/../vit.pth}}", "maps.refine.weights"),
]


@pytest.mark.parametrize(("kind", "text", "field"), ELSEWHERE)
def test_an_override_leads_nowhere_else(kind: str, text: str, field: str) -> None:
    result = refused(submission(kind, target=BASE.get(kind, "absent"), overrides=[text]))
    assert any(field in fault for fault in result), result


@pytest.mark.parametrize(
    "text",
    [
        'set: {" store.location": /elsewhere}\n' + SPACE,
        "set: {store: {location: /elsewhere}}\n" + SPACE,
        "set: {root: /elsewhere}\n" + SPACE,
        "set: {tracking.uri: 'http://elsewhere.example'}\n" + SPACE,
        'space: {" store.location": [/elsewhere/a, /elsewhere/b], optimizer.lr: [0.1]}\n',
        "space: {? 'store.location ' : {choices: [/elsewhere]}, optimizer.lr: [0.1]}\n",
        "space: {store: {location: [/elsewhere]}, optimizer.lr: [0.1]}\n",
        "space: {root: [/elsewhere], optimizer.lr: [0.1]}\n",
        "space: {tracking.uri: ['http://elsewhere.example'], optimizer.lr: [0.1]}\n",
        "space: {model.weights: [null, /elsewhere/weights.pt]}\n",
        "space: {method.warmup_epochs: [1], model.weights: [s3://elsewhere/w.pt]}\n",
        "root: /elsewhere\n" + SPACE,
        "tracking: {uri: 'http://elsewhere.example'}\n" + SPACE,
        "base_of: /elsewhere\n" + SPACE,
    ],
)
def test_no_trial_of_a_sweep_leads_elsewhere(text: str) -> None:
    assert refused(submission("sweep", config=SWEEP + text))


def test_values_are_looked_at_together() -> None:
    """Each of two values may lead nowhere by itself, and somewhere with the other."""
    data = "data.source: folder, data.root: /srv/data"
    split = f"set: {{{data}}}\nobjective: {{split: ../../etc}}\n{SPACE}"
    assert any("objective.split" in fault for fault in refused(submission("sweep", config=SWEEP + split)))
    many = ", ".join(
        f"{name}: [{', '.join(f'x{n}' for n in range(40))}]" for name in ("tracking.experiment", "model.name")
    )
    result = refused(submission("sweep", config=f"{SWEEP}space: {{{many}}}\n"))
    assert result
    assert len(result) < 10


def test_a_sweep_over_what_changes_nothing_is_refused() -> None:
    (result,) = refused(submission("sweep", config=f"{SWEEP}space: {{root: [{ROOT}]}}\n"))
    assert "all trials would be equal" in result


def test_what_a_client_may_say_is_taken() -> None:
    data = "data={source: voc, root: /srv/data/VOC2012, split: lists/mine.txt, saliency: saliency}"
    weights = f"model.weights={ROOT}/earlier"
    for case, overrides in {
        "train": [
            data,
            weights,
            f"store.location={ROOT}/shared/store",
            "tracking.experiment=mine",
            "validation.split=val",
        ],
        "segment": [f"labels={{source: files, path: {ROOT}/cues}}"],
        "pipeline": ["train.training.epochs=3", f"root={ROOT}"],
        "evaluate": ["data.split=test", "tracking.enabled=true"],
        "maps": [f"output={{kind: png, location: {ROOT}/png}}", "data={source: folder, root: /srv/data}"],
        "maps of several scales": ["maps.refine.name=pamr", "maps.scales=[0.5, 1]", "data={source: scenes}"],
    }.items():
        kind = case.partition(" ")[0]
        assert not refused(submission(kind, target=BASE.get(kind, "absent"), overrides=overrides)), case
    assert not refused(submission("sweep", config=SWEEP + SPACE + "set: {model.weights: /srv/data/weights.pt}\n"))


def test_what_the_service_itself_would_take_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@tracking.example")
    assert not refused(submission("train", target="scenes_gain", overrides=["tracking.uri=http://tracking.example"]))
    assert refused(submission("train", target="scenes_gain", overrides=["tracking.uri=http://tracking.example:81"]))


def test_a_link_out_of_a_data_root_is_followed(tmp_path: Path) -> None:
    for name in ("data", "elsewhere", "runs"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere")
    permissions = Permissions(str(tmp_path / "runs"), (str(tmp_path / "data"),))
    for text in (
        f"data={{source: folder, root: {tmp_path}/data/link}}",
        f"data={{source: folder, root: {tmp_path}/data, masks: link}}",
        f"store.location={tmp_path}/runs/link/store",
    ):
        assert refused(submission("train", target="scenes_oaa", overrides=[text]), permissions), text


# What Unicode, YAML and people let one and the same key look like.
LOOK_ALIKES = str.maketrans("oaceiprst", "оасеіргѕт")
FULL_WIDTH = {ord(letter): ord(letter) + 0xFEE0 for letter in "abcdefghijklmnopqrstuvwxyz._"}
SPELLINGS = (
    str,
    lambda key: f" {key}",
    lambda key: f"{key} ",
    lambda key: f"\t{key}\u00a0",
    str.upper,
    str.title,
    lambda key: key.translate(LOOK_ALIKES),
    lambda key: key.translate(FULL_WIDTH),
    lambda key: unicodedata.normalize("NFKC", key.translate(FULL_WIDTH)),
    lambda key: unicodedata.normalize("NFD", key),
    lambda key: key[:1] + "\u200b" + key[1:],
    lambda key: f"'{key}'",
    lambda key: f'"{key}"',
    lambda key: f"!!str {key}",
    lambda key: f"&k {key}",
    lambda key: f"? {key}",
    lambda key: f"!!binary {key}",
    lambda key: f"<<.{key}",
    lambda key: f".{key}",
)
VALUES = (
    str,
    lambda value: json.dumps(value),
    lambda value: f"!!str {json.dumps(value)}",
    lambda value: f"&v {json.dumps(value)}",
    lambda value: f"[{json.dumps(value)}]",
    lambda value: f"  {value}  ",
    lambda value: f"|-\n  {value}",
)
TARGETS = (
    (("root",), "/elsewhere"),
    (("root",), f"{ROOT}/../elsewhere"),
    (("tracking", "uri"), "http://elsewhere.example/"),
    (("tracking", "uri"), "sqlite:////elsewhere/mlflow.db"),
    (("store", "location"), "/elsewhere/store"),
    (("store", "location"), "s3://elsewhere/store"),
    (("output", "location"), "/elsewhere/maps"),
    (("model", "weights"), "file:///elsewhere/weights.pt"),
    (("predictions",), "~/elsewhere.parquet"),
    (("data", "root"), "/elsewhere"),
)


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, str]:
    """A key and a value of an override: part of the path as dotted keys, the rest as mappings within the value."""
    path, value = draw(st.sampled_from(TARGETS))
    keys = [draw(st.sampled_from(SPELLINGS))(key) for key in path]
    cut = draw(st.integers(1, len(keys)))
    text = draw(st.sampled_from(VALUES))(value)
    for key in reversed(keys[cut:]):
        form = draw(st.sampled_from(("{%s: %s}", "{<<: {%s: %s}}", "{? %s : %s}", "&m {%s: %s}", "!!map {%s: %s}")))
        text = form % (key, text)
    return ".".join(keys[:cut]), text


def places(asked: Submission) -> Iterator[str]:
    """What the job itself would resolve, as JSON; what it refuses by itself it does not run."""
    if asked.kind in file_kinds():
        loaded = load(asked, ROOT)
        if not isinstance(loaded, tuple):
            yield loaded.model_dump_json()
            return
        config, base = loaded
        yield config.model_dump_json(exclude={"set", "space"})
        for point in grid_points(config.space):
            yield trial_config(base, point, f"root={ROOT}/x", "tracking={enabled: false}").model_dump_json()
        return
    yield model_lookup([*asked.overrides, f"root={ROOT}"]).model_dump_json()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@example("evaluate", (" tracking.uri", "http://elsewhere.example/"), False)
@example("train", ("tracking", "{uri: http://elsewhere.example/}"), True)
@given(st.sampled_from(("train", "pipeline", "evaluate", "maps")), spelled(), st.booleans())
def test_whatever_passes_stays_within_the_service(kind: str, spelling: tuple[str, str], in_text: bool) -> None:
    key, value = spelling
    section = "train." if kind == "pipeline" and not key.strip().lower().startswith(("root", "tracking")) else ""
    asked: dict[str, Any] = {"target": BASE.get(kind, "absent"), "overrides": [f"{section}{key}={value}"]}
    if in_text and kind == "train":
        recipe = "method: {name: oaa}\ndata: {source: scenes}\nmodel: {name: tiny, weights: null, widths: [8, 8, 8]}\n"
        asked = {"config": f"kind: train\n{recipe}{key}: {value}\n"}
    _holds(submission(kind, **asked))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@example((" store.location", "/elsewhere"), "space")
@given(spelled(), st.sampled_from(("set", "space")))
def test_whatever_passes_of_a_sweep_stays_within_the_service(spelling: tuple[str, str], section: str) -> None:
    key, value = spelling
    listed = f"[{value}]" if section == "space" and "{" not in value else value
    lines = {"set": "{}", "space": "{optimizer.lr: [0.1]}"} | {
        section: f"{{{key}: {listed}{', optimizer.lr: [0.1]' if section == 'space' else ''}}}"
    }
    _holds(submission("sweep", config=SWEEP + "".join(f"{name}: {text}\n" for name, text in lines.items())))


def _holds(asked: Submission) -> None:
    """Either a submission is refused, or nothing that its job would resolve leads elsewhere."""
    if refused(asked):
        try:
            evil = any("elsewhere" in text for text in places(asked))
        except AttnError:
            evil = False
        event(f"refused, and would {'have led elsewhere' if evil else 'not have run'}")
        return
    assert not any("elsewhere" in text for text in places(asked))
    event("passed")


def test_the_job_itself_refuses_what_its_model_brings_along() -> None:
    """The configs of `evaluate` and `maps` come from a model that need not be there when they are submitted."""
    from attn.config.resolve import resolve

    text = "data: {source: folder, root: /elsewhere}\ntracking: {enabled: false}\n"
    with extra_check(PERMISSIONS.run), pytest.raises(ConfigError, match=r"data\.root"):
        resolve(EvaluateModelConfig, text, "config.yaml", [f"root={ROOT}"])
    resolve(EvaluateModelConfig, text, "config.yaml", [f"root={ROOT}"])


def test_the_job_itself_takes_what_was_admitted() -> None:
    sweep = submission("sweep", target="sweep_scenes_gain")
    with extra_check(PERMISSIONS.run):
        config, base = load(sweep, ROOT)
        trial_config(base, {})  # which no trial runs
        location = [f"root={ROOT}/x", f"tracking.uri=sqlite:///{ROOT}/mlflow.db", "store.location=null"]
        trial_config(base, grid_points(config.space)[0], *location)
        load(submission("pipeline", target="gain_segment_scenes"), ROOT)
        with pytest.raises(ConfigError, match="root"):
            trial_config(base, {}, "root=/elsewhere")


CONFIGS = (
    TrainConfig, SegmentConfig, PipelineConfig, SweepConfig,
    EvaluateModelConfig, EvaluateStoreConfig, MapsConfig, StoredMapsConfig, SegmentPredictConfig,
)  # fmt: skip


def models(annotation: Any) -> Iterator[type[Config]]:
    """Every config class that a field may hold."""
    if (
        isinstance(annotation, type)
        and issubclass(annotation, Variant)
        and annotation.tag not in annotation.model_fields
    ):
        for member in annotation.members.values():
            yield from models(member)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        assert issubclass(annotation, Config)
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for inner in getattr(annotation, "__args__", ()):
        yield from models(inner)


FIELDS = {
    (kind, name): field
    for config in CONFIGS
    for kind in set(models(config))
    for name, field in kind.model_fields.items()
}


def test_every_field_that_takes_a_text_has_a_role() -> None:
    bare = [f"{kind.__name__}.{name}" for (kind, name), field in FIELDS.items()
            if takes_text(field.annotation) and role_of(kind, name) is None]  # fmt: skip
    assert not bare, (
        "say in services/permissions.py what these do: where a job writes, what it reads, whom it calls, or nothing"
    )
    known = {f"{one.__name__}.{name}" for kind, name in FIELDS for one in kind.__mro__}
    assert set(ROLES) <= known, "roles of fields that are no more"


def test_a_path_is_no_mere_name() -> None:
    def is_path(annotation: Any, metadata: Any = ()) -> bool:
        marks = {id(mark) for kind in (Location, BelowRoot) for mark in kind.__metadata__}
        own = [*metadata, *getattr(annotation, "__metadata__", ())]
        return any(id(mark) in marks for mark in own) or any(map(is_path, getattr(annotation, "__args__", ())))

    paths = {key: field for key, field in FIELDS.items() if is_path(field.annotation, field.metadata)}
    assert len(paths) > 20
    assert not [key for key in paths if role_of(*key) not in (Role.ROOT, Role.WRITTEN, Role.READ)]


def test_every_kind_of_config_can_be_submitted() -> None:
    for kind in file_kinds():
        assert Submission.model_validate({"id": "x", "kind": kind, "target": "scenes_gain"}).kind == kind


def test_what_lies_under_a_root_of_itself_is_no_run() -> None:
    """A job of such a name would take the place of the record, and no other could be recorded any more."""
    from attn.tracking import TrackingConfig
    from attn.tracking.address import artifact_folder, tracking_uri
    from attn.tracking.sqlite import sqlite_file
    from jobs.runs.run_folder import is_run_id

    uri = tracking_uri(TrackingConfig(enabled=False, uri=None), ROOT)
    database, artifacts = sqlite_file(uri), artifact_folder(uri)
    assert database is not None
    assert artifacts is not None
    taken = [database.name, *(f"{database.name}{end}" for end in ("-wal", "-shm", "-journal")), artifacts.name]
    assert not [name for name in taken if is_run_id(name)], taken
    assert is_run_id("mlflow")
    assert is_run_id("mlflow.dbx")
