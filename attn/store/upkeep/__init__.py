"""Looking after a map store: check it, clean it up, take maps out of it."""
