"""Ray: its session, tasks and progress."""
