"""Training within a Ray worker, by kind of network."""
