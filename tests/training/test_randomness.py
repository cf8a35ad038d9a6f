"""Reproducible kernels, without torch's filling of memory that a program might read before it has written it."""

from __future__ import annotations

import torch

from attn.training.randomness import seed_everything


def test_reproducible_kernels_do_not_cost_a_fill_of_all_memory() -> None:
    try:
        seed_everything(0, 0, deterministic=True)
        assert torch.are_deterministic_algorithms_enabled()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            torch.empty(1000)
        assert "aten::fill_" not in {event.key for event in profile.key_averages()}
    finally:
        torch.use_deterministic_algorithms(False)
