"""Freed memory stays with the process, where the C library is one that can be told so."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
import torch
from attn.training.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(24, 1024, 1024)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
plain, kept = faults(), keep_freed_memory()
for _ in range(8):  # it takes some turns until the freed blocks have grown together
    faults()
print(plain, int(kept), faults())
"""


def test_large_blocks_are_used_again() -> None:
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    plain, kept, after = (int(number) for number in output.split())
    assert not kept or after < plain / 2
