"""The training loop, its optimiser, schedule and checkpoints; knows torch, and nothing of Ray or MLflow."""
