"""Python reads this at the start of every process that tests start, Ray's workers too: see `tests/conftest.py`.

A warning that a call of ours causes is an error there as it is in pytest's own process. What libraries say of
themselves is left alone: it would stop processes that are not ours.

The collector of reference cycles looks less often: by its defaults it takes a fifth of the time in which a process
imports PyTorch and Ray, whose objects all stay; so it takes half of that.
"""

import gc
import warnings

gc.set_threshold(50_000)

warnings.filterwarnings("error", module=r"(attn|jobs|services|benchmarks|tests)(\.|$)")
