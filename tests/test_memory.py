"""Memory that ran out is one error that says what to lower, whoever raised it; nothing else is taken for that."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
import torch

from attn.memory import OutOfMemoryError, out_of_memory
from attn.training.world import TrainingStopped, World
from services.cli.surroundings import fault_of_surroundings

LIMITED = """
import resource, sys
import numpy, torch
from attn.memory import out_of_memory
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20),) * 2)
for work in (lambda: torch.zeros(1 << 30), lambda: numpy.zeros(1 << 30), lambda: bytearray(1 << 32)):
    try:
        work()
    except Exception as error:
        print(out_of_memory(error))
"""


def test_what_really_runs_out_is_known() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=120, check=True)
    first, second, third = done.stdout.splitlines()
    assert first.startswith("out of memory: an allocation of 4.0 GiB failed")
    assert second.startswith("out of memory: an allocation of 8.00 GiB failed")
    assert third.startswith("out of memory. Lower")
    assert all("training.batch_size" in line and "input.size" in line for line in (first, second, third))
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                     "tried to allocate 5376000000 bytes. Error code 12 (Cannot allocate memory)"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 5376000000 bytes."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of ..."),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
)  # fmt: skip
def test_every_spelling_is_the_same_error(error: Exception) -> None:
    assert isinstance(out_of_memory(error), OutOfMemoryError)
    assert isinstance(fault_of_surroundings(error), OutOfMemoryError)

    def work() -> None:
        raise error

    with pytest.raises(TrainingStopped, match=r"out of memory.*training\.batch_size"):
        World.current().all_or_raise(work)


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("out of memory"), OSError("std::bad")])
def test_other_errors_are_left_as_they_are(error: Exception) -> None:
    assert out_of_memory(error) is None

    def work() -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        World.current().all_or_raise(work)
