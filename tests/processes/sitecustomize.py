"""Python reads this at the start of every process that tests start, Ray's workers too: see `tests/conftest.py`.

A warning that a call of ours causes is an error there as it is in pytest's own process. What libraries say of
themselves is left alone: it would stop processes that are not ours.
"""

import warnings

warnings.filterwarnings("error", module=r"(attn|jobs|services|benchmarks|tests)(\.|$)")
