"""Which processes Ray Train starts beside the workers."""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import sys
from typing import Any

import cloudpickle
import pytest
from ray.train import FailureConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.backend_setup import BackendSetupCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from attn.training.config import ClusterConfig
from jobs.ray_cluster.process_group import ProcessGroupConfig
from jobs.ray_cluster.ray_trainer import CLEANER, DATASETS, REQUESTS, LeanTrainer, _nobody_is_asked
from jobs.ray_cluster.room import FailurePolicy, FixedPolicy, Room
from jobs.training.failures import KeepFailures


def trainer(**named: Any) -> LeanTrainer:
    return LeanTrainer(print, run_id="a", start_timeout=60.0, workers_for=ClusterConfig().workers_for, **named)


def callbacks(one: DataParallelTrainer) -> set[str]:
    return {type(callback).__name__ for callback in one._create_default_callbacks()}


@pytest.mark.parametrize(("session_outlives_run", "left_out"), [(True, {DATASETS}), (False, {DATASETS, CLEANER})])
def test_what_is_left_out_is_what_ray_would_start_and_no_more(session_outlives_run: bool, left_out: set[str]) -> None:
    lean = trainer(session_outlives_run=session_outlives_run)
    assert callbacks(TorchTrainer(print)) - callbacks(lean) == left_out
    assert callbacks(lean) <= callbacks(TorchTrainer(print))


@pytest.mark.parametrize("session_outlives_run", [True, False])
def test_only_a_cluster_is_told_what_is_wanted_of_it(
    session_outlives_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        DataParallelTrainer, "_initialize_and_run_controller", lambda self, **named: given.update(named)
    )
    lean = trainer(session_outlives_run=session_outlives_run)
    lean._initialize_and_run_controller()
    policy = pickle.loads(pickle.dumps(given["scaling_policy"]))
    for name in REQUESTS:
        ours, rays = getattr(policy, name), getattr(FixedScalingPolicy, name)
        assert (getattr(ours, "__func__", ours) is rays) == session_outlives_run
        if not session_outlives_run:
            ours()  # without a session that it could start a process in


@pytest.mark.parametrize("failing", [False, True])
def test_ctrl_c_does_after_a_training_what_it_did_before(failing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves_a_handler(self: DataParallelTrainer, **named: Any) -> None:
        signal.signal(signal.SIGINT, lambda *_: None)
        if failing:
            raise RuntimeError("of the training")

    monkeypatch.setattr(DataParallelTrainer, "_initialize_and_run_controller", leaves_a_handler)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError) if failing else contextlib.nullcontext():
        trainer(session_outlives_run=True)._initialize_and_run_controller()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_process_that_drives_the_workers_does_not_import_pytorch() -> None:
    """Ray unpickles these there. The import takes seconds, and the workers start after it."""
    lean = trainer(session_outlives_run=False, backend_config=ProcessGroupConfig(backend="gloo", timeout_s=60))
    policy = FixedPolicy(lean.scaling_config, Room("a", 60.0, 2, {"CPU": 1}))
    for request in REQUESTS:
        setattr(policy, request, _nobody_is_asked)
    told = [BackendSetupCallback(lean.backend_config), KeepFailures("/runs/a", "a")]
    needed = cloudpickle.dumps((lean.backend_config, policy, FailurePolicy(FailureConfig()), told))
    code = f"import pickle, sys; pickle.loads({needed!r}); print('torch' in sys.modules, 'ray.train' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["False", "True"]
