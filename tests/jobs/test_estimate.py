"""The time of a run or a sweep: by earlier runs alike and by no others, or by steps that are made for it."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Collection
from pathlib import Path

import pytest
import torch
import yaml

from attn.config.resolve import dump_config
from attn.errors import ConfigError, RunError
from attn.runs.recipes import load_any_config
from attn.runs.sweep.load import read_sweep, trial_config
from attn.runs.texts import LOCAL_TEXTS
from attn.training.classifier import ClassifierComponents
from attn.training.run_config import RunConfig
from attn.training.world import World
from jobs.ray_cluster.capacity import Capacity, Machine
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.costs import Costs
from jobs.sweeps.estimate import earlier_epochs, run_estimate, sweep_estimate
from jobs.sweeps.measured_steps import measured_costs
from jobs.sweeps.measurements import MEASURED, keep_measurement
from jobs.sweeps.plan import make_plan, remaining
from jobs.sweeps.results import Row
from tests.jobs.pipelines import config as pipeline_config

SMALL = ["data.count=8", "data.size=32", "input.size=32", "cluster.workers=1", "training.batch_size=2"]


def config(root: Path, *overrides: str) -> RunConfig:
    result = load_any_config("scenes_gain", [*SMALL, f"root={root}", *overrides])
    assert isinstance(result, RunConfig)
    return result


def left(folder: RunFolder, run_config: RunConfig, seconds: list[float], host: str | None = None) -> None:
    """What a run leaves."""
    folder.update(kind="train", state="done", host=host or platform.node(), started=float(len(seconds)))
    folder.write("config.yaml", dump_config(run_config))
    lines = [json.dumps({"epoch": epoch + 1, "step": epoch, "seconds": time}) for epoch, time in enumerate(seconds)]
    folder.write("metrics.jsonl", "\n".join([*lines, json.dumps({"epoch": 99, "step": 99})]))  # one without its time


def test_runs_and_trials_alike_are_taken_and_no_others(tmp_path: Path) -> None:
    asked = config(tmp_path, "training.epochs=10")
    assert run_estimate(asked).seconds is None
    assert "there is no earlier run under" in run_estimate(asked).source
    left(RunFolder(str(tmp_path), "interrupted"), asked, [])
    assert "have finished no epoch yet: interrupted;" in run_estimate(asked).source
    (tmp_path / "interrupted/run.json").unlink()
    left(RunFolder(str(tmp_path), "elsewhere"), asked, [100.0] * 3, host="another machine")
    left(RunFolder(str(tmp_path), "larger"), config(tmp_path, "training.batch_size=4"), [200.0] * 3)
    assert run_estimate(asked).seconds is None
    left(RunFolder(str(tmp_path), "other"), config(tmp_path, "training.batch_size=4", "data.size=64"), [200.0] * 3)
    assert "(the nearest is larger, which differs in training.batch_size);" in run_estimate(asked).source
    left(RunFolder(str(tmp_path), "alike"), config(tmp_path, "method.mask_threshold=0.5"), [1.0, 2.0, 3.0])
    assert run_estimate(asked).source.startswith("3 epochs of 1 earlier run alike")
    RunFolder(str(tmp_path), "sweep").update(kind="sweep", state="done")
    left(RunFolder(str(tmp_path / "sweep"), "sweep-0000"), asked, [4.0, 5.0])
    result = earlier_epochs(asked, str(tmp_path))
    assert result.seconds == pytest.approx((1.4, 3.0, 4.6))
    assert "5 epochs of 2 earlier runs" in result.source
    message = run_estimate(asked)
    assert message.seconds is not None
    assert message.between is not None
    assert message.seconds - message.between[0] == pytest.approx(10 * 1.6)
    assert message.between[1] - message.seconds == pytest.approx(10 * 1.6)


def test_the_number_of_threads_is_compared_with_what_was_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep's trial has its number in its config, and `attn train` in `run.json`; without one all cores are used."""
    monkeypatch.setattr("jobs.sweeps.estimate.cluster_capacity", lambda: Capacity((Machine(gpus=0, cores=2),)))
    left(RunFolder(str(tmp_path), "trial"), config(tmp_path, "cluster.threads=1"), [1.0])
    left(RunFolder(str(tmp_path), "trained"), config(tmp_path), [2.0])
    RunFolder(str(tmp_path), "trained").update(threads=2)
    expected = {None: [2.0], 1: [1.0], 2: [2.0], 3: []}
    for threads, seconds in expected.items():
        asked = config(tmp_path, f"cluster.threads={'null' if threads is None else threads}")
        known = earlier_epochs(asked, str(tmp_path))
        middle = sum(seconds) / len(seconds) if seconds else None
        assert (known.seconds and known.seconds[1]) == middle
        assert ("differs in cluster.threads" in known.source) == (not seconds)


def test_a_sweep_is_estimated_by_runs_with_the_threads_of_its_trials(tmp_path: Path) -> None:
    text = f"kind: sweep\nrecipe: {tmp_path / 'base.yaml'}\nspace: {{method.mask_threshold: [0.1, 0.2]}}\n"
    asked = config(tmp_path, "training.epochs=5", "method.warmup_epochs=1")
    (tmp_path / "base.yaml").write_text(dump_config(asked))
    swept, base = read_sweep(text + "search: {name: grid}\n", "sweep.yaml", [f"root={tmp_path}"], texts=LOCAL_TEXTS)
    for threads in (1, 2):
        folder = RunFolder(str(tmp_path), f"of-{threads}")
        left(folder, asked, [10.0 / threads])
        folder.update(threads=threads)
    for cores, threads in ((2, 1), (4, 2), (8, 4)):
        plan = make_plan(swept, base, cores=cores, gpus=0)
        assert plan.threads == threads
        known = sweep_estimate(swept, base, plan)
        assert (f"alike: of-{threads}" in known.source) == (threads < 4), known.source
        assert ("differs in cluster.threads" in known.source) == (threads == 4), known.source


def test_a_sweep_over_a_pipeline_whose_maps_are_not_there_yet_has_a_plan(tmp_path: Path) -> None:
    """`integral` learns from maps that the pipeline's own training will have accumulated."""
    left(RunFolder(str(tmp_path), "another"), config(tmp_path), [1.0])
    text = "kind: sweep\nrecipe: oaa_plus_segment_scenes\nspace: {segment.labels.rule.foreground: [0.2, 0.4]}\n"
    text += "search: {name: grid}\nobjective: {metric: miou}\n"
    swept, base = read_sweep(text, "sweep.yaml", [f"root={tmp_path}"])
    known = sweep_estimate(swept, base, make_plan(swept, base, cores=2, gpus=0))
    assert (known.seconds, "the nearest is another" in known.source) == (None, True), known.source


def test_a_sweep_shares_its_trials_out(tmp_path: Path) -> None:
    text = f"kind: sweep\nrecipe: {tmp_path / 'base.yaml'}\nspace: {{method.mask_threshold: [0.1, 0.2, 0.3, 0.4]}}\n"
    asked = config(tmp_path, "training.epochs=5", "method.warmup_epochs=1")
    (tmp_path / "base.yaml").write_text(dump_config(asked))
    swept, base = read_sweep(text + "search: {name: grid}\n", "sweep.yaml", [f"root={tmp_path}"], texts=LOCAL_TEXTS)
    left(RunFolder(str(tmp_path), "alike"), asked, [7.0])
    two = sweep_estimate(swept, base, make_plan(swept, base, cores=2, gpus=0))
    four = sweep_estimate(swept, base, make_plan(swept, base, cores=4, gpus=0))
    assert two.parts["epochs"] == pytest.approx(4 * 5 * 7 / 2)
    assert four.parts["epochs"] == pytest.approx(4 * 5 * 7 / 4)
    assert two.seconds == pytest.approx(sum(two.parts.values()))


def test_parts_of_a_run_and_of_a_sweep_are_counted(tmp_path: Path) -> None:
    costs = Costs(
        (9.0, 10.0, 12.0), "told", validation=3.0, scoring=4.0, pictures=2.0, checkpoint=1.0, setup=5.0, ray=20.0,
        workers=30.0,
    )  # fmt: skip
    asked = config(
        tmp_path, "training.epochs=6", "method.warmup_epochs=1", "validation.every_epochs=3", "tracking.enabled=false"
    )
    run = run_estimate(asked, costs)
    assert run.parts == {
        "start of Ray": 20.0, "start of workers": 60.0, "data and network": 10.0, "training": 60.0, "validation": 6.0,
        "scoring": 24.0, "pictures": 12.0, "checkpoints": 6.0, "model": 1.0,
    }  # fmt: skip
    assert (run.seconds, run.between) == (199.0, [193.0, 1.5 * 211.0])
    text = f"kind: sweep\nrecipe: {tmp_path / 'base.yaml'}\nspace: {{method.mask_threshold: [0.1, 0.2, 0.3]}}\n"
    (tmp_path / "base.yaml").write_text(dump_config(asked))
    swept, base = read_sweep(text + "search: {name: grid}\n", "sweep.yaml", [f"root={tmp_path}"], texts=LOCAL_TEXTS)
    sweep = sweep_estimate(swept, base, make_plan(swept, base, cores=2, gpus=0), costs)
    # Three trials, two at a time, take two rounds; they draw no pictures.
    assert sweep.parts["training"] == pytest.approx(2 * 60)
    assert sweep.parts["scoring"] == pytest.approx(2 * 24)
    assert sweep.parts["validation"] == pytest.approx(2 * 6)
    assert "pictures" not in sweep.parts
    assert sweep.parts["start of trials"] == 36.0


def test_the_range_of_a_measurement_is_as_wide_as_the_machine_is_shared(tmp_path: Path) -> None:
    asked, steps = config(tmp_path), (9.0, 10.0, 12.0)
    epochs = asked.training.epochs
    ranges: dict[float, list[float]] = {}
    for load in (0.0, 0.1, 3.0):
        found = run_estimate(asked, Costs(steps, "5 steps measured here and now", load=load))
        assert found.between is not None
        assert found.seconds is not None
        low, high = found.seconds - epochs, found.seconds + 2 * epochs
        ranges[load] = [found.between[0] / low, found.between[1] / high]
        assert ("beside other work (3.0 processes a core)" in found.source) == (load == 3.0)
    assert ranges[0.0] == pytest.approx([1, 1.5], abs=0.01)
    assert ranges[0.1] == pytest.approx([1 / 1.1, 1.5], abs=0.01)
    assert ranges[3.0] == pytest.approx([1 / 4, 4], abs=0.01)
    whole = run_estimate(asked, Costs(steps, "earlier runs", whole=True))
    assert whole.seconds is not None
    assert whole.between == [whole.seconds - epochs, whole.seconds + 2 * epochs]


def test_a_measurement_is_kept_for_later_estimates_of_the_same_training(tmp_path: Path) -> None:
    measured, asked = Costs((9.0, 10.0, 12.0), "5 steps and 64 images measured here and now"), config(tmp_path)
    keep_measurement(measured, str(tmp_path), asked)
    known = run_estimate(config(tmp_path, "optimizer.lr=0.5"))  # which no epoch's time depends on
    assert re.fullmatch(r"5 steps and 64 images measured here at 20\d\d-\d\d-\d\d \d\d:\d\d", known.source), known
    assert known.seconds == run_estimate(asked, measured).seconds
    for changed in (
        "training.batch_size=4",
        "cluster.threads=1",
        "method.warmup_epochs=2",
        "checkpoint.best=seed_miou",
    ):
        assert run_estimate(config(tmp_path, changed)).seconds is None, changed
    text = f"kind: sweep\nrecipe: {tmp_path / 'base.yaml'}\nspace: {{method.mask_threshold: [0.1, 0.2, 0.3, 0.4]}}\n"
    (tmp_path / "base.yaml").write_text(dump_config(asked))
    swept, base = read_sweep(text + "search: {name: grid}\n", "sweep.yaml", [f"root={tmp_path}"], texts=LOCAL_TEXTS)
    plan = make_plan(swept, base, cores=2, gpus=0)
    assert sweep_estimate(swept, base, plan).seconds is None, "its trials share the cores, and are scored otherwise"
    keep_measurement(measured, str(tmp_path), trial_config(base, {}), plan, swept.objective)
    assert sweep_estimate(swept, base, plan).seconds == sweep_estimate(swept, base, plan, measured).seconds
    left_of_it = remaining(plan, [Row(0, "done", {}, 0.5, 1, 9.0, None, None, None)])
    assert sweep_estimate(swept, base, left_of_it).seconds is not None
    assert run_estimate(asked).seconds == known.seconds, "both are kept"
    left(RunFolder(str(tmp_path), "alike"), asked, [7.0])
    assert run_estimate(asked).source.startswith("1 epoch of 1 earlier run alike"), "a whole training says more"
    (tmp_path / MEASURED).write_text("{damaged")
    assert sweep_estimate(swept, base, plan).source.startswith("1 epoch of")


def test_runs_that_score_their_epochs_are_not_mixed_with_others(tmp_path: Path) -> None:
    """A score of the maps of all images takes longer than the epoch itself."""
    plain, by_loss = config(tmp_path), config(tmp_path, "checkpoint.best=val/loss")
    scored = [
        config(tmp_path, "checkpoint.best=seed_miou"),
        config(tmp_path, "training.early_stopping={metric: energy}"),
    ]
    classified = config(tmp_path, "checkpoint.best=mean_ap")
    times = {"plain": (plain, 1.0), "maps": (scored[0], 5.0), "classified": (classified, 3.0)}
    for name, (of_run, seconds) in times.items():
        left(RunFolder(str(tmp_path), name), of_run, [seconds])
    found = [earlier_epochs(asked, str(tmp_path)).seconds for asked in (plain, by_loss, *scored, classified)]
    assert [one and one[1] for one in found] == [1.0, 1.0, 5.0, 5.0, 3.0]


def test_fields_that_a_version_adds_do_not_hide_earlier_runs(tmp_path: Path) -> None:
    asked, folder = config(tmp_path), RunFolder(str(tmp_path), "alike")
    left(folder, asked, [2.0])
    values = yaml.safe_load(folder.read_text("config.yaml"))
    for section, name in (("data", "classes"), ("data", "single_label"), ("validation", "allow_overlap")):
        values[section].pop(name, None)
    folder.write("config.yaml", yaml.safe_dump(values))
    assert earlier_epochs(asked, str(tmp_path)).seconds == (2.0, 2.0, 2.0)


def test_a_training_is_measured_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(_: ClassifierComponents, wanted: Collection[str], __: World) -> dict[str, float]:
        time.sleep(0.5)
        return dict.fromkeys(wanted, 0.5)

    monkeypatch.setattr(ClassifierComponents, "evaluate", evaluate)
    asked = config(
        tmp_path,
        "training.epochs=4",
        "method.warmup_epochs=2",
        "tracking.preview_images=1",
        "checkpoint.best=seed_miou",
    )
    text = f"kind: sweep\nrecipe: {tmp_path / 'base.yaml'}\nspace: {{method.mask_threshold: [0.1, 0.2]}}\n"
    base = dump_config(asked)
    (tmp_path / "base.yaml").write_text(base)
    split = ["objective.metric=seed_miou", "objective.split=train", f"root={tmp_path}"]
    swept, _ = read_sweep(text + "search: {name: grid}\n", "sweep.yaml", split, texts=LOCAL_TEXTS)
    plan = make_plan(swept, base, cores=2, gpus=0)
    result = measured_costs(asked, (1.0, 2.0), plan, swept.objective)
    assert 0 < result.epoch[0] <= result.epoch[1] <= result.epoch[2]
    assert min(result.validation, result.scoring, result.pictures, result.checkpoint, result.setup) > 0
    assert result.validation > 0.5  # with the scores that select the best epoch
    assert (result.ray, result.workers) == (1.0, 2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["base.yaml"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["cluster.threads=1"], 1),
        (["cluster.threads=2"], 2),
        (["cluster.workers=2", "cluster.threads=1"], 1),
        ([], len(os.sched_getaffinity(0))),
    ],
)
def test_steps_are_measured_with_the_threads_of_a_worker(
    overrides: list[str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []

    def measure(*arguments: object) -> None:
        used.append(torch.get_num_threads())
        raise RunError("enough")

    monkeypatch.setattr("jobs.sweeps.measured_steps._measure", measure)
    with pytest.raises(RunError):
        measured_costs(config(tmp_path, "cluster.device=cpu", *overrides), (0.0, 0.0))
    assert used == [expected]


def test_a_measured_epoch_has_as_many_steps_as_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.sweeps.measured_steps.quantiles", lambda seconds: (1.0, 1.0, 1.0))
    asked = config(tmp_path, "training.accumulate_steps=2", "method.warmup_epochs=0")
    assert measured_costs(asked, (0.0, 0.0)).epoch == (4, 4, 4), "8 images in batches of 2"


def test_a_segmentation_network_is_measured_before_its_cues_are_made(tmp_path: Path) -> None:
    asked = pipeline_config(tmp_path, "cluster.workers=1")
    result = measured_costs(asked.segment, (1.0, 2.0))
    assert 0 < result.epoch[0] <= result.epoch[1] <= result.epoch[2]
    assert min(result.validation, result.checkpoint, result.setup) > 0
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="a pipeline cannot be measured as those of a sweep's trials: measure one"):
        measured_costs(asked, (0.0, 0.0))
