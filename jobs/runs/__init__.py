"""Runs, their folders and what is known of them."""
