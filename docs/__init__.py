"""The documents, and the commands that make parts of them."""
