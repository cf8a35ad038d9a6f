"""The command `attn`: it checks which packages Python finds before it imports those with common names."""

from __future__ import annotations

__all__ = ["main"]

import importlib
import sys

from attn.errors import AttnError
from attn.own_code import check_packages


def main() -> None:
    """Run the command line and end the process with its exit status."""
    try:
        check_packages()
    except AttnError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    importlib.import_module("services.cli.main").main()


if __name__ == "__main__":
    main()
