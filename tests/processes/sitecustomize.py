"""Python reads this at the start of every process that tests start, Ray's workers too: see `tests/conftest.py`.

A warning that a call of ours causes is an error there as it is in pytest's own process. What libraries say of
themselves is left alone: it would stop processes that are not ours.

The collector of reference cycles waits for a million objects: by its defaults it takes a sixth of the time in which a
process imports PyTorch, Ray and MLflow, most of whose objects stay, and most processes of tests end before that.
"""

import gc
import warnings

gc.set_threshold(1_000_000)

warnings.filterwarnings("error", module=r"(attn|jobs|services|benchmarks|tests)(\.|$)")
