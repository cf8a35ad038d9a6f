"""The command line. Nothing heavier than Typer is imported before a command runs."""
