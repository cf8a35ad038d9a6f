"""Seeds and states of all random generators, so that a resumed run draws the same numbers as an uninterrupted one."""

from __future__ import annotations

__all__ = ["random_state", "restore_random_state", "seed_everything"]

import os
import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int, rank: int, *, deterministic: bool) -> None:
    """Seed Python, NumPy and torch, differently on every rank; choose reproducible kernels where asked.

    Torch would then also fill all memory that it allocates before it is written, for programs that read it before; a
    fifth of a step of MobileNetV2 on the CPU went there (`benchmarks/step_cost.py --only deterministic`).
    """
    random.seed(seed + rank)
    np.random.seed((seed + rank) % 2**32)
    torch.manual_seed(seed + rank)
    # The same as `use_deterministic_algorithms`, which would also import the compiler, for two seconds, to tell it.
    torch.set_deterministic_debug_mode("warn" if deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def random_state() -> dict[str, Any]:
    """The generators' states, of types that `torch.load(weights_only=True)` accepts."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore the generators' states."""
    random.setstate(state["python"])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
