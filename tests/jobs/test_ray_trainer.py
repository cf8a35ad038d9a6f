"""Which processes Ray Train starts beside the workers."""

from __future__ import annotations

import contextlib
import pickle
import signal
from typing import Any

import pytest
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy

from jobs.ray_cluster.ray_trainer import CLEANER, DATASETS, REQUESTS, LeanTrainer


def callbacks(trainer: TorchTrainer) -> set[str]:
    return {type(callback).__name__ for callback in trainer._create_default_callbacks()}


@pytest.mark.parametrize(("session_outlives_run", "left_out"), [(True, {DATASETS}), (False, {DATASETS, CLEANER})])
def test_what_is_left_out_is_what_ray_would_start_and_no_more(session_outlives_run: bool, left_out: set[str]) -> None:
    lean = LeanTrainer(print, session_outlives_run=session_outlives_run)
    assert callbacks(TorchTrainer(print)) - callbacks(lean) == left_out
    assert callbacks(lean) <= callbacks(TorchTrainer(print))


@pytest.mark.parametrize("session_outlives_run", [True, False])
def test_only_a_cluster_is_told_what_is_wanted_of_it(
    session_outlives_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(TorchTrainer, "_initialize_and_run_controller", lambda self, **named: given.update(named))
    lean = LeanTrainer(print, session_outlives_run=session_outlives_run)
    lean._initialize_and_run_controller(scaling_policy=FixedScalingPolicy(lean.scaling_config))
    policy = pickle.loads(pickle.dumps(given["scaling_policy"]))
    for name in REQUESTS:
        ours, rays = getattr(policy, name), getattr(FixedScalingPolicy, name)
        assert (getattr(ours, "__func__", ours) is rays) == session_outlives_run
        if not session_outlives_run:
            ours()  # without a session that it could start a process in


@pytest.mark.parametrize("failing", [False, True])
def test_ctrl_c_does_after_a_training_what_it_did_before(failing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves_a_handler(self: TorchTrainer, **named: Any) -> None:
        signal.signal(signal.SIGINT, lambda *_: None)
        if failing:
            raise RuntimeError("of the training")

    monkeypatch.setattr(TorchTrainer, "_initialize_and_run_controller", leaves_a_handler)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError) if failing else contextlib.nullcontext():
        LeanTrainer(print, session_outlives_run=True)._initialize_and_run_controller()
    assert signal.getsignal(signal.SIGINT) is before
