"""Configs of whole runs, put together from the parts' own."""
