"""Imported last by a process that others are forks of: the collector of reference cycles leaves alone what is there.

A collection in a fork would look at all that was imported, and so copy its memory: half a second in each process.
"""

import gc

gc.collect()
gc.freeze()
