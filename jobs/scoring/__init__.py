"""Targets of scoring."""
