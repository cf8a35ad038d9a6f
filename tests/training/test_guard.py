"""A loss that is not finite: the run ends with one error, and weights and optimisers are as before that step."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from attn.data.sample import Batch
from attn.errors import DataError
from attn.methods.base import Progress, StepOutput
from attn.models.eager_optimizers import SGD, Adam, AdamW
from attn.runs.config_reader import read_config
from attn.runs.table import build_components
from attn.training.trainer import Trainer
from attn.training.update import Updater, fused
from attn.training.world import TrainingStopped, World
from benchmarks.stand_in import DEVICE, StandInDevice
from tests.training.kept import Records
from tests.training.two_workers import run_two

HOST = torch.device("cpu")
STEPS = 4  # an epoch
CONFIG = """
kind: train
data: {source: scenes, count: 16, size: 32, objects: [2, 3]}
validation: {split: null}
input: {size: 32}
model: {name: tiny, weights: null, stride: 4, widths: [8, 8, 8]}
method: {name: grad_cam}
training: {epochs: 2, batch_size: 4}
checkpoint: {every_steps: 3}
tracking: {enabled: false}
"""
ADVERSARIAL = (
    "method={name: attnbn, source: {source: scenes, count: 8, size: 32, seed: 1, objects: [1, 1], single_label: true}}"
)
State = dict[str, Tensor]


class Spoiling:
    """A method whose loss is not finite in one step; keeps the state before each step."""

    def __init__(self, trainer: Trainer, step: int | None, value: float = math.nan) -> None:
        self.trainer, self.bad, self.value = trainer, step, value
        self.method: Any = trainer.components.method
        self.before: dict[int, State] = {}

    def step(self, model: Any, batch: Batch, progress: Progress) -> StepOutput:
        self.before[progress.step] = state_of(self.trainer)
        output = self.method.step(model, batch, progress)
        if progress.step != self.bad:
            return output
        return StepOutput(output.losses | {"loss": output.losses["loss"] + self.value}, output.maps)


def state_of(trainer: Trainer) -> State:
    """Copies of all parameters and optimisers' states, on the host."""
    updater = trainer.updater
    held: State = dict(trainer.network.named_parameters())
    pairs = [("main", updater.optimizer)]
    if updater.auxiliary is not None:
        held |= {f"auxiliary {name}": value for name, value in updater.auxiliary.module.named_parameters()}
        pairs.append(("auxiliary", updater.auxiliary.optimizer))
    for name, optimizer in pairs:
        for number, state in optimizer.state_dict()["state"].items():
            held |= {f"{name} {number} {key}": value for key, value in state.items() if isinstance(value, Tensor)}
    return {name: value.detach().to(HOST).clone() for name, value in held.items()}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def spoiled(
    bad: int | None, *overrides: str, world: World | None = None, value: float = math.nan
) -> tuple[Trainer, Spoiling]:
    world = world or World(0, 1, HOST)
    config = read_config(CONFIG, "config.yaml", list(overrides))
    trainer = Trainer(config, world, build_components(config, rank=world.rank, world=world.size))
    method = Spoiling(trainer, bad, value)
    object.__setattr__(trainer.components, "method", method)
    return trainer, method


def message(value: float, step: int) -> str:
    return rf"^loss = {value} at epoch {step // STEPS + 1}, step {step + 1}, images train-.*; the update was not made"


@pytest.mark.parametrize(("bad", "value"), [(0, math.nan), (2, math.inf), (STEPS - 1, math.nan), (STEPS, -math.inf)])
def test_the_run_ends_with_the_state_before_the_bad_step(bad: int, value: float) -> None:
    trainer, method = spoiled(bad, "optimizer.name=sgd", "training.clip_norm=5.0", value=value)
    records = Records()
    with pytest.raises(TrainingStopped, match=message(value, bad)):
        trainer.fit(records)
    assert same(state_of(trainer), method.before[bad])
    assert max(method.before) <= bad + 1
    assert records.steps == list(range(1, bad + 1))
    assert records.epochs == list(range(bad // STEPS))
    assert all(name in ("0-3", "1-0") for name in records.saved)


@pytest.mark.parametrize("overrides", [["optimizer.name=sgd"], ["optimizer.name=adamw", ADVERSARIAL]])
def test_on_a_device_the_kernel_leaves_the_state_as_it_is(overrides: list[str]) -> None:
    """The host learns a step later; nothing that it enqueues in the meantime changes the state."""
    with StandInDevice():
        trainer, method = spoiled(1, *overrides, world=World(0, 1, DEVICE))
        with pytest.raises(TrainingStopped, match=message(math.nan, 1)):
            trainer.fit(Records())
        assert 2 in method.before, "the next step had begun"
        assert same(method.before[2], method.before[1])
        assert same(state_of(trainer), method.before[1])
        assert not same(method.before[0], method.before[1])


def test_on_a_device_wrong_labels_are_named() -> None:
    """There they make a loss NaN, for which the learning rate is not to blame."""
    with StandInDevice():
        trainer, _ = spoiled(None, world=World(0, 1, DEVICE))
        batches: Any = trainer._batches
        object.__setattr__(
            trainer, "_batches", lambda epoch: (replace(one, labels=2 * one.labels) for one in batches(epoch))
        )
        with pytest.raises(
            TrainingStopped, match="the labels of train-.* are not zeros and ones, at epoch 1, step 1; "
        ):
            trainer.fit(Records())


def test_a_run_resumed_before_the_bad_step_is_the_undisturbed_one(tmp_path: Path) -> None:
    calm, _ = spoiled(None)
    calm.fit(Records(tmp_path / "calm"))
    broken, _ = spoiled(STEPS + 1)
    records = Records(tmp_path / "broken")
    with pytest.raises(TrainingStopped):
        broken.fit(records)
    assert records.saved == ["0-3", "1-0"]
    resumed, _ = spoiled(None)
    resumed.fit(Records(tmp_path / "resumed"), tmp_path / "broken/1-0")
    assert same(state_of(resumed), state_of(calm))


def test_one_of_accumulated_batches_blocks_the_step() -> None:
    trainer, method = spoiled(1, "training.accumulate_steps=2", "training.batch_size=8")
    with pytest.raises(TrainingStopped, match=r"loss = nan at epoch 1, step 2, images train-"):
        trainer.fit(Records())
    assert same(state_of(trainer), method.before[1])


def test_the_guard_adds_to_what_a_gradient_scaler_found() -> None:
    """A fused kernel skips where either says so."""
    for scaler_found in (0.0, 1.0):
        for blocked in (False, True):
            weight = torch.ones(3, requires_grad=True)
            weight.grad = torch.ones(3)
            optimizer: Any = fused(torch.optim.SGD([weight], lr=0.1))
            updater = object.__new__(Updater)
            updater.blocked = torch.tensor(blocked)
            optimizer.register_step_pre_hook(updater._tell_blocked)
            optimizer.found_inf = torch.tensor(scaler_found)
            optimizer.step()
            assert torch.equal(weight, torch.ones(3)) is (blocked or scaler_found > 0)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_steps_that_a_gradient_scaler_skips_leave_no_trace(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first gradient overflows, as is usual in float16; one parameter has its first gradient later."""
    monkeypatch.setattr(torch, "empty_like", lambda values: torch.full_like(values, math.nan))
    options = {"momentum": 0.5, "nesterov": True} if kind is SGD else {}
    results: list[list[Tensor]] = []
    for make in (lambda plain: plain, fused):
        weight, late = torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)
        optimizer: Any = make(kind([weight, late], lr=0.25, weight_decay=0.125, **options))
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for step, factor in enumerate((math.inf, 1.0, 2.0, math.inf, -1.0)):
            loss = factor * (weight.sum() + (late.sum() if step > 1 else 0))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        held = optimizer.state_dict()["state"]
        results.append([weight.detach(), late.detach()])
        results[-1] += [held[number][name] for number in sorted(held) for name in sorted(held[number])]
    torch.testing.assert_close(results[1], results[0])


def test_on_a_device_a_bad_first_step_leaves_the_weights_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "empty_like", lambda values: torch.full_like(values, math.nan))
    with StandInDevice():
        trainer, method = spoiled(0, "optimizer.name=sgd", world=World(0, 1, DEVICE))
        with pytest.raises(TrainingStopped, match=message(math.nan, 0)):
            trainer.fit(Records())
        after = state_of(trainer)
        assert same({name: after[name] for name in method.before[0]}, method.before[0])
        assert all(not value.any() for name, value in after.items() if name.endswith("momentum_buffer"))


def test_a_device_continues_from_a_state_of_the_host() -> None:
    """Its kernel reads the number of steps on the device; PyTorch's other kernels read it on the host."""
    host, _ = spoiled(None, "optimizer.name=adam", "training.epochs=1")
    host.fit(Records())
    with StandInDevice():
        there, _ = spoiled(None, "optimizer.name=adam", world=World(0, 1, DEVICE))
        there.updater.load(host.updater.state())
        held = there.updater.optimizer.state.values()
        assert {value.device for moments in held for value in moments.values()} == {DEVICE}
        moments, saved = ({k: v for k, v in state_of(one).items() if k.startswith("main")} for one in (there, host))
        assert same(moments, saved)


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    alone = World.current()
    worlds = {"one group": alone, "two groups": World(rank, 2, HOST, _group())}
    results: dict[str, Any] = {}
    for name, world in worlds.items():
        trainer, method = spoiled(2 if rank == 1 else None, world=world)
        results[name] = _stopped(trainer), same(state_of(trainer), method.before[2])
    trainer, method = spoiled(None, world=alone)
    results["calls"] = _all_reduces(trainer, method)
    trainer, _ = spoiled(None, "training.accumulate_steps=2", "training.epochs=1", world=alone)
    results["gradients"] = _averages(trainer)
    for name, fails in (("batch", _batch_fails), ("step", _step_fails)):
        trainer, method = spoiled(None, world=alone)
        if rank == 1:
            fails(trainer, method)
        results[name] = _stopped(trainer), max(method.before)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _group() -> Any:
    return dist.new_group(backend="gloo")


def _stopped(trainer: Trainer) -> str:
    with pytest.raises(TrainingStopped) as stopped:
        trainer.fit(Records(rank=trainer.world.rank))
    return str(stopped.value)


def _all_reduces(trainer: Trainer, method: Spoiling) -> list[tuple[int, bool]]:
    """The step in which each all-reduce of ours began, and whether it runs beside the others' work."""
    calls: list[tuple[int, bool]] = []
    real = dist.all_reduce

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append((len(method.before), bool(options.get("async_op"))))
        return real(*arguments, **options)

    dist.all_reduce = counted
    try:
        trainer.fit(Records(rank=trainer.world.rank))
    finally:
        dist.all_reduce = real
    return calls


def _averages(trainer: Trainer) -> list[int]:
    """The step in which each all-reduce of gradients began."""
    steps: list[int] = []

    def counted(group: Any, bucket: dist.GradBucket) -> Any:
        steps.append(trainer.position.step)
        return allreduce_hook(group, bucket)

    counted.__annotations__.clear()  # PyTorch compares them with its classes, and here they are text
    assert isinstance(trainer.updater.model, DistributedDataParallel)
    trainer.updater.model.register_comm_hook(None, counted)
    trainer.fit(Records(rank=trainer.world.rank))
    return steps


def _batch_fails(trainer: Trainer, method: Spoiling) -> None:
    batches = trainer._batches

    def failing(epoch: int) -> Any:
        for number, batch in enumerate(batches(epoch)):
            if number == 2:
                raise DataError("the third image is broken")
            yield batch

    trainer._batches = failing


def _step_fails(trainer: Trainer, method: Spoiling) -> None:
    step = method.step

    def failing(model: Any, batch: Batch, progress: Progress) -> StepOutput:
        if progress.step == 2:
            raise DataError("the third step fails")
        return step(model, batch, progress)

    method.step = failing


def test_workers_stop_at_one_step_with_one_state(tmp_path: Path) -> None:
    run_two(_worker, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name in ("one group", "two groups"):
        assert first[name] == second[name]
        text, unchanged = first[name]
        assert "loss = nan at epoch 1, step 3, images train-" in text
        assert unchanged
    assert first["batch"] == second["batch"] == ("the third image is broken", 1)
    assert first["step"][0] == second["step"][0] == "the third step fails"
    for results in (first, second):
        # One in a step that begins no epoch and ends none, and is not followed by a checkpoint.
        assert [call for call in results["calls"] if call[0] in (2, 7)] == [(2, True), (7, True)]
        assert results["gradients"] == [0, 1, 2, 3], "once a step of two batches"
