"""Maintenance of a map store: verify it, collect garbage, export maps."""
