"""Who may write to a map store, and when a version is there."""
