"""Commands that make parts of the documents: `python -m docs.commands.NAME` writes, and a test compares."""
