"""A sweep's file: every fault at once, and the points that it stands for."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from attn.config.resolve import dump_config, resolve
from attn.errors import ConfigError, DataError
from attn.notices import print_once
from attn.runs.pipeline import PipelineConfig
from attn.runs.sweep.config import SweepConfig
from attn.runs.sweep.load import load_sweep, read_sweep, trial_config
from attn.runs.sweep.space import Dimension, grid_points, random_points
from attn.training.train_config import TrainConfig
from jobs.sweeps.plan import Plan, make_plan
from jobs.sweeps.points import Suggestions

TEXT = """
kind: sweep
recipe: scenes_gain
set:
  data.count: 32
  cluster.workers: 1
  training: {epochs: 9}
space:
  method.alpha: {low: 0.05, high: 1.0, log: true, count: 3}
  method:
    mask_scale: [5, 10]
  training.batch_size: {low: 2, high: 4, integer: true, count: 3}
search: {name: grid}
"""


def test_a_grid_is_every_combination_in_order() -> None:
    config, base = read_sweep(TEXT, "sweep.yaml")
    points = grid_points(config.space)
    middle = math.exp((math.log(0.05) + math.log(1.0)) / 2)
    expected = list(itertools.product([0.05, middle, 1.0], [5, 10], [2, 3, 4]))
    assert len(points) == config.trials == len(expected) == 18
    for point, (alpha, scale, batch) in zip(points, expected, strict=True):
        assert point["method.alpha"] == pytest.approx(alpha)
        assert (point["method.mask_scale"], point["training.batch_size"]) == (scale, batch)
    trial = trial_config(base, points[5])
    assert trial.training.epochs == 9
    assert trial.training.batch_size == points[5]["training.batch_size"]


def test_random_points_lie_in_the_space_and_repeat() -> None:
    space = {
        "a": Dimension(low=1e-4, high=1.0, log=True),
        "b": Dimension(low=0, high=3, integer=True),
        "c": Dimension(choices=("x", "y")),
    }
    points = random_points(space, 400, seed=3)
    assert points[:50] == random_points(space, 50, seed=3)
    assert points != random_points(space, 400, seed=4)
    logs = np.log10([float(point["a"] or 0) for point in points])
    assert logs.min() >= -4
    assert logs.max() <= 0
    assert np.histogram(logs, bins=4, range=(-4, 0))[0].min() > 60  # evenly over the logarithm
    assert {point["b"] for point in points} == {0, 1, 2, 3}
    assert {point["c"] for point in points} == {"x", "y"}


def test_all_faults_at_once_with_their_lines() -> None:
    text = TEXT.replace("mask_scale: [5, 10]", "mask_scael: [5, 10]").replace("data.count", "data.cuont")
    text = text.replace("high: 4, integer", "high: 400000, integer").replace("low: 2,", "low: -2,")
    with pytest.raises(ConfigError) as caught:
        read_sweep(text, "sweep.yaml")
    messages = [str(fault) for fault in caught.value.faults]
    assert len(messages) == 3
    assert any("sweep.yaml:5" in line and "did you mean data.count?" in line for line in messages)
    assert any("sweep.yaml:11" in line and "did you mean method.mask_scale?" in line for line in messages)
    assert any("sweep.yaml:12" in line and "training.batch_size = -2" in line for line in messages)


def test_faults_of_all_parts_of_a_sweep_are_said_at_once() -> None:
    """The sweep's own, its base's, two fields' together, and those of each searched field."""
    with pytest.raises(ConfigError) as caught:
        read_sweep(
            "kind: sweep\nrecipe: scenes_gain\n"
            "set:\n  method.omga: 3\n  training.batch_size: 15\n  cluster.workers: 2\n"
            "space:\n  method.nope: [1, 2]\n  training.epochs: [0, 1]\nsearch: {name: grid}\nparalel: 2\n"
            "objective: {metric: seed_iou}\n",
            "s.yaml",
        )
    places = {fault.where: fault.message for fault in caught.value.faults}
    assert [places.pop(f"s.yaml:{line}").split(" ")[0] for line in (11, 4, 8, 9, 12)] == [
        "paralel", "method.omga", "method.nope", "training.epochs", "objective.metric=seed_iou",
    ]  # fmt: skip
    assert list(places) == ["s.yaml:5"]
    assert "training.batch_size=15 must be a multiple" in places["s.yaml:5"]


PIPELINE = """
kind: sweep
recipe: grad_cam_segment_scenes
set: {data.count: 32, train.training.epochs: 3, segment.training.epochs: 2}
space:
  segment.labels.rule.foreground: [0.2, 0.3]
  train.optimizer.lr: {low: 1e-3, high: 1e-2, log: true}
search: {name: random, trials: 3}
objective: {metric: miou}
"""


def test_a_pipelines_fields_are_searched() -> None:
    config, base = read_sweep(PIPELINE, "sweep.yaml")
    trial = trial_config(base, {"segment.labels.rule.foreground": 0.2}, "root=/elsewhere")
    assert isinstance(trial, PipelineConfig)
    assert trial.train.root == trial.segment.root == trial.evaluation.root == "/elsewhere"
    assert trial.segment.labels.model_dump()["rule"]["foreground"] == 0.2
    plan = make_plan(config, base, cores=4, gpus=0)
    assert (plan.trials, plan.epochs, plan.epochs_in_all, plan.images) == (3, 5, 15, 32)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (TEXT, ("search: {name: grid}", "search: {name: grit}"), "did you mean grid"),
        (TEXT, ("count: 3}\n  method:", "high2: 3}\n  method:"), "is not a known field"),
        (TEXT, ("recipe: scenes_gain", "recipe: scenes_gian"), "did you mean scenes_gain"),
        (TEXT, ("[5, 10]", "[5, 5]"), "twice"),
        (TEXT, ("log: true, count: 3", "log: true"), "a range with count"),
        (TEXT, ("log: true, count: 3", "log: true, count: 1000000000"), "less than or equal to 10000"),
        (TEXT, ("search: {name: grid}", "search: {name: tpe, trials: 4, seed: 4294967296}"), "less than 4294967296"),
        (TEXT, ("log: true, count: 3", "log: true, count: 3000"), "grid has 18000 points, and a sweep at most 10000"),
        (
            TEXT,
            ("search: {name: grid}", "search: {name: tpe, trials: 4}\nscheduler: {name: pbt}"),
            "pbt changes values",
        ),
        (TEXT, ("workers: 1\n  training: {epochs: 9}", "workers: 2\nscheduler: {name: pbt}"), "set.cluster.workers=1"),
        (
            TEXT,
            ("workers: 1\n  training: {epochs: 9}", "workers: 2\nscheduler: {name: asha}"),
            "is taken once, at their end",
        ),
        (PIPELINE, ("metric: miou", "metric: seed_miou"), "no figure .*did you mean cue_miou, miou"),
        (PIPELINE, ("search:", "scheduler: {name: asha}\nsearch:"), "a pipeline has its scores at its end"),
        (PIPELINE, ("train.optimizer.lr", "optimizer.lr"), "did you mean train.optimizer"),
        (PIPELINE, ("rule.foreground: [0.2", "rule.foreground: [-0.2"), "segment.labels.rule"),
    ],
)
def test_bad_files_say_what_is_wrong(file: str, change: tuple[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_sweep(file.replace(*change), "sweep.yaml")


SEGMENT = """
kind: sweep
recipe: segment_scenes
set: {data.count: 32, cluster.workers: 1}
space: {optimizer.lr: [1.0e-3, 1.0e-2]}
search: {name: grid}
objective: {metric: val/miou}
"""
GAIN = """
kind: sweep
recipe: scenes_gain
set: {data.count: 32, cluster.workers: 1, training.epochs: 9, method.warmup_epochs: 4}
space: {method.alpha: [0.1, 0.5]}
search: {name: grid}
"""


def judged(file: str, *changes: str) -> str:
    """What is said of a sweep after some overrides; nothing where it is taken."""
    try:
        read_sweep(file, "sweep.yaml", list(changes))
    except ConfigError as error:
        return "\n".join(map(str, error.faults))
    return ""


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        (TEXT, ["objective.metric=nonsense"], r"nonsense is no figure .*\(a train run has accuracy, .*val/mean_ap"),
        (TEXT, ["objective.metric=seed_mIoU"], "did you mean seed_miou"),
        (TEXT, ["objective.metric=val/map"], "did you mean val/mean_ap"),
        (GAIN, ["objective.metric=train/minning", "objective.mode=min"], "did you mean train/mining"),
        (TEXT, ["objective.metric=val/miou"], "no figure"),
        (SEGMENT, ["objective.metric=seed_miou"], r"no figure .*\(did you mean val/miou\? a segment run has"),
        (SEGMENT, ["objective.metric=val/mean_ap"], "no figure"),
        (SEGMENT, ["objective.metric=train/minning", "objective.mode=min"], "no figure"),
        (PIPELINE, ["objective.metric=miou_crf", "set.segment.inference.crf=null"], "set evaluation.inference.crf"),
        (GAIN, ["objective.metric=train/mining", "objective.mode=min"], "not there during method.warmup_epochs"),
        (
            GAIN,
            ["objective.metric=train/mining", "objective.mode=min", "set.method.warmup_epochs=0",
             "space.method.alpha=[0.5, 0]"],
            r"method.alpha = 0: objective.metric=train/mining is no figure",
        ),
        (GAIN, ["objective.metric=val/mean_ap", "set.validation.split=null"], "set validation.split, which is null"),
        (GAIN, ["objective.metric=val/mean_ap", "set.validation.every_epochs=3"], "every_epochs=1, not 3"),
        (GAIN, ["objective.metric=store/accepted"], "no figure"),
        (GAIN, ["objective.metric=store/accepted", "set.store.accumulate=true"], "set store.start_epoch=0"),
        (GAIN, ["objective.metric=val/loss"], "a lower [^ ]+ is better .objective.mode=min"),
        (GAIN, ["objective.mode=min"], "a higher seed_miou is better .objective.mode=max"),
        (GAIN, ["scheduler={name: asha, grace_epochs: 4}"], "still equal: .*scheduler.grace_epochs=5 or more"),
        (GAIN, ["scheduler={name: asha, grace_epochs: 1}", "space={method.warmup_epochs: [4, 1]}"], "epochs=2 or more"),
        (GAIN, ["space={method.warmup_epochs: [9, 11]}"], "all trials would be equal: .* on method.warmup_epochs"),
        (GAIN, ["space={method.warmup_epochs: [long, 4]}"], "whole number"),
        (GAIN, ["set.method.warmup_epochs=9"], r"depends on method.alpha \(.*method.warmup_epochs below"),
        (GAIN, ["space={store.fusion: [max, mean]}", "set.store.accumulate=true"], "all trials would be equal"),
        (SEGMENT, ["space={checkpoint.keep: [1, 2]}"], "all trials would be equal"),
        (GAIN, ["space={checkpoint.best: [null, seed_miou]}", "scheduler={name: asha, grace_epochs: 1}"],
         r"still equal: checkpoint.best decides at a trial's end .*grace_epochs=9 or more"),
        (GAIN, ["scheduler.name=pbt", "space.optimizer.name=[sgd, adamw]"], "must have optimizer.name in common"),
        (SEGMENT, ["scheduler.name=pbt", "space.model.stride=[8, 16]"], "must have model.stride in common"),
        (GAIN, ["scheduler.name=pbt", "space.training.epochs=[9, 12]"], "must have training.epochs in common"),
    ],
)  # fmt: skip
def test_what_trials_will_not_report_or_not_differ_in_is_refused_before_they_run(
    file: str, changes: list[str], said: str
) -> None:
    message = judged(file, *changes)
    assert re.search(said, message), message


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        (GAIN, []),
        (SEGMENT, []),
        (GAIN, ["space={checkpoint.best: [null, seed_miou]}"]),
        (SEGMENT, ["space={checkpoint.best: [null, val/miou]}"]),
        (GAIN, ["objective.metric=val/loss", "objective.mode=min"]),
        (GAIN, ["objective.metric=train/classification", "objective.mode=min"]),
        (GAIN, ["objective.metric=train/mining", "objective.mode=min", "set.method.warmup_epochs=0"]),
        (GAIN, ["objective.metric=pointing", "set.validation.every_epochs=3"]),
        (GAIN, ["scheduler={name: asha, grace_epochs: 5}"]),
        (GAIN, ["scheduler={name: asha, grace_epochs: 1}", "space.optimizer.lr=[0.1, 0.01]"]),
        (GAIN, ["scheduler={name: asha, grace_epochs: 1}", "space={method.warmup_epochs: [0, 4]}"]),
        (GAIN, ["scheduler={name: asha, grace_epochs: 2}", "space={method.warmup_epochs: [4, 1]}"]),
        (
            GAIN,
            [
                "objective.metric=store/accepted",
                "set.store.accumulate=true",
                "set.store.start_epoch=0",
                "space={store.gate: [strict, top_k]}",
            ],
        ),
        (GAIN, ["scheduler.name=pbt", "space.model.batch_norm=[train, frozen]"]),
        (SEGMENT, ["objective.metric=train/cross_entropy", "objective.mode=min"]),
        (PIPELINE, ["objective.metric=cue_coverage"]),
    ],
)
def test_what_they_report_and_differ_in_is_taken(file: str, changes: list[str]) -> None:
    assert judged(file, *changes) == ""


def test_rungs_begin_where_trials_begin_to_differ() -> None:
    def plan(*changes: str) -> Plan:
        return make_plan(*read_sweep(GAIN, "sweep.yaml", ["scheduler.name=asha", *changes]), cores=2, gpus=0)

    assert (plan().differ_after, plan().epochs_in_all) == (5, 5 * 2 + 4 * 1)
    assert plan("set.method.warmup_epochs=0").differ_after == 1
    assert plan("space.optimizer.lr=[0.1, 0.01]").differ_after == 1
    assert plan("space.training.epochs=[3, 12]").epochs == 12
    # By the shortest warm-up of the trials, and not by the one of their base.
    assert plan("space.method.warmup_epochs=[6, 2]").differ_after == 3
    assert plan("space={method.warmup_epochs: {low: 2, high: 5, integer: true, count: 3}}").differ_after == 3
    assert plan("space.method.warmup_epochs=[0, 2]").differ_after == 1
    helped = ["set.method.extra_supervision=masks", "space={method.extra_weight: [1, 2]}"]
    assert plan("space={checkpoint.best: [null, seed_miou]}", "scheduler.name=fifo").differ_after == 9
    assert plan("space={checkpoint.best: [null, seed_miou], optimizer.lr: [0.1, 0.01]}").differ_after == 1
    assert plan(*helped).differ_after == 5
    assert plan(*helped, "set.method.warmup_extra=true").differ_after == 1


def test_an_objective_that_the_data_cannot_give_is_refused_by_the_plan(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    folders = ["set.data.source=folder", f"set.data.root={tmp_path}"]
    text = "kind: sweep\nbase: grad_cam\nspace: {optimizer.lr: [0.1, 0.2]}\nsearch: {name: grid}\n"

    def plan(file: str, metric: str, *changes: str) -> None:
        make_plan(*read_sweep(file, "sweep.yaml", [f"objective.metric={metric}", *changes]), cores=2, gpus=0)

    for metric in ("val/accuracy", "accuracy", "mean_ap", "val/mean_ap"):
        plan(text, metric, *folders)
    for metric in ("seed_miou", "energy"):
        with pytest.raises(DataError, match=f"{metric} needs masks, and none of the 2 images of data.split='val' has"):
            plan(text, metric, *folders)
    with pytest.raises(DataError, match="accuracy_top5 is not reported: there are 2 classes"):
        plan(text, "accuracy_top5", *folders)
    for metric in ("accuracy", "val/accuracy"):
        with pytest.raises(DataError, match=f"{metric} is not reported: images may have several classes"):
            plan(GAIN, metric)


@pytest.mark.parametrize(("former", "now"), [("val/mAP", "val/mean_ap"), ("val/auc", "val/mean_auc")])
def test_an_objective_by_its_former_name(capsys: pytest.CaptureFixture[str], former: str, now: str) -> None:
    print_once.cache_clear()
    loaded = read_sweep(TEXT, "sweep.yaml", [f"objective.metric={former}"])
    assert loaded.config.objective.metric == now
    assert capsys.readouterr().err.startswith(f"note: `objective.metric={former}` is now `objective.metric={now}`;")
    assert loaded.config == resolve(SweepConfig, dump_config(loaded.config).replace(now, former), "sweep.yaml", [])
    assert capsys.readouterr().err == "", "the project's own file says nothing"


@pytest.mark.parametrize(
    "fields", [{}, {"low": 1.0}, {"low": 2.0, "high": 1.0}, {"low": 0.0, "high": 1.0, "log": True}]
)
def test_a_dimension_is_choices_or_a_range(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Dimension.model_validate(fields)


def test_overrides_change_the_sweep_and_its_base(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(TEXT)
    config, base = load_sweep(str(path), ["set.training.epochs=2", "space.method.alpha=[0.5]", f"root={tmp_path}"])
    assert config.trials == 6
    assert trial_config(base, {}).training.epochs == 2


def test_a_plan_fits_the_machine() -> None:
    config, base = read_sweep(TEXT + "scheduler: {name: asha, grace_epochs: 1, factor: 3}\n", "sweep.yaml")
    plan = make_plan(config, base, cores=4, gpus=0)
    assert (plan.trials, plan.epochs, plan.images, plan.parallel, plan.threads) == (18, 9, 32, 4, 1)
    assert plan.epochs_in_all == 18 * 1 + 6 * 2 + 2 * 6  # rungs 1, 3 and 9
    alone = make_plan(config.model_copy(update={"parallel": 1}), base, cores=4, gpus=0)
    assert (alone.parallel, alone.threads) == (1, 4)


def test_optuna_learns_and_goes_on_after_a_restart() -> None:
    text = TEXT.replace("search: {name: grid}", "search: {name: tpe, trials: 30, startup: 8, seed: 1}")
    text = text.replace(", count: 3", "")
    config, _ = read_sweep(text, "sweep.yaml")

    def score(alpha: float) -> float:
        return -((math.log(alpha) - math.log(0.2)) ** 2)

    first = Suggestions(config, {}, {})
    scores: dict[int, float | None] = {}
    for number in range(15):
        scores[number] = score(float(first.point(number)["method.alpha"] or 0))
        first.tell(number, scores[number])
    again = Suggestions(config, first.points, scores)
    assert again.point(3) == first.point(3)
    later = []
    for number in range(15, 30):
        later.append(score(float(again.point(number)["method.alpha"] or 0)))
        again.tell(number, later[-1])
    early = [value for number, value in scores.items() if value is not None and number < 8]
    assert np.median(later) > np.median(early)
    assert SweepConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("field", ["training.epochs=1", "method.alpha=0.3", "optimizer.lr=0.1"])
def test_a_field_of_the_trials_is_given_by_set(field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_sweep("sweep_scenes_gain", [field])
    assert f"did you mean set.{field.partition('=')[0]}?" in str(caught.value)
    assert load_sweep("sweep_scenes_gain", [f"set.{field.replace('epochs=1', 'epochs=8')}"])


@pytest.mark.parametrize("search", ["tpe, startup: 5", "random"])
@pytest.mark.parametrize("begun", [0, 1, 2, 4])
def test_a_restart_does_not_change_what_is_drawn_without_results(search: str, begun: int) -> None:
    config, _ = read_sweep(
        TEXT.replace("{name: grid}", f"{{name: {search}, trials: 6, seed: 1}}").replace(", count: 3", ""), "sweep.yaml"
    )
    whole = Suggestions(config, {}, {})
    undisturbed = [whole.point(number) for number in range(5)]
    known = {number: undisturbed[number] for number in range(begun)}
    again = Suggestions(config, known, {0: 0.5} if begun > 1 else {})
    assert [again.point(number) for number in range(5)] == undisturbed


def test_a_space_is_written_with_what_is_set_alone() -> None:
    for given in ({"choices": ["a", None, False]}, {"low": 0.0, "high": 1.0}, {"low": 1, "high": 4, "integer": True}):
        dimension = Dimension.model_validate_json(json.dumps(given))
        written = json.loads(dimension.model_dump_json())
        assert written == given
        assert Dimension.model_validate_json(json.dumps(written)) == dimension


def test_base_in_a_trainings_file_is_recipe() -> None:
    with pytest.raises(ConfigError, match=r"base is not a known field \(did you mean recipe\?\)"):
        resolve(TrainConfig, "base: gain\n", "b.yaml", [])
