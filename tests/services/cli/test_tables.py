"""Numbers in trees: scores in percent, and no small number that reads as zero."""

from __future__ import annotations

import io

from rich.console import Console

from services.cli.tables import print_tree


def test_numbers_of_a_tree() -> None:
    out = io.StringIO()
    tree = {
        "metrics": {"val/mean_ap": 0.8764, "miou": 0.5, "val/loss": 0.69314},
        "lr": 1e-5,
        "zero": 0.0,
        "n": [0.5, 2],
    }
    print_tree(Console(file=out, width=200), tree)
    lines = [line.split(maxsplit=1) for line in out.getvalue().splitlines()]
    assert [[name, text.strip()] for name, text in lines] == [
        ["metrics.val/mean_ap", "87.6 %"],
        ["metrics.miou", "50.0 %"],
        ["metrics.val/loss", "0.6931"],
        ["lr", "1e-05"],
        ["zero", "0.0000"],
        ["n", "0.5000, 2"],
    ]
