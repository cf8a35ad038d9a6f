"""A trial in this process, without Ray Tune: how it ends when it is ended, and what a scheduler makes of its epochs."""

from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.tune import _setup_signal_catching

from attn.config.resolve import dump_config
from attn.models.bundle import load_bundle
from attn.runs.recipes import load_any_config
from attn.runs.sweep.figures import figures_of
from attn.runs.sweep.load import read_sweep, read_trial, sweep_config, trial_config
from attn.training.run_config import RunConfig
from jobs.runs.run_folder import RunFolder
from jobs.scoring.targets import ModelTarget
from jobs.sweep import ENVIRONMENT, _Sweep
from jobs.sweeps.objective_scores import read_scores
from jobs.sweeps.plan import make_plan
from jobs.sweeps.results import conclude, read_rows
from jobs.sweeps.schedulers import scheduler_of
from jobs.sweeps.trial import Trial
from jobs.sweeps.trial_folder import EPOCH, LAST, OBJECTIVE, trial_folder
from jobs.sweeps.trial_run import _evaluation

TEXT = """
kind: sweep
recipe: scenes_gain
set: {data.count: 8, data.size: 32, input.size: 32, model.widths: [8, 8, 8], training.epochs: 2, training.batch_size: 8,
      method.warmup_epochs: 0, cluster.workers: 1}
space: {optimizer.lr: [0.01, 0.02]}
search: {name: grid}
scheduler: {name: asha}
tracking: {enabled: false}
"""


class Alone(Trial):
    """A trial that Ray Tune did not make."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.setup(given)

    @property
    def trial_name(self) -> str:
        return "trial-0000-alone"


def alone_in(root: Path, changes: list[str]) -> tuple[Alone, RunFolder]:
    """The first trial of the sweep, with other settings, and the sweep's folder."""
    config, base = read_sweep(TEXT, "sweep.yaml", [f"root={root}", *changes])
    folder = RunFolder(str(root), "s")
    folder.write("sweep.yaml", dump_config(config))
    folder.write("base.yaml", base)
    folder.update(kind="sweep", state="running")
    sweep = _Sweep(config, base, folder)
    sweep.plan = make_plan(config, base, cores=1, gpus=0)
    return Alone(sweep.begin(0, {"optimizer.lr": 0.01})), folder


@pytest.fixture
def trial(tmp_path: Path, ray_up: None) -> tuple[Alone, RunFolder]:
    return alone_in(tmp_path, [])


def test_a_trial_that_had_its_last_epoch_is_done_whoever_ends_it(trial: tuple[Alone, RunFolder]) -> None:
    alone, folder = trial
    messages = [alone.step(), alone.step()]
    assert [(one[EPOCH], one[LAST], one["done"]) for one in messages] == [(1, False, False), (2, True, False)]
    # Killed here, it would have no epoch left in which to take its scores.
    assert "seed_miou" in {score.name for score in read_scores(trial_folder(folder, 0))}
    alone.cleanup()
    (row,) = read_rows(folder)
    assert (row.state, row.epoch, row.objective, row.error) == ("done", 2, messages[1][OBJECTIVE], None)
    assert load_bundle(str(row.model)).classes
    # Whatever cores a repetition has, it has the trial's threads.
    state, config = trial_folder(folder, 0).state(), sweep_config(folder.read_text("sweep.yaml"), "sweep.yaml")
    best = load_any_config(str(conclude(config, folder).recipe), [])
    of_trial = read_trial(trial_folder(folder, 0).read_text("config.yaml"), "config.yaml")
    assert isinstance(best, RunConfig)
    assert isinstance(of_trial, RunConfig)
    assert (state.threads, of_trial.cluster.threads, best.cluster.threads) == (1, 1, 1)
    (line,) = csv.DictReader(folder.read_text("trials.csv").splitlines())
    assert line["objective"] == line["seed_miou"] == str(messages[1][OBJECTIVE])
    # The scores that it is chosen by have the protocol of `attn evaluate`.
    scores = {score.name: score for score in read_scores(trial_folder(folder, 0))}
    assert scores["seed_miou"].value == messages[1][OBJECTIVE]
    evaluation = _evaluation(of_trial, config.objective, str(folder.uri))
    evaluated = ModelTarget.open(str(row.model), evaluation).evaluate(lambda _: None)
    assert {name: score.hash for name, score in scores.items()} == {
        name: score.hash for name, score in evaluated.scores.items() if name in scores
    }
    # What it reported is what a sweep's file may ask for.
    figures = figures_of(trial_config(trial_folder(folder, 0).read("config.yaml").decode(), {}))
    for one in messages:
        assert one["metrics"].keys() <= figures.keys()
    always = {name for name, why in figures.items() if not why}
    of_one_class_an_image = {"val/accuracy", "accuracy", "accuracy_top5"}
    assert always - of_one_class_an_image <= messages[0]["metrics"].keys()


def test_a_trial_that_is_ended_before_is_stopped_and_has_no_model(trial: tuple[Alone, RunFolder]) -> None:
    alone, folder = trial
    alone.step()
    alone.cleanup()
    (row,) = read_rows(folder)
    assert (row.state, row.epoch, row.model) == ("stopped", 1, None)


def decisions(changes: list[str], first: int, *results: tuple[int, int, float, bool]) -> list[str]:
    """What a scheduler of two trials of nine epochs decides on each (trial, epoch, score, whether it is the last)."""
    config, _ = read_sweep(TEXT, "sweep.yaml", changes)
    scheduler = scheduler_of(config, 9, first)
    scheduler.set_search_properties(OBJECTIVE, "max")
    keep = {"run_metadata.checkpoint_manager.checkpoint_config.num_to_keep": 4}
    trials = [Mock(trial_id=str(number), config={"optimizer.lr": 0.01}, status="RUNNING", **keep) for number in (0, 1)]
    runner = Mock(get_trials=lambda: trials, search_alg=None)
    for one in trials:
        scheduler.on_trial_add(runner, one)
    return [
        scheduler.on_trial_result(runner, trials[number], {EPOCH: epoch, OBJECTIVE: score, LAST: last})
        for number, epoch, score, last in results
    ]


def test_successive_halving_stops_no_trial_after_its_last_epoch() -> None:
    go, stop = TrialScheduler.CONTINUE, TrialScheduler.STOP
    assert decisions([], 3, (0, 3, 0.5, False), (1, 3, 0.4, False)) == [go, stop]
    assert decisions([], 3, (0, 2, 0.5, False), (1, 2, 0.4, False)) == [go, go]
    assert decisions([], 3, (0, 9, 0.5, True), (1, 9, 0.4, True)) == [go, go]
    assert decisions([], 9, (0, 9, 0.5, True), (1, 9, 0.4, True)) == [go, go]
    # One with fewer epochs than the others ends at its own last one, be it a rung or not.
    assert decisions([], 3, (0, 3, 0.5, False), (1, 3, 0.4, True)) == [go, go]


def test_a_population_is_compared_once_its_trials_can_differ_and_not_at_the_end() -> None:
    go = TrialScheduler.CONTINUE
    changes = ["scheduler={name: pbt, every_epochs: 1, quantile: 0.5}"]
    early = [(0, 1, 0.5, False), (1, 1, 0.4, False), (0, 2, 0.5, False), (1, 2, 0.4, False)]
    assert decisions(changes, 3, *early, (0, 9, 0.5, True), (1, 9, 0.4, True)) == [go] * 6


def test_ctrl_c_is_left_to_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Tune would take it for the end of the search: it ends all trials, and returns what there is."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        _setup_signal_catching()
        assert signal.getsignal(signal.SIGINT) is before[signal.SIGINT]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
