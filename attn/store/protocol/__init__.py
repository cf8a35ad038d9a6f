"""The commit protocol of the map store: sessions, fences, deltas, merges and versions."""
