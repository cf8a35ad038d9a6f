"""Progress of a run, from rank 0 to the terminal that started it; and the request to end, back to the workers.

Workers' output goes to Ray's log files; only records made for people come here, through the cluster's own key-value
store, so that it works for a remote cluster as for a laptop and costs no process.
"""

# pyright: reportPrivateUsage=false
# Ray's key-value store is used by its own libraries and has no public name.

from __future__ import annotations

__all__ = ["Channel", "ProgressFile", "TrainingProgress", "epoch_figures", "follow", "in_order"]

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from attn import progress
from attn.boot_clock import Moment
from attn.display import figures
from attn.wording import counted

POLL_SECONDS = 0.3
NAMESPACE = b"attn"
MOST_FIGURES = 5
"""Of an epoch's line, where the best epoch is chosen by one of its figures."""


class Channel:
    """Records under one name, in the order of their making; one side puts, the other takes.

    Keys hold the time and not a number, so that a worker group that starts again needs to know nothing of the last.
    """

    def __init__(self, name: str) -> None:
        self.prefix = f"{name}/".encode()
        self.under_way_key, self.end_key = f"{name} under way".encode(), f"{name} end".encode()
        self.save_key = f"{name} save".encode()

    def put(self, record: dict[str, Any]) -> None:
        from ray.experimental import internal_kv

        key = self.prefix + f"{time.time_ns():020d}".encode()
        internal_kv._internal_kv_put(key, json.dumps(record).encode(), namespace=NAMESPACE)

    def take(self) -> list[dict[str, Any]]:
        """All records that have come since the last call."""
        from ray.experimental import internal_kv

        records = []
        for key in sorted(internal_kv._internal_kv_list(self.prefix, namespace=NAMESPACE)):
            data = internal_kv._internal_kv_get(key, namespace=NAMESPACE)
            internal_kv._internal_kv_del(key, namespace=NAMESPACE)
            if data is not None:
                records.append(json.loads(data))
        return records

    def mark_under_way(self) -> None:
        """Say that a step was made, so that there is something to save."""
        self._mark(self.under_way_key)

    def mark_waiting(self) -> None:
        """Say that no workers run: nobody could save anything."""
        self._unmark(self.under_way_key)

    def under_way(self) -> bool:
        return self._marked(self.under_way_key)

    def ask_to_end(self) -> None:
        """Ask the run to save a checkpoint and end."""
        self._mark(self.end_key)

    def asked_to_end(self) -> bool:
        return self._marked(self.end_key)

    def ask_to_save(self) -> None:
        """Ask the run to save a checkpoint and go on."""
        self._mark(self.save_key)

    def asked_to_save(self) -> bool:
        return self._marked(self.save_key)

    def mark_saved(self) -> None:
        """Say that a checkpoint was reported; nobody need ask for one now."""
        self._unmark(self.save_key)

    def clear(self) -> None:
        """Take all marks back, before a run begins or goes on."""
        for key in (self.under_way_key, self.end_key, self.save_key):
            self._unmark(key)

    def _unmark(self, key: bytes) -> None:
        from ray.experimental import internal_kv

        internal_kv._internal_kv_del(key, namespace=NAMESPACE)

    def _mark(self, key: bytes) -> None:
        from ray.experimental import internal_kv

        internal_kv._internal_kv_put(key, b"1", namespace=NAMESPACE)

    def _marked(self, key: bytes) -> bool:
        from ray.experimental import internal_kv

        return bool(internal_kv._internal_kv_exists(key, namespace=NAMESPACE))


@contextlib.contextmanager
def follow(channel: Channel, *consumers: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Consume a channel's records in the background, and what is left of them at the end."""
    done = threading.Event()

    def drain() -> None:
        for record in channel.take():
            for consume in consumers:
                consume(record)

    def loop() -> None:
        while not done.wait(POLL_SECONDS):
            with contextlib.suppress(Exception):  # a lost connection shows in the run itself, which is waited for
                drain()

    thread = threading.Thread(target=loop, name="attn-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(Exception):
            drain()


class ProgressFile:
    """Keeps a run's last step, or what it waits for, in `progress.json` of its folder, for those who ask elsewhere."""

    def __init__(self, write: Callable[[str, str], None], seconds: float = 2.0) -> None:
        self.write, self.seconds, self.last = write, seconds, float("-inf")

    def __call__(self, record: dict[str, Any]) -> None:
        step = record["kind"] == "step"
        if record["kind"] == "waiting" or (step and time.monotonic() - self.last >= self.seconds):
            self.last = time.monotonic() if step else float("-inf")
            self.write("progress.json", json.dumps({**record, **asdict(Moment.now())}))


def in_order(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """An epoch's figures in one order, however many workers gave them: the loss, its terms, all others by name."""
    return {name: metrics[name] for name in sorted(metrics, key=lambda name: (name != "train/loss",
            not name.startswith("train/"), name))}  # fmt: skip


def epoch_figures(metrics: Mapping[str, float | None], chosen: str | None) -> str:
    """An epoch's figures in words; if the best epoch is chosen by one of them, this first and few others."""
    ordered = in_order(metrics)
    if chosen not in ordered:
        return figures(ordered)
    first = {chosen: ordered.pop(chosen)} | ordered
    shown = dict(list(first.items())[:MOST_FIGURES])
    left = len(first) - len(shown)
    return figures(shown) + (f"  ({left} more in metrics.jsonl)" if left else "")


class TrainingProgress:
    """Reports a training by the records that come from its workers: its phases, and a bar over all of its steps.

    Args:
        workers: The least and the most.
        chosen: The figure by which the best epoch is chosen.
    """

    def __init__(self, workers: tuple[int, int], chosen: str | None = None) -> None:
        self.workers, self.chosen = workers, chosen
        self._shown = contextlib.ExitStack()
        self._task: progress.Task | None = None

    def __enter__(self) -> TrainingProgress:
        self.phase(self.starting)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._shown.__exit__(*exception)

    def __call__(self, record: dict[str, Any]) -> None:
        if record["kind"] == "step":
            self._step(record)
        elif record["kind"] == "epoch":
            epoch = f"epoch {record['epoch'] + 1}/{record['epochs']}"
            progress.say(f"{epoch} done: {epoch_figures(record['metrics'], self.chosen)}")
            if self._task is not None:  # after the line of the epoch: no other one of the same step follows it at once
                self._task.update(record["step"])
        elif record["kind"] == "phase":
            self.phase(record["text"])
        elif record["kind"] == "waiting":
            self.phase(record["text"] or self.starting)
        else:
            progress.say(record["text"])

    @property
    def starting(self) -> str:
        least, most = self.workers
        return f"starting {counted(most, 'worker') if least == most else f'{least} to {most} workers'}"

    def phase(self, what: str) -> None:
        """Say what the run does now, where it does not train."""
        self._shown.close()
        self._task = None
        self._shown.enter_context(progress.task(what))

    def _step(self, record: dict[str, Any]) -> None:
        if self._task is None:
            self._shown.close()
            self._task = self._shown.enter_context(progress.task("training", record["steps"], "steps"))
        epoch = f"epoch {record['epoch'] + 1}/{record['epochs']}"
        self._task.update(
            record["step"],
            detail=f"{epoch}  {_losses(record['losses'])}  lr {record['lr']:.2e}",
            speed=f"{record['images_per_second']:.1f} images/s",
            seconds_left=record["seconds_left"],
        )


def _losses(losses: dict[str, float]) -> str:
    parts = ", ".join(f"{name} {value:.4f}" for name, value in losses.items() if name != "loss")
    return f"loss {losses['loss']:.4f}" + (f" ({parts})" if parts else "")
